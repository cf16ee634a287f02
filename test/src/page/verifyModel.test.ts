import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { CHECKS, type CheckId } from '../../../attestation/checks.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { partOf } from '../../../src/page/verify/chain.ts';
import { failureOf } from '../../../src/page/verify/failure.ts';
import { judgeFiles } from '../../../src/page/verify/judge.ts';
import { pastedFile } from '../../../src/page/verify/pasted.ts';
import type { Request } from '../../../src/page/verify/protocol.ts';
import { NO_SETTINGS, requestOf } from '../../../src/page/verify/settings.ts';
import { visible } from '../../../src/page/verify/visible.ts';
import { NOW } from '../../support/world.ts';

const file = (name: string, text: string) => ({ name, bytes: utf8(text) });

async function failureTo(changes: Partial<Request>): Promise<string> {
  const asked = { id: 1, ...requestOf({ files: [] }, NO_SETTINGS, NOW), ...changes };
  try {
    return (await judgeFiles(asked, nodeCrypto)).verdict.decision;
  } catch (error) {
    return failureOf(error).code;
  }
}

const REPORT = { name: 'report.bin', bytes: Uint8Array.of(0x11, 0xe0, 0x01, 0xff, 0) };

describe('what the page is given', () => {
  test.each<[string, Partial<Request>, string]>([
    ['no file', {}, 'NOTHING_GIVEN'],
    ['a file of no known kind', { subject: { files: [file('a', 'hello')] } }, 'FILE_UNKNOWN'],
    ['JSON that is none of ours', { subject: { files: [file('a', '{"a":1}')] } }, 'FILE_UNKNOWN'],
    ['a manifest alone', { subject: { files: [file('a', '<SoftwareIdentity/>')] } }, 'FILE_NOT_ALONE'],
    ['a token', { subject: { files: [file('a', 'eyJhbGciOiJFUzM4NCJ9.e30.AAAA')] } }, 'FILE_NOT_ALONE'],
    ['too many', { subject: { files: Array.from({ length: 65 }, () => REPORT) } }, 'FILES_TOO_MANY'],
    ['a short nonce', { subject: { files: [REPORT] }, nonce: '00' }, 'INPUT_INVALID'],
    ['report data that is no hex', { subject: { files: [REPORT] }, reportData: 'xy' }, 'INPUT_INVALID'],
    ['an anchor without a role', { subject: { files: [REPORT] }, anchors: ['abc'] }, 'INPUT_INVALID'],
    [
      'a request without its response',
      { subject: { files: [REPORT] }, exchange: { request: utf8('') } },
      'INPUT_INVALID',
    ],
    ['a policy that is no JSON', { subject: { files: [REPORT] }, policy: { json: '{' } }, 'MALFORMED'],
    [
      'a policy with an unknown member',
      { subject: { files: [REPORT] }, policy: { json: '{"a":1}' } },
      'POLICY_INVALID',
    ],
    ['a report that is cut off', { subject: { files: [REPORT] } }, 'refused'],
  ])('%s', async (_name, changes, code) => {
    expect(await failureTo(changes)).toBe(code);
  });

  test('a time that is none is said before anything is asked', () => {
    expect(() => requestOf({ files: [] }, { ...NO_SETTINGS, at: 'soon' }, NOW)).toThrow(/judged time/);
    expect(requestOf({ files: [] }, { ...NO_SETTINGS, at: '2026-11-21' }, 0).now).toBe(
      Date.parse('2026-11-21'),
    );
    expect(() => requestOf({ files: [] }, { ...NO_SETTINGS, policy: 'own' }, NOW)).toThrow(/policy/);
  });

  test('pasted text is a file', () => {
    expect(pastedFile(' 00ff \n').bytes).toEqual(utf8('00ff'));
  });
});

test('every check has its place in the picture, but for the limits', () => {
  const homeless = (Object.keys(CHECKS) as CheckId[]).filter((id) => partOf({ id }) === undefined);
  expect(homeless.every((id) => id.startsWith('limits.'))).toBe(true);
});

test('texts of a file cannot change how the text around them is read', () => {
  expect(visible('a\u202eb\u0007c\u2028d')).toBe('a·b·c·d');
});
