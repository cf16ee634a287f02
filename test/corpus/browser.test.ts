import { expect, test } from '@jest/globals';
import { toBase64 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { CorpusCase } from '../../scripts/corpus/case.ts';
import { judgeCase } from '../../scripts/corpus/judge.ts';
import { loadCases } from '../../scripts/corpus/load.ts';
import { inChromium } from '../support/browserPage.ts';
import { describeCorpus } from '../support/corpus.ts';

// The verifier in a real browser says of every case what it says in Node.

/** What the page is given: the judge of cases, and what makes bytes of text. */
const ENTRY = `
  export { judgeCase } from './scripts/corpus/judge.ts';
  export { portableCrypto } from './attestation/crypto/portable.ts';
  export { fromBase64 } from './attestation/bytes/bytes.ts';
`;

interface Door {
  readonly judgeCase: typeof judgeCase;
  readonly portableCrypto: typeof nodeCrypto;
  readonly fromBase64: (text: string) => Uint8Array;
}

/** A case as text, for bytes do not travel into a page. */
function portable({ files, authorities, ...rest }: CorpusCase) {
  return {
    ...rest,
    files: files.map(({ bytes, ...file }) => ({ ...file, base64: toBase64(bytes) })),
    authorities: authorities.map(toBase64),
  };
}

describeCorpus('the CPU corpus in Chromium', 'evidence/cpu', (folder) => {
  inChromium(ENTRY, (page) => {
    test('every case has the codes of Node', async () => {
      for (const corpusCase of loadCases(folder)) {
        const outcomes = await page().evaluate(async ({ files, authorities, ...rest }) => {
          const { door } = globalThis as unknown as { readonly door: Door };
          const whole = {
            ...rest,
            files: files.map(({ base64, ...file }) => ({ ...file, bytes: door.fromBase64(base64) })),
            authorities: authorities.map((base64) => door.fromBase64(base64)),
          };
          const judged = await door.judgeCase(whole, door.portableCrypto);
          return judged.map(({ outcome, agrees }) => ({
            codes: outcome.codes,
            reason: outcome.reason,
            agrees,
          }));
        }, portable(corpusCase));
        const judged = await judgeCase(corpusCase, nodeCrypto);
        const { id } = corpusCase;
        expect({ id, outcomes }).toEqual({
          id,
          outcomes: judged.map(({ outcome, agrees }) => ({ ...outcome, agrees })),
        });
      }
    }, 90_000);
  });
});
