import { expect, test } from '@jest/globals';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { portableCrypto } from '../../attestation/crypto/portable.ts';
import { judgeCase } from '../../scripts/corpus/judge.ts';
import { loadCases } from '../../scripts/corpus/load.ts';
import { describeCorpus } from '../support/corpus.ts';

// Evidence of real hardware, and of real hardware altered, with the verdict that its collector established otherwise.

describeCorpus('the CPU corpus', 'evidence/cpu', (folder) => {
  const cases = loadCases(folder);

  test('is there whole', () => {
    expect(cases.length).toBeGreaterThan(100);
    expect(new Set(cases.map(({ id }) => id)).size).toBe(cases.length);
    expect(cases.every(({ files, authorities }) => files.length > 0 && authorities.length > 0)).toBe(true);
  });

  test.each(cases.map((corpusCase) => [corpusCase.id, corpusCase] as const))(
    '%s agrees, with both providers of cryptography',
    async (_id, corpusCase) => {
      const judged = await judgeCase(corpusCase, nodeCrypto);
      expect(judged).toHaveLength(corpusCase.expectations.length);
      for (const { expectation, outcome, agrees } of judged) {
        expect({ agrees, expectation, outcome }).toEqual({ agrees: true, expectation, outcome });
      }
      expect(await judgeCase(corpusCase, portableCrypto)).toEqual(judged);
    },
  );
});
