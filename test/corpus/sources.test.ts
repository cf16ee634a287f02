import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { REFUSALS } from '../../attestation/errors.ts';
import { loadCases } from '../../scripts/corpus/load.ts';
import { REASONS } from '../../scripts/corpus/reasons.ts';
import { describeCorpus } from '../support/corpus.ts';
import { readSources } from '../support/sources.ts';

test('reasons and codes are one to one', () => {
  const codes = Object.values(REASONS);
  expect(new Set(codes).size).toBe(codes.length);
  expect(codes.filter((code) => !Object.hasOwn(REFUSALS, code))).toEqual([]);
});

describeCorpus('the CPU corpus', 'evidence/cpu', (folder) => {
  const cases = loadCases(folder);
  const sources = readSources('attestation', 'scripts/corpus');

  test('states no reason that the table does not have', () => {
    const stated = cases.flatMap(({ expectations }) => expectations.flatMap(({ reasons }) => reasons));
    expect([...new Set(stated)].filter((reason) => !Object.hasOwn(REASONS, reason))).toEqual([]);
  });

  test('is named nowhere in what judges it: neither a case, nor a file, nor a measurement', () => {
    expect(sources.length).toBeGreaterThan(100);
    const roots = readFileSync(join(folder, 'roots', 'roots.json'), 'utf8');
    const digests = cases.flatMap(({ id }) =>
      [...readFileSync(join(folder, id, 'case.json'), 'utf8').matchAll(/[0-9a-f]{64,}/gi)].map(
        ([hex]) => hex,
      ),
    );
    const known = new Set(
      digests.filter((hex) => !roots.includes(hex.toLowerCase()) && !/^(.)\1*$/.test(hex)),
    );
    const names = cases.flatMap(({ id }) => [id, id.split('/').at(-1)!]);
    const telling = [...names, ...known];
    const found = sources.flatMap(({ path, tree: { text } }) =>
      telling.filter((word) => text.includes(word)).map((word) => `${path} has ${word}`),
    );
    expect(found).toEqual([]);
  });
});
