import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { compileConstraint } from '../../../../src/engine/constraint/constraint.ts';
import { makeVocabulary } from '../../../../src/engine/constraint/vocabulary.ts';
import { EngineError } from '../../../../src/engine/engine.ts';
import { Sequence } from '../../../../src/engine/sequence.ts';
import { readTokenizer } from '../../../support/decoders.ts';
import { fakeTokens } from '../../../support/fakeDecoder.ts';
import { Generations, promptOf } from '../../../support/generations.ts';
import { SHIPPED_MODELS } from '../../../support/store.ts';

const tokenizer = readTokenizer(join(SHIPPED_MODELS, 'tinygpt-1m'), 4096);
const ENDS = new Set([0]);
const QUOTE = 7;

/** An object is asked for, and of its characters only these have a token. */
function shortOf(characters: string, prompt: readonly number[]): Sequence {
  const tokens = Array.from(characters, (character, i) => [QUOTE + i, Buffer.from(character)] as const);
  const constraint = compileConstraint({ kind: 'json-object' }, makeVocabulary(new Map(tokens)), ENDS);
  const settings = { sampling: undefined, stop: [], logprobs: undefined, constraint };
  return new Sequence(tokenizer, ENDS, prompt, { maxTokens: 9, ...settings });
}

describe.each(['rows', 'alone'] as const)('where no token fits, among generations as %s', (batching) => {
  test.each([
    ['at the first token', '[', []],
    ['in the middle, before a colon', '"{', [QUOTE + 1, QUOTE, QUOTE]],
  ])('%s, that one alone fails with a code, and nothing is kept', async (_name, characters, said) => {
    const all = new Generations({ batching });
    all.submit(1, promptOf(5, 1), 9);
    all.batch.submit({ id: 2, scope: 'other', sequence: shortOf(characters, promptOf(5, 2)) });
    all.submit(3, promptOf(5, 3), 9);
    await all.finish();
    expect([...all.failures.keys()]).toEqual([2]);
    expect(all.failures.get(2)).toBeInstanceOf(EngineError);
    expect(all.failures.get(2)).toMatchObject({
      code: 'INVALID_INPUT',
      message: 'the tokens of the model cannot write what the constraint asks for',
    });
    expect(all.tokens.get(2) ?? []).toEqual(said);
    expect(all.ends.has(2)).toBe(false);
    for (const id of [1, 3]) expect(all.tokens.get(id)).toEqual(fakeTokens(promptOf(5, id), 9));
    expect([all.decoder.prefixes, all.decoder.slabs, all.batch.isIdle]).toEqual([0, 0, true]);
  });
});
