import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { CHECKS } from '../../attestation/checks.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { portableCrypto } from '../../attestation/crypto/portable.ts';
import { REFUSALS } from '../../attestation/errors.ts';
import type { GpuCase } from '../../scripts/corpus/gpu/case.ts';
import { judgeGpuCase } from '../../scripts/corpus/gpu/judge.ts';
import { GPU_REASONS } from '../../scripts/corpus/gpu/reasons.ts';
import { findCases, isGpuCase, loadGpuCase } from '../../scripts/corpus/load.ts';
import { describeCorpus } from '../support/corpus.ts';
import { readSources } from '../support/sources.ts';
import { verifyOnce } from '../support/verifyOnce.ts';

// Evidence of real GPUs and switches, and of real ones altered, with the verdict that its collector established otherwise.

describeCorpus('the GPU corpus', 'evidence/gpu', (folder) => {
  const [native, portable] = [verifyOnce(nodeCrypto), verifyOnce(portableCrypto)];
  const cases = findCases(folder).map((path) => loadGpuCase(folder, path));
  const evidence = cases.filter(({ expected }) => expected.verdict !== 'n/a');

  test('is there whole', () => {
    expect(findCases(folder).every((path) => isGpuCase(folder, path))).toBe(true);
    expect(evidence.length).toBeGreaterThanOrEqual(21);
    expect(evidence.flatMap(({ variants }) => variants).length).toBeGreaterThanOrEqual(32);
    expect(new Set(cases.map(({ id }) => id)).size).toBe(cases.length);
  });

  test.each(cases.map((gpuCase) => [gpuCase.id, gpuCase] as const))(
    '%s agrees with its variants, with both providers of cryptography',
    async (_id, gpuCase) => {
      const judged = await judgeGpuCase(gpuCase, native);
      expect(judged.map(({ variant }) => variant)).toEqual([
        undefined,
        ...gpuCase.variants.map(({ id }) => id),
      ]);
      for (const judgement of judged) {
        expect(judgement).toMatchObject({ agrees: true, disagreement: undefined });
      }
      expect(await judgeGpuCase(gpuCase, portable)).toEqual(judged);
    },
    60_000,
  );

  test('what is no evidence is said to be none', async () => {
    const others = cases.filter(({ expected }) => expected.verdict === 'n/a');
    const judged = await Promise.all(others.map((gpuCase) => judgeGpuCase(gpuCase, native)));
    expect(judged.flat().map(({ got }) => got)).toEqual(others.map(() => 'not evidence'));
  });

  describe('expecting otherwise', () => {
    /** One that names a topology asks for one. */
    const anyReason = Object.keys(GPU_REASONS).filter((name) => !name.startsWith('topology.'));

    /** The case, and each variant as a case of its own, with the opposite verdict. */
    const opposite = (gpuCase: GpuCase): GpuCase => {
      const { expected, variants } = gpuCase;
      const flipped = expected.verdict === 'pass' ? 'fail' : 'pass';
      return {
        ...gpuCase,
        expected: {
          ...expected,
          files: undefined,
          verdict: flipped,
          failing: flipped === 'fail' ? anyReason : undefined,
        },
        variants: variants.map((variant) => ({
          ...variant,
          expected: variant.expected === 'fail' ? 'pass' : 'fail',
          // A device that passes as such may still fail by what was published about it.
          failing:
            variant.expected === 'fail' ? undefined : anyReason.filter((name) => name.startsWith('device.')),
        })),
      };
    };

    test.each(evidence.map((gpuCase) => [gpuCase.id, gpuCase] as const))(
      '%s agrees with no opposite verdict',
      async (_id, gpuCase) => {
        const judged = await judgeGpuCase(opposite(gpuCase), native);
        expect(judged.filter(({ agrees }) => agrees)).toEqual([]);
      },
    );

    const refusing = evidence.filter(
      ({ expected, variants }) =>
        Array.isArray(expected.failing) || variants.some(({ failing }) => failing !== undefined),
    );

    test.each(refusing.map((gpuCase) => [gpuCase.id, gpuCase] as const))(
      '%s agrees with no reason of another room',
      async (_id, gpuCase) => {
        const foreign = (stated: readonly string[]) => [
          stated.some((name) => name.startsWith('eat.')) ? 'ocsp.status' : 'eat.iss',
        ];
        const { expected, variants } = gpuCase;
        const altered: GpuCase = {
          ...gpuCase,
          expected: Array.isArray(expected.failing)
            ? { ...expected, failing: foreign(expected.failing) }
            : expected,
          variants: variants.flatMap((variant) =>
            variant.failing ? [{ ...variant, failing: foreign(variant.failing) }] : [],
          ),
        };
        const judged = await judgeGpuCase(altered, native);
        const changed = judged.filter(
          ({ variant }) => variant !== undefined || Array.isArray(expected.failing),
        );
        expect(changed.length).toBeGreaterThan(0);
        expect(changed.filter(({ agrees }) => agrees)).toEqual([]);
      },
    );
  });

  test('states no check name that the table does not have, and its README lists no other', () => {
    const stated = evidence.flatMap(({ expected, variants }) => [
      ...(Array.isArray(expected.failing) ? expected.failing : Object.values(expected.failing ?? {}).flat()),
      ...Object.values(expected.files ?? {}).flatMap((file) => ('failing' in file ? file.failing : [])),
      ...variants.flatMap(({ failing = [] }) => failing),
    ]);
    const isKnown = (name: string) =>
      ['', 'device.', 'rim.'].some((prefix) => Object.hasOwn(GPU_REASONS, `${prefix}${name}`));
    expect(stated.length).toBeGreaterThan(30);
    expect(stated.filter((name) => !isKnown(name))).toEqual([]);
    const readme = readFileSync(join(folder, 'README.md'), 'utf8');
    const [, listed = ''] = /### Check names\n+([^\n]*)/.exec(readme) ?? [];
    const names = listed.match(/\b[a-z]+[A-Z0-9][A-Za-z0-9]*\b/g) ?? [];
    expect(names.length).toBeGreaterThan(20);
    const last = Object.keys(GPU_REASONS).map((name) => name.split('.').at(-1));
    const words = ['driver', 'vbios', 'bios'];
    expect(names.filter((name) => !last.includes(name) && !words.includes(name))).toEqual([]);
  });

  test('is named nowhere in what judges it: neither a case, nor a file, nor a measurement', () => {
    const sources = readSources('attestation', 'scripts/corpus');
    const text = (id: string) => readFileSync(join(folder, id, 'case.json'), 'utf8');
    const rooted = cases.filter(({ expected }) => expected.verdict === 'n/a').map(({ id }) => text(id));
    const digests = evidence.flatMap(({ id }) =>
      [...text(id).matchAll(/[0-9a-f]{40,}/gi)].map(([hex]) => hex),
    );
    const telling = [...evidence.map(({ id }) => id), ...new Set(digests)].filter(
      (word) => !rooted.some((roots) => roots.includes(word)) && !/^(.)\1*$/.test(word),
    );
    expect(telling.length).toBeGreaterThan(100);
    const found = sources.flatMap(({ path, tree: { text: source } }) =>
      telling.filter((word) => source.includes(word)).map((word) => `${path} has ${word}`),
    );
    expect(found).toEqual([]);
  });
});

test('the table names checks and codes of ours', () => {
  const known = Object.values(GPU_REASONS).flatMap(({ shownBy, followedBy = [] }) => [
    ...shownBy,
    ...followedBy,
  ]);
  const checks = known.flatMap((own) => own.checks).filter((check) => check !== 'manifest');
  expect(checks.filter((check) => !Object.hasOwn(CHECKS, check))).toEqual([]);
  expect(known.flatMap(({ codes }) => codes).filter((code) => !Object.hasOwn(REFUSALS, code))).toEqual([]);
  expect(Object.values(GPU_REASONS).every(({ shownBy }) => shownBy.length > 0)).toBe(true);
});
