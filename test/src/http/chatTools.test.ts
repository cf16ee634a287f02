import { describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkParameter } from '../../../attestation/receipt/opening.ts';
import type { GenerateOptions, GeneratedToken, Generation } from '../../../src/engine/engine.ts';
import { type CallEvent, CallReader } from '../../../src/http/chatCalls.ts';
import { FakeEngine } from '../../support/fakeEngine.ts';
import { issuedClaims, startTestService, type TestService } from '../../support/service.ts';

const TEMPLATE = '{{ tools | tojson if tools }}{% for m in messages %}{{ m | tojson }}{% endfor %}';
const HELLO = [{ role: 'user', content: 'hello' }];
const LOOK = {
  type: 'function',
  function: {
    name: 'look',
    description: 'd',
    parameters: { type: 'object', properties: { at: { type: 'string' } } },
  },
};

/** Says a text in pieces of three characters, and remembers what it was asked. */
class SpeakingEngine extends FakeEngine {
  says = '';
  finish: Generation['finishReason'] = 'stop';
  prompt = '';
  options: GenerateOptions | undefined;

  override generate(
    _model: string,
    prompt: string,
    options: GenerateOptions,
    onToken: (token: GeneratedToken) => void,
  ): Promise<Generation> {
    this.prompt = prompt;
    this.options = options;
    const pieces = this.says.match(/[^]{1,3}/gu) ?? [];
    for (const [id, text] of pieces.entries()) onToken({ id, text });
    const counts = { promptTokens: 1, completionTokens: pieces.length };
    return Promise.resolve({ ...counts, finishReason: this.finish });
  }
}

interface Message {
  readonly content: string | null;
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly function: { name: string; arguments: string };
  }[];
}

interface Choice {
  readonly message: Message;
  readonly delta: {
    content?: string;
    tool_calls?: { index: number; id?: string; function: { name?: string; arguments: string } }[];
  };
  readonly finish_reason: string | null;
}

async function start(
  template = TEMPLATE,
): Promise<{ readonly service: TestService; readonly engine: SpeakingEngine }> {
  const engine = new SpeakingEngine();
  const chatTemplate = { template, bosToken: undefined, eosToken: undefined };
  engine.models.set('chat', { ...engine.models.get('fake')!, id: 'chat', chatTemplate });
  return { service: await startTestService({}, { engine }), engine };
}

const ask = (service: TestService, rest: object): Promise<Response> =>
  service.post('/v1/chat/completions', { model: 'chat', messages: HELLO, tools: [LOOK], ...rest });

async function choiceOf(answer: Response): Promise<Choice> {
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { choices: Choice[] }).choices[0]!;
}

describe('a call of a tool', () => {
  test('that is required is the whole answer, in the form that the engine is held to', async () => {
    const { service, engine } = await start();
    engine.says = '{"name": "look", "arguments": {"at": "}\\"é"}}';
    const answer = await ask(service, { tool_choice: 'required' });
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    expect(await choiceOf(answer)).toMatchObject({
      message: {
        content: null,
        tool_calls: [
          {
            id: `call_${id}_0_0`,
            type: 'function',
            function: { name: 'look', arguments: '{"at": "}\\"é"}' },
          },
        ],
      },
      finish_reason: 'tool_calls',
    });
    expect(engine.options?.constraint).toMatchObject({
      kind: 'tool-calls',
      mode: 'required',
      tagged: false,
      parallel: true,
    });
    expect(engine.prompt).toContain('"name": "look"');
  });

  test('is streamed as it comes', async () => {
    const { service, engine } = await start(`<tool_call>${TEMPLATE}`);
    const one = '<tool_call>\n{"name": "look", "arguments": {"at": "x"}}\n</tool_call>';
    engine.says = `So: ${one}\n${one}`;
    const text = await (await ask(service, { stream: true })).text();
    const chunks = [...text.matchAll(/^data: (\{.*\})$/gm)].map(
      (match) => JSON.parse(match[1]!) as { choices?: Choice[] },
    );
    const deltas = chunks.flatMap(({ choices }) => choices?.map(({ delta }) => delta) ?? []);
    const calls = deltas.flatMap((delta) => delta.tool_calls ?? []);
    expect(deltas.map(({ content }) => content ?? '').join('')).toBe('So: ');
    for (const index of [0, 1]) {
      const own = calls.filter((call) => call.index === index);
      expect(own[0]).toMatchObject({
        id: expect.stringMatching(`_0_${index}$`),
        type: 'function',
        function: { name: 'look' },
      });
      expect(own.slice(1).every(({ id }) => id === undefined)).toBe(true);
      expect(own.map((call) => call.function.arguments).join('')).toBe('{"at": "x"}');
      expect(own.length).toBeGreaterThan(2);
    }
    expect(chunks.flatMap(({ choices }) => choices ?? []).at(-1)!.finish_reason).toBe('tool_calls');
    expect(engine.options?.constraint).toMatchObject({ mode: 'auto', tagged: true });
  });

  test('that a limit ends is told as far as it came', async () => {
    const { service, engine } = await start();
    engine.says = '{"name": "look", "arguments": {"at": "x';
    engine.finish = 'length';
    expect(
      await choiceOf(await ask(service, { tool_choice: { type: 'function', function: { name: 'look' } } })),
    ).toMatchObject({
      message: { tool_calls: [{ function: { name: 'look', arguments: '{"at": "x' } }] },
      finish_reason: 'length',
    });
  });

  test('may be text instead, and is not looked for without tools', async () => {
    const { service, engine } = await start();
    engine.says = 'Nothing to call.';
    const said = { message: { content: 'Nothing to call.' }, finish_reason: 'stop' };
    expect(await choiceOf(await ask(service, {}))).toMatchObject(said);
    expect(engine.options?.constraint).toBeUndefined();
    engine.says = '{"name":"look","arguments":{}}';
    expect(await choiceOf(await ask(service, { tool_choice: 'none' }))).toMatchObject({
      message: { content: engine.says },
      finish_reason: 'stop',
    });
    expect(engine.prompt).not.toContain('look');
  });

  test('and its answer are handed to the template, arguments as an object', async () => {
    const { service, engine } = await start();
    engine.says = 'ok';
    const called = { id: 'c1', type: 'function', function: { name: 'look', arguments: '{"at":"x"}' } };
    const messages = [
      ...HELLO,
      { role: 'assistant', content: null, tool_calls: [called] },
      { role: 'tool', tool_call_id: 'c1', content: [{ type: 'text', text: 'seen' }] },
    ];
    await choiceOf(await ask(service, { messages }));
    expect(engine.prompt).toContain('"arguments": {"at": "x"}');
    expect(engine.prompt).toContain('"tool_call_id": "c1"');
  });

  test('needs a template that has a place for tools', async () => {
    const { service } = await start('{{ messages[0].content }}');
    expect(await (await ask(service, {})).json()).toMatchObject({ error: { param: 'tools' } });
  });

  test('costs no more than all tools of a request may together, whose place is told', async () => {
    const { service, engine } = await start();
    const pattern = (i: number): object => ({ type: 'string', pattern: `^[a-z]{1,99}-${i}$` });
    const properties = (i: number): object =>
      Object.fromEntries(Array.from({ length: 8 }, (_, j) => [`p${j}`, pattern(8 * i + j)]));
    const tools = Array.from({ length: 128 }, (_, i) => ({
      type: 'function',
      function: { name: `t${i}`, parameters: { type: 'object', properties: properties(i) } },
    }));
    engine.says = 'ok';
    expect((await ask(service, { tools: tools.slice(0, 4) })).status).toBe(200);
    const refused = await ask(service, { tools });
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({
      error: {
        param: expect.stringMatching(/^tools\[\d+\]\.function\.parameters$/),
        message: expect.stringContaining('takes more work than all schemas of a request may'),
      },
    });
  });

  test('is not combined with a format of the text', async () => {
    const { service } = await start();
    const answer = await ask(service, { response_format: { type: 'json_object' } });
    expect(await answer.json()).toMatchObject({ error: { param: 'response_format' } });
  });
});

describe('the form of an answer', () => {
  test('is asked of the engine', async () => {
    const { service, engine } = await start();
    engine.says = '{}';
    const schema = { type: 'object' };
    await ask(service, { tools: [], response_format: { type: 'json_object' } });
    expect(engine.options?.constraint).toEqual({ kind: 'json-object' });
    await ask(service, {
      tools: [],
      response_format: { type: 'json_schema', json_schema: { name: 's', schema } },
    });
    expect(engine.options?.constraint).toEqual({ kind: 'json-schema', schema, strict: false });
  });

  test('is committed to by the receipt', async () => {
    const { service, engine } = await start();
    engine.says = '{}';
    const format = { type: 'json_schema', json_schema: { name: 's', schema: { type: 'object' } } };
    const tool_choice = { type: 'function', function: { name: 'look' } };
    const answers = [
      await ask(service, { tools: [], response_format: format }),
      await ask(service, { parallel_tool_calls: false }),
      await ask(service, { tool_choice }),
    ];
    const claims = issuedClaims(service);
    const check = (i: number, name: 'tools' | 'response_format', value: unknown): void => {
      const k = Buffer.from(answers[i]!.headers.get('vouchsafe-commitment-key')!, 'base64url');
      checkParameter(claims[i]!, { k, name, value: Buffer.from(JSON.stringify(value)) }, nodeCrypto);
    };
    check(0, 'response_format', format);
    check(1, 'tools', [LOOK]);
    check(2, 'tools', { tools: [LOOK], tool_choice });
    expect(() => check(1, 'tools', [])).toThrow(expect.objectContaining({ code: 'COMMITMENT_MISMATCH' }));
    const stated = claims.map(({ parameters }) => [
      parameters.get('tool_choice'),
      parameters.get('parallel_tool_calls'),
    ]);
    expect(stated).toEqual([
      [undefined, undefined],
      ['auto', 'false'],
      ['function', undefined],
    ]);
  });
});

describe('calls in a text', () => {
  const read = (text: string, constrained: boolean, size: number): readonly unknown[] => {
    const reader = new CallReader({ names: new Set(['f', 'g']), bare: false, constrained });
    const pieces = text.match(new RegExp(`[^]{1,${size}}`, 'gu')) ?? [];
    const events: readonly CallEvent[] = [...pieces.flatMap((piece) => reader.push(piece)), ...reader.end()];
    const content = events.flatMap((event) => (event.kind === 'content' ? [event.text] : [])).join('');
    const calls = events.flatMap((event) => (event.kind === 'call' ? [event.name] : []));
    const own = events.flatMap((event) => (event.kind === 'arguments' ? [event.text] : [])).join('');
    return [content, calls, own];
  };

  test.each<[string, string, readonly string[], string]>([
    ['plain < text <tool_cal', 'plain < text <tool_cal', [], ''],
    ['{"name":"f","arguments":{"a":[1.0]}}', '', ['f'], '{"a":[1.0]}'],
    [' {"parameters":{"a":1},"name":"g"} ', '', ['g'], '{"a":1}'],
    ['{"name":"h","arguments":{}}', '{"name":"h","arguments":{}}', [], ''],
    ['{"answer":1}', '{"answer":1}', [], ''],
    ['{"name":"f","arguments":[]}', '{"name":"f","arguments":[]}', [], ''],
    ['<tool_call>{"name":"f","arguments":{"a":"}"}}</tool_call>', '', ['f'], '{"a":"}"}'],
    [
      'a<tool_call>{"name":"f","arguments":{}}</tool_call>\n<tool_call>{"name":"g","arguments":{}}</tool_call>\n',
      'a',
      ['f', 'g'],
      '{}{}',
    ],
    ['<tool_call>{"name":"f","arguments":{}}', '', ['f'], '{}'],
  ])('%j', (text, content, calls, own) => {
    for (const size of [1, 2, 7, 1000]) expect(read(text, false, size)).toEqual([content, calls, own]);
  });

  test('that are none stay text', () => {
    const text = 'a<tool_call>{"name":"h","arguments":{}}</tool_call> b';
    for (const size of [1, 5, 1000]) expect(read(text, false, size)).toEqual([text, [], '']);
  });
});
