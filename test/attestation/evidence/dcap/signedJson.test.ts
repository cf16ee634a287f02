import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, fromUtf8, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { parseSignedJson, verifySignedJson } from '../../../../attestation/evidence/dcap/signedJson.ts';
import { parseCertificate } from '../../../../attestation/x509/certificate.ts';
import {
  mintRoot,
  mintSigner,
  signText,
  tdxTcbInfo,
  without,
  type StatementSigner,
} from '../../../support/intelStatements.ts';
import { refusalOf, refusalOfAsync } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';

const SIGNATURE = 'ab'.repeat(64);
const codeOf = (body: string | Uint8Array) =>
  refusalOf(() => parseSignedJson(typeof body === 'string' ? utf8(body) : body, 'tcbInfo'))?.code;
const signedText = (body: string) => fromUtf8(parseSignedJson(utf8(body), 'tcbInfo').signed);

describe('parseSignedJson', () => {
  test('takes the inner object as it is written', () => {
    const object = parseSignedJson(utf8(`{"tcbInfo":{"a":1},"signature":"${SIGNATURE}"}`), 'tcbInfo');
    expect(fromUtf8(object.signed)).toBe('{"a":1}');
    expect(object.value).toEqual({ a: 1 });
    expect(object.signature).toEqual(new Uint8Array(64).fill(0xab));
  });

  test.each<readonly [string, string, string]>([
    ['the signature first', `{"signature":"${SIGNATURE}","tcbInfo":{"a":1}}`, '{"a":1}'],
    ['space around everything', ` { "tcbInfo" : {"a":1} ,\n"signature"\t:\r"${SIGNATURE}" } `, '{"a":1}'],
    ['space within', `{"tcbInfo":{ "a" : 1 },"signature":"${SIGNATURE}"}`, '{ "a" : 1 }'],
    [
      'braces and quotes in strings',
      `{"tcbInfo":{"a":"}\\"{]"},"signature":"${SIGNATURE}"}`,
      '{"a":"}\\"{]"}',
    ],
    [
      'a string that ends in backslashes',
      `{"tcbInfo":{"a":"\\\\"},"signature":"${SIGNATURE}"}`,
      '{"a":"\\\\"}',
    ],
    [
      'a signature and another TCB info inside',
      `{"tcbInfo":{"tcbInfo":{},"signature":"x"},"signature":"${SIGNATURE}"}`,
      '{"tcbInfo":{},"signature":"x"}',
    ],
    ['letters of several bytes', `{"tcbInfo":{"ä":"€"},"signature":"${SIGNATURE}"}`, '{"ä":"€"}'],
    ['an upper-case signature', `{"tcbInfo":{},"signature":"${SIGNATURE.toUpperCase()}"}`, '{}'],
  ])('finds it with %s', (_name, body, inner) => {
    expect(signedText(body)).toBe(inner);
  });

  test.each<readonly [string, string | Uint8Array]>([
    ['no JSON', 'tcbInfo'],
    ['an empty body', ''],
    ['an array', `[{"tcbInfo":{},"signature":"${SIGNATURE}"}]`],
    [
      'a byte order mark',
      concat(Uint8Array.of(0xef, 0xbb, 0xbf), utf8(`{"tcbInfo":{},"signature":"${SIGNATURE}"}`)),
    ],
    [
      'no UTF-8',
      concat(utf8('{"tcbInfo":{"a":"'), Uint8Array.of(0xff), utf8(`"},"signature":"${SIGNATURE}"}`)),
    ],
    ['bytes after the end', `{"tcbInfo":{},"signature":"${SIGNATURE}"}}`],
    ['no signature', '{"tcbInfo":{}}'],
    ['the signature inside only', `{"tcbInfo":{"signature":"${SIGNATURE}"}}`],
    ['no TCB info', `{"signature":"${SIGNATURE}"}`],
    ['another member', `{"tcbInfo":{},"signature":"${SIGNATURE}","note":1}`],
    ['another member first', `{"note":{"tcbInfo":{}},"tcbInfo":{},"signature":"${SIGNATURE}"}`],
    ['TCB info twice', `{"tcbInfo":{"a":1},"tcbInfo":{"a":2},"signature":"${SIGNATURE}"}`],
    ['TCB info twice, once escaped', `{"tcbInfo":{},"tcb\\u0049nfo":{},"signature":"${SIGNATURE}"}`],
    ['TCB info under an escaped name', `{"tcb\\u0049nfo":{},"signature":"${SIGNATURE}"}`],
    ['a name twice inside', `{"tcbInfo":{"a":1,"a":2},"signature":"${SIGNATURE}"}`],
    ['an identity instead', `{"enclaveIdentity":{},"signature":"${SIGNATURE}"}`],
    ['TCB info that is a string', `{"tcbInfo":"{}","signature":"${SIGNATURE}"}`],
    ['TCB info that is an array', `{"tcbInfo":[],"signature":"${SIGNATURE}"}`],
    ['a signature of 63 bytes', `{"tcbInfo":{},"signature":"${SIGNATURE.slice(2)}"}`],
    ['a signature that is no hex', `{"tcbInfo":{},"signature":"${SIGNATURE.slice(1)}g"}`],
    ['a signature with an escape', `{"tcbInfo":{},"signature":"\\u0061${SIGNATURE.slice(1)}"}`],
    ['a signature that is a number', '{"tcbInfo":{},"signature":1}'],
    ['a signature that is null', '{"tcbInfo":{},"signature":null}'],
    [
      'nesting without end',
      `{"tcbInfo":{"a":${'['.repeat(5000)}${']'.repeat(5000)}},"signature":"${SIGNATURE}"}`,
    ],
    ['more than 128 KiB', `{"tcbInfo":{"a":"${'x'.repeat(128 * 1024)}"},"signature":"${SIGNATURE}"}`],
  ])('refuses %s', (_name, body) => {
    expect(codeOf(body)).toBe('MALFORMED');
  });

  test('finds any object byte by byte, in either order and with any space', () => {
    const space = fc.stringMatching(/^[ \t\r\n]{0,3}$/);
    const order = fc.boolean();
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })),
        space,
        order,
        (drawn, gap, first) => {
          const inner = without(drawn, '__proto__');
          const text = JSON.stringify(inner, undefined, gap);
          const members = [`${gap}"tcbInfo"${gap}:${gap}${text}${gap}`, `${gap}"signature":"${SIGNATURE}"`];
          const body = `{${(first ? members : members.reverse()).join(',')}}`;
          const refusal = refusalOf(() => {
            expect(signedText(body)).toBe(text);
          });
          // Names that the strict parser refuses are drawn too, such as `__proto__` further in.
          expect([undefined, 'MALFORMED']).toContain(refusal?.code);
        },
      ),
      propertyRuns(500),
    );
  });
});

describe.each([
  ['node', nodeCrypto],
  ['portable', portableCrypto],
])('verifySignedJson with %s cryptography', (_name, crypto) => {
  const text = JSON.stringify(tdxTcbInfo());
  let signer: StatementSigner;
  let spki: Uint8Array;
  let signature: string;

  beforeAll(async () => {
    signer = await mintSigner(await mintRoot());
    spki = parseCertificate(signer.issuerChain[0]!).spki;
    signature = await signText(signer, text);
  });

  const code = async (inner: string, hex = signature) => {
    const object = parseSignedJson(utf8(`{"tcbInfo":${inner},"signature":"${hex}"}`), 'tcbInfo');
    return (await refusalOfAsync(() => verifySignedJson(object, spki, crypto, 'TCB info')))?.code;
  };

  test('accepts what was signed', async () => {
    expect(await code(text)).toBeUndefined();
  });

  test('refuses another status', async () => {
    expect(await code(text.replace('OutOfDate', 'UpToDate'))).toBe('COLLATERAL_SIGNATURE_INVALID');
  });

  test('refuses the same object in another spelling', async () => {
    expect(await code(text.replace('{"id"', '{ "id"'))).toBe('COLLATERAL_SIGNATURE_INVALID');
    expect(await code(text.replace('"TDX"', '"TD\\u0058"'))).toBe('COLLATERAL_SIGNATURE_INVALID');
  });

  test('refuses a signature of zeros and one by another key', async () => {
    expect(await code(text, '00'.repeat(64))).toBe('COLLATERAL_SIGNATURE_INVALID');
    const other = await mintSigner(await mintRoot());
    expect(await code(text, await signText(other, text))).toBe('COLLATERAL_SIGNATURE_INVALID');
  });
});
