import { expect, test } from '@jest/globals';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { travellingCase, type readTravellingCase } from '../../scripts/bench/browserCase.ts';
import { judgeGpuCase, type GpuJudgement } from '../../scripts/corpus/gpu/judge.ts';
import { findCases, loadGpuCase } from '../../scripts/corpus/load.ts';
import { inChromium } from '../support/browserPage.ts';
import { describeCorpus } from '../support/corpus.ts';

// The verifier in a real browser says of every GPU case and variant what it says in Node.

/** What the page is given: the judge of cases, and what reads a case from text. */
const ENTRY = `
  export { judgeGpuCase } from './scripts/corpus/gpu/judge.ts';
  export { portableCrypto } from './attestation/crypto/portable.ts';
  export { readTravellingCase } from './scripts/bench/browserCase.ts';
`;

interface Door {
  readonly judgeGpuCase: typeof judgeGpuCase;
  readonly portableCrypto: typeof nodeCrypto;
  readonly readTravellingCase: typeof readTravellingCase;
}

describeCorpus('the GPU corpus in Chromium', 'evidence/gpu', (folder) => {
  inChromium(ENTRY, (page) => {
    function judgeInPage(gpuCase: string): Promise<string> {
      return page().evaluate(async (text) => {
        const { door } = globalThis as unknown as { readonly door: Door };
        const whole = door.readTravellingCase(text);
        return JSON.stringify(await door.judgeGpuCase(whole, door.portableCrypto));
      }, gpuCase);
    }

    test('every case and variant has the checks, codes and reasons of Node', async () => {
      for (const path of findCases(folder)) {
        const gpuCase = loadGpuCase(folder, path);
        const inPage = await judgeInPage(travellingCase(gpuCase));
        const judged = JSON.parse(inPage) as readonly GpuJudgement[];
        const ofNode = JSON.parse(JSON.stringify(await judgeGpuCase(gpuCase, nodeCrypto))) as unknown;
        expect(judged).toEqual(ofNode);
        expect(judged.every(({ agrees }) => agrees)).toBe(true);
      }
    }, 120_000);
  });
});
