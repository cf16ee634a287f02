import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex, toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { expectInitData, initDataPolicyPart } from '../../../../enclave/deploy/initData/expected.ts';
import { storedGzip } from '../../../../enclave/deploy/initData/gzip.ts';
import { digestInitData, encodeInitData } from '../../../../enclave/deploy/initData/initData.ts';
import { propertyRuns } from '../../../support/runs.ts';
import { inFolder } from '../../../support/folder.ts';
import { has, testUnless } from '../../../support/programs.ts';

const REFUSED: unknown = expect.objectContaining({ code: 'DEPLOY_OPTIONS_INVALID' });

describe('encodeInitData', () => {
  test('writes files in the order of their names, each as it is', () => {
    const bytes = encodeInitData({
      algorithm: 'sha384',
      data: { 'policy.rego': 'package agent_policy\n', 'aa.toml': 'a = "\\u0041"' },
    });
    expect(Buffer.from(bytes).toString()).toBe(
      'algorithm = "sha384"\nversion = "0.1.0"\n\n[data]\n' +
        `"aa.toml" = '''\na = "\\u0041"'''\n\n"policy.rego" = '''\npackage agent_policy\n'''\n`,
    );
  });

  test('the order in which files are given does not matter', () => {
    const [one, other] = [
      { a: '1', b: '2' },
      { b: '2', a: '1' },
    ].map((data) => encodeInitData({ algorithm: 'sha256', data }));
    expect(one).toEqual(other);
  });

  test.each([
    ['three quotes', `a'''b`],
    ['a quote at the end', `a'`],
    ['a carriage return', 'a\r\nb'],
    ['a NUL', 'a\0'],
    ['half a character', 'a\ud800'],
    ['too much', 'a'.repeat(200_000)],
  ])('refuses a file with %s', (_name, text) => {
    expect(() => encodeInitData({ algorithm: 'sha256', data: { a: text } })).toThrow(REFUSED);
  });

  test.each(['', 'a b', 'a"b', '../a\n'])('refuses %j as a name', (name) => {
    expect(() => encodeInitData({ algorithm: 'sha256', data: { [name]: '' } })).toThrow(REFUSED);
  });

  const missing = has('python3', '-c', 'import tomllib') ? undefined : 'no tomllib of Python 3.11';
  testUnless(missing, 'another reader of TOML finds the same files', async () => {
    const data = { 'aa.toml': `x = """\n'a' ''b'' \\ \t"""\n\n`, 'policy.rego': '\n\nä€😀 "', empty: '' };
    await inFolder((folder) => {
      const path = join(folder, 'init-data.toml');
      writeFileSync(path, encodeInitData({ algorithm: 'sha512', data }));
      const program = 'import tomllib,json,sys;print(json.dumps(tomllib.load(open(sys.argv[1],"rb"))))';
      const read: unknown = JSON.parse(execFileSync('python3', ['-c', program, path], { encoding: 'utf8' }));
      expect(read).toEqual({ algorithm: 'sha512', version: '0.1.0', data });
      return Promise.resolve();
    });
  });
});

describe('where the digest shows', () => {
  const bytes = encodeInitData({ algorithm: 'sha256', data: { a: 'b' } });

  test.each(['sha256', 'sha384', 'sha512'] as const)('%s is over the bytes', (algorithm) => {
    const digest = digestInitData(algorithm, bytes, nodeCrypto);
    expect(digest).toEqual(nodeCrypto.hash(algorithm, bytes));
  });

  test('a shorter digest gets zeros, a longer one is cut at its end', () => {
    const digest = Uint8Array.from({ length: 64 }, (_, index) => index);
    const long = expectInitData(digest, nodeCrypto);
    expect(long.hostData).toEqual(digest.slice(0, 32));
    expect(long.mrConfigId).toEqual(digest.slice(0, 48));
    const short = expectInitData(digest.slice(0, 32), nodeCrypto);
    expect(short.hostData).toEqual(digest.slice(0, 32));
    expect(toHex(short.mrConfigId)).toBe(toHex(digest.slice(0, 32)) + '00'.repeat(16));
  });

  test('PCR 8 is extended once, with 32 bytes', () => {
    const digest = fromHex('11'.repeat(48));
    const { pcr8 } = expectInitData(digest, nodeCrypto);
    expect(pcr8).toEqual(nodeCrypto.hash('sha256', fromHex('00'.repeat(32) + '11'.repeat(32))));
  });

  test('the policy part carries the name', () => {
    const expected = expectInitData(fromHex('11'.repeat(32)), nodeCrypto);
    expect(initDataPolicyPart(expected, 'release 1').snp).toEqual({
      hostData: [{ name: 'release 1', value: '11'.repeat(32) }],
    });
  });
});

test('gzip without compression is read by others', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
      expect(gunzipSync(storedGzip(bytes))).toEqual(Buffer.from(bytes));
    }),
    propertyRuns(50),
  );
  for (const length of [0, 0xffff, 0x10000, 0x1fffe, 200_000]) {
    const bytes = new Uint8Array(length).fill(7);
    expect(gunzipSync(storedGzip(bytes)).equals(bytes)).toBe(true);
  }
  expect(storedGzip(utf8('x'))).toEqual(storedGzip(utf8('x')));
});
