import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { ProxyError } from '../../../src/gateway/proxy/errors.ts';
import { startOpenRedaction } from '../../../src/gateway/proxy/openRedaction.ts';
import {
  countsText,
  redactRequest,
  type Redacted,
  type Redactor,
} from '../../../src/gateway/proxy/redaction.ts';
import { Restoration } from '../../../src/gateway/proxy/restoration.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { thrownBy } from './proxied.ts';

let redactor: Redactor;
beforeAll(async () => {
  redactor = await startOpenRedaction();
});

function redact(request: object, by = redactor): Promise<Redacted> {
  return redactRequest(by, utf8(JSON.stringify(request)));
}

async function redactedText(text: string): Promise<string> {
  const { body } = await redact({ prompt: text });
  return (JSON.parse(Buffer.from(body).toString()) as { prompt: string }).prompt;
}

describe('what is found', () => {
  test.each([
    ['mail anna.kowalska@uni-berlin.de today', 'mail [EMAIL_1] today'],
    ['a fake placeholder of your.email: bob@acme.co', 'a fake placeholder of your.email: [EMAIL_1]'],
    ['card 4111 1111 1111 1111, version 2', 'card [CREDIT_CARD_1], version 2'],
    ['pay DE89 3704 0044 0532 0130 00 now', 'pay [IBAN_1] now'],
    ['call +49 151 23456789 or +44 20 7946 0958', 'call [PHONE_1] or [PHONE_2]'],
    ['SSN: 536-90-4399', 'SSN: [SSN_1]'],
    ['key AKIAIOSFODNN7EXAMPLE', 'key [AWS_ACCESS_KEY_1]'],
    ['host 8.8.8.8', 'host [IPV4_1]'],
  ])('%s', async (text, redacted) => {
    expect(await redactedText(text)).toBe(redacted);
  });

  test.each([
    'What is the capital of France?',
    'sort(x): return [1234567890, 4111111111111112] # version 1.2.3',
    'Write a poem about Alice and Bob in Berlin on 2024-01-05',
  ])('nothing in: %s', async (text) => {
    expect(await redactedText(text)).toBe(text);
  });

  test('what lies across the parts of a long text, and in hostile text in time', async () => {
    const padding = 'word '.repeat(1637);
    const text = `${padding}anna@acme.co ${padding}bob@acme.co`;
    expect(await redactedText(text)).toBe(`${padding}[EMAIL_1] ${padding}[EMAIL_2]`);
    expect(await redactedText('a.'.repeat(5000))).toHaveLength(10_000);
  });
});

describe('a request', () => {
  test('has one placeholder for one value, in texts alone', async () => {
    const { body, counts, originals } = await redact({
      model: 'a@b.co',
      messages: [
        { role: 'user', content: 'I am a@b.co and not [EMAIL_1]' },
        { role: 'user', content: [{ type: 'text', text: 'a@b.co, c@d.co' }] },
      ],
    });
    expect(JSON.parse(Buffer.from(body).toString())).toEqual({
      model: 'a@b.co',
      messages: [
        { role: 'user', content: 'I am [EMAIL_2] and not [EMAIL_1]' },
        { role: 'user', content: [{ type: 'text', text: '[EMAIL_2], [EMAIL_3]' }] },
      ],
    });
    expect(countsText(counts)).toBe('EMAIL=3');
    expect(Object.fromEntries(originals)).toEqual({ '[EMAIL_2]': 'a@b.co', '[EMAIL_3]': 'c@d.co' });
  });

  test.each([
    ['an image', { messages: [{ content: [{ type: 'image_url', image_url: { url: 'data:' } }] }] }],
    ['token ids', { prompt: [1, 2, 3] }],
  ])('with %s is refused', async (_name, request) => {
    expect(await thrownBy(redact(request))).toMatchObject({ code: 'REDACTION_UNSUPPORTED' });
  });

  test('is refused where the redactor fails, or it is no JSON object', async () => {
    const failing: Redactor = { name: 'broken', find: () => Promise.reject(new Error('secret')) };
    expect(await thrownBy(redact({ prompt: 'a' }, failing))).toMatchObject({ code: 'REDACTION_FAILED' });
    for (const body of ['[]', '{', '{"a":1,"a":2}']) {
      expect(await thrownBy(redactRequest(redactor, utf8(body)))).toBeInstanceOf(ProxyError);
    }
  });
});

const ORIGINALS = new Map([
  ['[EMAIL_1]', 'anna@acme.co'],
  ['[EMAIL_12]', 'bob@acme.co'],
]);

/** Cuts a text into pieces at these places. */
function pieces(text: string, cuts: readonly number[]): readonly string[] {
  const places = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((one, other) => one - other);
  return [0, ...places].map((start, index) => text.slice(start, places[index] ?? text.length));
}

const FORMS = {
  chat: (content: string, last: boolean) => ({
    choices: [{ index: 0, delta: last ? {} : { content }, finish_reason: last ? 'stop' : null }],
  }),
  completion: (text: string, last: boolean) => ({
    choices: [{ index: 0, text, finish_reason: last ? 'length' : null }],
  }),
  response: (delta: string, last: boolean) => ({
    type: last ? 'response.output_text.done' : 'response.output_text.delta',
    item_id: 'm',
    ...(last ? {} : { delta }),
  }),
  generate: (text: string) => ({ text_output: text }),
} as const;

function textIn(value: unknown): string {
  const {
    choices,
    delta,
    text_output: output,
  } = value as {
    choices?: { text?: string; delta?: { content?: string } }[];
    delta?: string;
    text_output?: string;
  };
  return choices?.[0]?.text ?? choices?.[0]?.delta?.content ?? delta ?? output ?? '';
}

describe('a stream', () => {
  test.each(Object.entries(FORMS))(
    'of a %s has the originals however its text is cut',
    (_name, form) => {
      const word = fc.constantFrom(
        '[EMAIL_1]',
        '[EMAIL_12]',
        '[EMAIL_3]',
        '[',
        ']',
        ' text ',
        '[[',
        'EMAIL_1]',
      );
      const cuts = fc.array(fc.nat({ max: 200 }), { maxLength: 12 });
      fc.assert(
        fc.property(fc.array(word, { maxLength: 12 }), cuts, (words, places) => {
          const text = words.join('');
          const restoration = new Restoration(ORIGINALS);
          const chunks = [...pieces(text, places).map((piece) => form(piece, false)), form('', true)];
          const given = chunks.flatMap((chunk) => restoration.chunk(JSON.stringify(chunk)));
          const whole = new Restoration(ORIGINALS).body(utf8(JSON.stringify({ text })));
          const { text: expected } = JSON.parse(Buffer.from(whole).toString()) as { text: string };
          expect(given.map((chunk) => textIn(JSON.parse(chunk))).join('')).toBe(expected);
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
