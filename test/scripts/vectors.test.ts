import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { runVectors, type Tally } from '../../scripts/vectors/runner.ts';
import { parseJson } from '../../scripts/vectors/vectorFile.ts';
import { describeCorpus } from '../support/corpus.ts';

let folder: string;
let lines: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vectors-'));
  lines = [];
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function write(path: string, content: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
}

function run(): Promise<Tally> {
  return runVectors(folder, (line) => lines.push(line));
}

const GOOD = { name: 'one', hex: '01', roundtrip: true, decoded: 1 };

describe('the vector runner', () => {
  test('agrees with right vectors, wherever they lie', async () => {
    write('deep/any-name.json', JSON.stringify({ vectors: [GOOD] }));
    expect(await run()).toEqual({ passed: 1, failed: 0, skipped: 0 });
    expect(lines[0]).toMatch(/^agree .*deep\/any-name\.json/);
  });

  test('names the file and the vector that disagree', async () => {
    write('bad.json', JSON.stringify({ vectors: [GOOD, { ...GOOD, name: 'two', decoded: 2 }] }));
    expect(await run()).toEqual({ passed: 1, failed: 1, skipped: 0 });
    expect(lines[0]).toMatch(/^disagree .*bad\.json/);
    expect(lines[1]).toContain('two');
  });

  test('fails on an accepted proof that must be refused', async () => {
    const hash = 'bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=';
    const proof = {
      name: 'alone',
      leafIdx: 0,
      treeSize: 1,
      root: hash,
      leafHash: hash,
      proof: null,
      wantErr: true,
    };
    write('inclusion.json', JSON.stringify({ vectors: [proof, { ...proof, wantErr: false }] }));
    expect(await run()).toEqual({ passed: 1, failed: 1, skipped: 0 });
  });

  test.each([
    ['not JSON', 'notes/broken.json', '{'],
    ['a known name with another layout', 'merkle/inclusion.json', '{"vectors":[{"leafIdx":0}]}'],
    ['a known layout with a damaged vector', 'a.json', JSON.stringify({ vectors: [GOOD, { hex: 'zz' }] })],
    ['no vectors', 'cbor/rfc8949-appendix-a.json', '{"vectors":[]}'],
  ])('fails on %s', async (_what, path, content) => {
    write(path, content);
    expect(await run()).toEqual({ passed: 0, failed: 1, skipped: 0 });
    expect(lines[0]).toMatch(new RegExp(`^malformed ${path}`));
  });

  test('names what it does not know as skipped', async () => {
    write('other.json', '{"something":"else"}');
    write('schema.yaml', 'a: b');
    expect(await run()).toEqual({ passed: 0, failed: 0, skipped: 2 });
  });
});

describe('JSON of vectors', () => {
  test('keeps integers that numbers cannot hold', () => {
    const text =
      '{"a":18446744073709551615,"b":[-9007199254740992],"c":"18446744073709551615","d":9007199254740991,"e":1.5e300}';
    expect(parseJson(text)).toEqual({
      a: 18446744073709551615n,
      b: [-9007199254740992n],
      c: '18446744073709551615',
      d: 9007199254740991,
      e: 1.5e300,
    });
  });

  test('leaves text that looks like a number or holds quotes alone', () => {
    expect(parseJson(String.raw`{"a":"\" 99999999999999999999","b":"\\"}`)).toEqual({
      a: '" 99999999999999999999',
      b: '\\',
    });
  });
});

describeCorpus('published vectors', 'standards/vectors', (directory) => {
  test('all that are known agree', async () => {
    const tally = await runVectors(directory, (line) => lines.push(line));
    expect(lines.filter((line) => /^(?:disagree|malformed)/.test(line))).toEqual([]);
    expect(tally.failed).toBe(0);
    expect(tally.passed).toBeGreaterThan(0);
  });
});
