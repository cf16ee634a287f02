import { generateKeyPairSync, sign } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import { type AciKeyset, aciKeysetDigest, parseAciKeyset } from '../../../attestation/aci/keyset.ts';
import {
  aciBodyHash,
  aciSigningInput,
  type AciReceipt,
  parseAciReceipt,
  verifyAciReceipt,
} from '../../../attestation/aci/receipt.ts';
import { bindAciReport, parseAciReport } from '../../../attestation/aci/report.ts';
import { aciReportData, aciStatement } from '../../../attestation/aci/statement.ts';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { propertyRuns, PROPERTY_TIMEOUT } from '../../support/runs.ts';

const NOW = 1_750_000_000_000;
const NONCE = '0a'.repeat(32);
const HASH = `sha256:${'1b'.repeat(32)}`;
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const PUBLIC = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex');

const KEYSET: AciKeyset = {
  subject: null,
  not_after: NOW / 1000 + 60,
  receipt_signing_keys: [{ key_id: 'a', algo: 'ed25519', public_key: PUBLIC }],
  e2ee_public_keys: [],
  tls_public_keys: [{ spki_sha256: '2c'.repeat(32), domain: 'api.example.com' }],
};
const DIGEST = aciKeysetDigest(KEYSET, nodeCrypto);

function receipt(changes: Partial<AciReceipt> = {}): AciReceipt {
  const signed = {
    api_version: 'aci/1' as const,
    receipt_id: 'r',
    chat_id: null,
    model: 'm',
    workload_keyset_digest: DIGEST,
    endpoint: '/v1/completions',
    method: 'POST',
    served_at: 1_750_000_000,
    event_log: [
      { type: 'request.received', body_hash: HASH },
      { type: 'response.returned', body_hash: HASH },
    ],
    key_id: 'a',
    ...changes,
  };
  const { signature = toHex(sign(null, aciSigningInput(signed), privateKey)), ...rest } = {
    signature: undefined,
    ...signed,
  };
  return { ...rest, signature };
}

function report(changes: object = {}, nonce: string | null = NONCE): Uint8Array {
  const attestation = {
    tee_type: 'sev_snp',
    workload_keyset: KEYSET,
    report_data: toHex(aciReportData(aciStatement(DIGEST, nonce), nodeCrypto).subarray(0, 32)),
    source_provenance: { repo_url: null, repo_commit: null, image_digest: null, image_provenance: null },
    evidence: { report_b64: 'AAA=', certificates_b64: ['AQ=='] },
    ...changes,
  };
  const service_capabilities = { supported_e2ee_versions: [], serving: 'direct', more: 1 };
  return utf8(
    JSON.stringify({
      api_version: 'aci/1',
      workload_keyset_digest: DIGEST,
      attestation,
      service_capabilities,
    }),
  );
}

const code = (attempt: () => unknown): string => {
  try {
    attempt();
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
};
const bind = (bytes: Uint8Array, nonce: string | null = NONCE, now = NOW) =>
  bindAciReport(parseAciReport(bytes), nonce, now, nodeCrypto);
const bytesOf = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

describe('a report', () => {
  test('binds its keyset to the nonce, whatever the order and layout of its JSON', () => {
    const pretty = utf8(JSON.stringify(JSON.parse(new TextDecoder().decode(report())), undefined, 2));
    const { keyset, cpu, reportData } = bind(pretty);
    expect(keyset).toEqual(KEYSET);
    expect(cpu).toEqual({ platform: 'snp', report: new Uint8Array(2), certificates: [Uint8Array.of(1)] });
    expect(reportData.length).toBe(64);
    const tdx = bind(report({ tee_type: 'tdx', evidence: { quote: '0102', event_log: 'x' } }));
    expect(tdx.cpu).toEqual({ platform: 'tdx', report: Uint8Array.of(1, 2) });
  });

  test.each([
    ['for another nonce', report({}, '0b'.repeat(32)), 'NONCE_MISMATCH'],
    ['for no nonce, where one was sent', report({}, null), 'NONCE_MISMATCH'],
    [
      'with a key put into its keyset',
      report({ workload_keyset: { ...KEYSET, subject: 'x' } }),
      'KEYSET_MISMATCH',
    ],
    ['of another kind of TEE', report({ tee_type: 'nitro' }), 'PLATFORM_NOT_ALLOWED'],
    ['without its evidence', report({ evidence: {} }), 'MALFORMED'],
    ['with report data of 64 bytes', report({ report_data: '00'.repeat(64) }), 'MALFORMED'],
    ['that is no JSON', utf8('{'), 'MALFORMED'],
    ['with a name twice', utf8('{"api_version":"aci/1","api_version":"aci/1"}'), 'MALFORMED'],
  ])('%s is refused', (_name, bytes, expected) => {
    expect(code(() => bind(bytes))).toBe(expected);
  });

  test('after the end of its keyset, and by a nonce of another form, is refused', () => {
    expect(code(() => bind(report(), NONCE, NOW + 60_000))).toBe('KEYSET_EXPIRED');
    expect(code(() => bind(report(), NONCE.toUpperCase()))).toBe('NONCE_INVALID');
    expect(code(() => aciStatement('sha256:x","nonce":"', null))).toBe('MALFORMED');
  });

  test.each([
    ['two keys of one id', [0, 0]],
    ['one key in two roles', [0]],
  ])('with %s in its keyset is refused', (_name, places) => {
    const [key] = KEYSET.receipt_signing_keys;
    const twice = {
      ...KEYSET,
      receipt_signing_keys: places.map(() => key),
      e2ee_public_keys: places.length > 1 ? [] : [key],
    };
    expect(code(() => parseAciKeyset(twice))).toBe('MALFORMED');
  });
});

describe('a receipt', () => {
  const verify = (value: AciReceipt, keyset = KEYSET) => verifyAciReceipt(value, keyset, nodeCrypto);

  test('verifies under the key that its keyset names, also with events of others', async () => {
    const event_log = [...receipt().event_log, { type: 'vouchsafe.receipt', log_index: 7 }];
    const parsed = parseAciReceipt(bytesOf(receipt({ event_log })));
    await verify(parsed);
    expect(aciBodyHash(parsed, 'response.returned')).toBe(HASH);
    expect(aciBodyHash(parsed, 'request.forwarded')).toBeUndefined();
  });

  test.each([
    ['altered', { ...receipt(), model: 'other' }, KEYSET, 'SIGNATURE_INVALID'],
    ['of another keyset', receipt(), { ...KEYSET, not_after: 1 }, 'KEYSET_MISMATCH'],
    ['by a key that the keyset lacks', receipt({ key_id: 'b' }), KEYSET, 'UNTRUSTED_KEY'],
  ])('%s is refused', async (_name, value, keyset, expected) => {
    await expect(verify(value, keyset)).rejects.toMatchObject({ code: expected });
  });

  test('by a key of another algorithm is refused', async () => {
    const keyset = {
      ...KEYSET,
      receipt_signing_keys: [{ key_id: 'a', algo: 'secp256k1', public_key: PUBLIC }],
    };
    const value = receipt({ workload_keyset_digest: aciKeysetDigest(keyset, nodeCrypto) });
    await expect(verify(value, keyset)).rejects.toMatchObject({ code: 'ALGORITHM_MISMATCH' });
  });

  test.each([
    ['an unknown member', { ...receipt(), note: 1 }],
    ['another version', { ...receipt(), api_version: 'aci/2' }],
    ['another first event', { ...receipt(), event_log: receipt().event_log.toReversed() }],
    ['no event', { ...receipt(), event_log: [] }],
    ['a short signature', { ...receipt(), signature: '00' }],
    ['a fraction of a second', { ...receipt(), served_at: 1.5 }],
    ['more bytes than it may have', { ...receipt(), endpoint: 'x'.repeat(70_000) }],
  ])('with %s is refused', (_name, value) => {
    expect(code(() => parseAciReceipt(bytesOf(value)))).toBe('MALFORMED');
  });

  test('with two hashes of one body is refused', () => {
    const twice = receipt({
      event_log: [...receipt().event_log, { type: 'response.returned', body_hash: HASH }],
    });
    expect(code(() => aciBodyHash(twice, 'response.returned'))).toBe('MALFORMED');
  });
});

test(
  'any bytes are parsed or refused by a code, and report data of ACI always end in 32 zero bytes',
  () => {
    const valid = [report(), bytesOf(receipt())];
    const damaged = fc
      .tuple(fc.constantFrom(...valid), fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { maxLength: 6 }))
      .map(([bytes, edits]) => {
        const copy = Uint8Array.from(bytes);
        for (const [place, value] of edits) copy[place % copy.length] = value;
        return copy;
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), damaged), (bytes) => {
        for (const read of [() => bind(bytes), () => parseAciReceipt(bytes)]) code(read);
        const statement = aciReportData(bytes, nodeCrypto);
        expect([statement.length, toHex(statement.subarray(32))]).toEqual([64, '00'.repeat(32)]);
      }),
      propertyRuns(200),
    );
  },
  PROPERTY_TIMEOUT,
);
