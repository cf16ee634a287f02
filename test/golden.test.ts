import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { toHex } from '../attestation/bytes/bytes.ts';
import { differingAnswers, judgeCase, readCases } from '../scripts/golden/cases.ts';
import { formatOf, GOLDEN_FORMATS, reencode } from '../scripts/golden/formats.ts';
import {
  differences,
  packageVersion,
  pinOf,
  readIndex,
  versionFolder,
  type GoldenVersion,
} from '../scripts/golden/versionIndex.ts';

/** Released versions, by what `npm run golden -- release` printed. A line that stands here is never changed. */
const RELEASED: Readonly<Record<string, string>> = {};

const INDEX = readIndex();
const VERSIONS = Object.entries(INDEX);

test('no golden file was changed, removed or added', () => {
  expect(differences(INDEX)).toEqual([]);
});

test('released versions are those that are pinned here, as they were', () => {
  const released = VERSIONS.filter(([, { released }]) => released).map(([version, files]) => [
    version,
    pinOf(files),
  ]);
  expect(Object.fromEntries(released)).toEqual(RELEASED);
});

test('every version before this one is released, and this one has golden files', () => {
  const open = VERSIONS.filter(([, { released }]) => !released).map(([version]) => version);
  expect(open.filter((version) => version !== packageVersion())).toEqual([]);
  expect(Object.keys(INDEX)).toContain(packageVersion());
});

test('every durable format has golden files of this version', () => {
  const files = Object.keys(INDEX[packageVersion()]?.files ?? {});
  const formats = new Set(files.map(formatOf));
  expect(GOLDEN_FORMATS.filter((format) => !formats.has(format))).toEqual([]);
});

describe.each(VERSIONS)('golden files of %s', (version: string, { files }: GoldenVersion) => {
  const folder = versionFolder(version);
  const names = Object.keys(files).filter((name) => formatOf(name) !== undefined);

  test.each(names)('%s is read and written as it was', (name) => {
    const bytes = new Uint8Array(readFileSync(join(folder, name)));
    expect(toHex(reencode(formatOf(name)!, bytes))).toBe(toHex(bytes));
  });

  test.each(readCases(folder).map((question) => [question.name, question] as const))(
    'the verifier answers as it did: %s',
    async (_name, question) => {
      expect(differingAnswers(question.expected, await judgeCase(folder, question))).toEqual([]);
    },
  );
});

describe('a change is noticed', () => {
  const files = { 'a.cbor': 'aa', 'b.cbor': 'bb' };
  const pin = pinOf({ released: true, files });

  test.each<[string, Readonly<Record<string, string>>]>([
    ['another digest', { ...files, 'a.cbor': 'ab' }],
    ['a file less', { 'a.cbor': 'aa' }],
    ['a file more', { ...files, 'c.cbor': 'cc' }],
    ['another name', { 'a.cbor': 'aa', 'c.cbor': 'bb' }],
  ])('of an entry of a released version: %s', (_what, altered) => {
    expect(pinOf({ released: true, files: altered })).not.toBe(pin);
  });

  test('of a version that is not there', () => {
    expect(differences({ '9.9.9': { released: true, files } })).toEqual(
      expect.arrayContaining(['9.9.9/a.cbor is not there', '9.9.9/b.cbor is not there']),
    );
  });
});
