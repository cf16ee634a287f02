import { describe, expect, test } from '@jest/globals';
import { type fromBase64, toBase64 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { LaunchCase } from '../../scripts/corpus/launch/case.ts';
import { judgeLaunchCase } from '../../scripts/corpus/launch/judge.ts';
import { findCases, isLaunchCase, loadLaunchCase } from '../../scripts/corpus/load.ts';
import { inChromium } from '../support/browserPage.ts';
import { describeCorpus } from '../support/corpus.ts';

// What is predicted of a launch agrees with every case, in Node and in a real browser.

const ENTRY = `
  export { judgeLaunchCase } from './scripts/corpus/launch/judge.ts';
  export { portableCrypto } from './attestation/crypto/portable.ts';
  export { fromBase64 } from './attestation/bytes/bytes.ts';
`;

interface Door {
  readonly judgeLaunchCase: typeof judgeLaunchCase;
  readonly portableCrypto: typeof nodeCrypto;
  readonly fromBase64: typeof fromBase64;
}

describeCorpus('the corpus of launches', 'evidence/launch', (folder) => {
  const paths = findCases(folder);

  test.each(paths)('%s agrees, or is left out with a reason', (path) => {
    expect(isLaunchCase(folder, path)).toBe(true);
    const judged = judgeLaunchCase(loadLaunchCase(folder, path), nodeCrypto);
    if (judged.got === 'not computable') expect(judged.reason).toEqual(expect.any(String));
    else expect(judged).toMatchObject({ agrees: true });
  });

  test('only firmware of packages is left out', () => {
    const leftOut = paths
      .map((path) => loadLaunchCase(folder, path))
      .filter((launch) => judgeLaunchCase(launch, nodeCrypto).got === 'not computable');
    expect(leftOut.filter(({ inputs }) => !('firmwarePackage' in inputs))).toEqual([]);
  });

  test('a changed input disagrees', () => {
    const real = loadLaunchCase(
      folder,
      paths.find((path) => path.endsWith('real-epyc-2-vcpus'))!,
    );
    const changed: LaunchCase = { ...real, inputs: { ...real.inputs, vcpus: 3 } };
    expect(judgeLaunchCase(changed, nodeCrypto).agrees).toBe(false);
  });

  describe('in Chromium', () => {
    inChromium(ENTRY, (page) => {
      test('every case has the outcome of Node', async () => {
        const cases = paths.map((path) => loadLaunchCase(folder, path));
        const portable = cases.map(({ files, ...rest }) => ({
          ...rest,
          files: [...files].map(([name, bytes]) => [name, toBase64(bytes)] as const),
        }));
        const judged = await page().evaluate((launches) => {
          const { door } = globalThis as unknown as { readonly door: Door };
          return launches.map(({ files, ...rest }) => {
            const whole = files.map(([name, base64]) => [name, door.fromBase64(base64)] as const);
            return door.judgeLaunchCase({ ...rest, files: new Map(whole) }, door.portableCrypto);
          });
        }, portable);
        const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
        expect(plain(judged)).toEqual(plain(cases.map((launch) => judgeLaunchCase(launch, nodeCrypto))));
      }, 60_000);
    });
  });
});
