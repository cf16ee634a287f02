import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { LoadedModel } from '../../../src/engine/engine.ts';
import { ServiceError } from '../../../src/http/errors.ts';
import { readTexts } from '../../../src/http/prompts.ts';
import { readResponseRequest } from '../../../src/http/responseRequest.ts';
import { readGenerateRequest } from '../../../src/http/routes/generate.ts';
import { FakeEngine } from '../../support/fakeEngine.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const MODEL: LoadedModel = new FakeEngine().models.get('fake')!;

/** The outcome, where the only failure that may be is a refusal that names a member. */
function outcomeOf<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ServiceError && error.status === 400 && error.param !== undefined) return undefined;
    throw error;
  }
}

const SETTINGS = {
  max_tokens: fc.constant(5),
  max_output_tokens: fc.constant(5),
  temperature: fc.constant(0.5),
  top_p: fc.constant(0.5),
  top_k: fc.constant(3),
  seed: fc.integer(),
  stop: fc.string({ minLength: 1 }),
  stream: fc.boolean(),
};
const message = fc.record({ role: fc.constantFrom('user', 'assistant', 'tool'), content: fc.jsonValue() });
/** Bodies near those that are taken, with one member or another of any value. */
const near = fc
  .tuple(
    fc.record(
      {
        ...SETTINGS,
        text_input: fc.string(),
        id: fc.string(),
        parameters: fc.oneof(fc.record(SETTINGS, { requiredKeys: [] }), fc.jsonValue()),
        input: fc.oneof(fc.string(), fc.array(message), fc.jsonValue()),
        instructions: fc.oneof(fc.string(), fc.jsonValue()),
        metadata: fc.oneof(fc.dictionary(fc.string(), fc.string()), fc.jsonValue()),
        text: fc.oneof(fc.constant({ format: { type: 'text' } }), fc.jsonValue()),
      },
      { requiredKeys: [] },
    ),
    fc.dictionary(fc.string({ maxLength: 12 }), fc.jsonValue(), { maxKeys: 1 }),
  )
  .map(([known, other]) => ({ ...known, ...other }));

test(
  'whatever a response is asked, it is read or refused by name',
  () => {
    fc.assert(
      fc.property(near, (body) => {
        const request = outcomeOf(() => readResponseRequest(body, MODEL));
        if (!request) return;
        expect(request.messages.every(({ content }) => typeof content === 'string')).toBe(true);
        expect(request.settings.choices).toBe(1);
      }),
      propertyRuns(1500),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'whatever a generation is asked, it is read or refused by name',
  () => {
    fc.assert(
      fc.property(near, fc.boolean(), (body, stream) => {
        const request = outcomeOf(() => readGenerateRequest(body, MODEL, stream));
        if (!request) return;
        expect(request.text).toBe((body as { text_input?: unknown }).text_input);
        expect(request.settings.stream).toBe(stream);
      }),
      propertyRuns(1500),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'whatever texts are asked, they are all texts or all token ids, and what was sent',
  () => {
    const values = fc.oneof(
      fc.jsonValue(),
      fc.array(fc.oneof(fc.string(), fc.integer(), fc.array(fc.integer({ min: -1 })), fc.double())),
    );
    fc.assert(
      fc.property(values, (value) => {
        const texts = outcomeOf(() => readTexts(value, 'input'));
        if (!texts) return;
        expect(new Set(texts.map((text) => typeof text)).size).toBe(1);
        const [first] = texts;
        const isOne = typeof value === 'string' || (Array.isArray(value) && typeof value[0] === 'number');
        expect(isOne ? first : texts).toEqual(value);
      }),
      propertyRuns(1500),
    );
  },
  PROPERTY_TIMEOUT,
);
