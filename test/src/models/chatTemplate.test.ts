import { describe, expect, test } from '@jest/globals';
import { PromptTemplate } from '../../../src/models/chatTemplate.ts';
import { readConfig } from '../../../src/models/config.ts';

const TOKENS = { bosToken: '<s>', eosToken: '</s>' };
const MESSAGES = [
  { role: 'user', content: 'Hello {{ eos_token }}' },
  { role: 'assistant', content: 'Hi' },
];
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const render = (template: string): string => new PromptTemplate(template).render(MESSAGES, TOKENS);

describe('a chat template', () => {
  test('writes the conversation and asks for the next turn', () => {
    const template =
      "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message.content | trim }}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";
    expect(render(template)).toBe(
      '<s><|user|>\nHello {{ eos_token }}</s>\n<|assistant|>\nHi</s>\n<|assistant|>\n',
    );
  });

  test('has no clock, so that a prompt can be made again', () => {
    expect(render("{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% else %}2024{% endif %}")).toBe('2024');
  });

  test('has ranges of a length that ends', () => {
    expect(render('{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(5, 1, -2) %}{{ i }}{% endfor %}')).toBe(
      '01253',
    );
    expect(() => render('{% for i in range(1000000000) %}x{% endfor %}')).toThrow('range');
    expect(() => render('{% for i in range(1, 2, 0) %}x{% endfor %}')).toThrow('range');
  });

  test('may refuse a conversation', () => {
    expect(() => render("{{ raise_exception('no ' + messages[0].content) }}")).toThrow('no Hello');
  });
});

describe('the text files of a model', () => {
  test('give the template of its own file before that of the tokenizer', () => {
    const tokenizerConfig = bytes(JSON.stringify({ chat_template: 'b' }));
    expect(readConfig(new Map([['tokenizer-config', tokenizerConfig]])).chatTemplate).toBe('b');
    const both = new Map([
      ['template', bytes('a')],
      ['tokenizer-config', tokenizerConfig],
    ] as const);
    expect(readConfig(both).chatTemplate).toBe('a');
    const named = JSON.stringify({ chat_template: [{ name: 'default', template: 'd' }] });
    expect(readConfig(new Map([['tokenizer-config', bytes(named)]])).chatTemplate).toBe('d');
    expect(readConfig(new Map()).chatTemplate).toBeUndefined();
  });

  test('are refused where the template is none', () => {
    expect(() => readConfig(new Map([['template', bytes('{% for %}')]]))).toThrow('no Jinja template');
    const config = bytes(JSON.stringify({ chat_template: '{{ x' }));
    expect(() => readConfig(new Map([['tokenizer-config', config]]))).toThrow('no Jinja template');
  });

  test('say how a model is sampled, as Hugging Face reads them', () => {
    const sampling = (stated: object): unknown =>
      readConfig(new Map([['generation-config', bytes(JSON.stringify(stated))]])).sampling;
    expect(sampling({ temperature: 0.7, top_k: 20 })).toBeUndefined();
    expect(sampling({ do_sample: true })).toEqual({ temperature: 1, topP: 1, topK: 50 });
    expect(sampling({ do_sample: true, temperature: 0.6, top_p: 0.95, top_k: 20 })).toEqual({
      temperature: 0.6,
      topP: 0.95,
      topK: 20,
    });
  });
});
