import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Anchor } from '../../../attestation/anchors.ts';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { parseTimestamp, verifyTimestamp } from '../../../attestation/time/timestamp.ts';
import {
  encodeTimestampRequest,
  parseTimestampResponse,
} from '../../../attestation/time/timestampExchange.ts';
import { parsePemChain } from '../../../attestation/x509/certificate.ts';
import { spkiSha256 } from '../../../attestation/x509/chain.ts';
import { refusalOfAsync } from '../../support/refusal.ts';
import { timestampAuthority } from '../../support/timestampAuthority.ts';

// OpenSSL's timestamp authority and its verifier, both ways.

const DATA = utf8('example.com/vouchsafe/00\n7\nroot\n');
const digest = nodeCrypto.hash('sha256', DATA);

const CONFIG = `
[ req ]
distinguished_name = dn
[ dn ]
[ ca ]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
[ signer ]
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[ tsa ]
default_tsa = tsa_config
[ tsa_config ]
serial = serial
signer_cert = signer.pem
certs = ca.pem
signer_key = signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500, microsecs:100
clock_precision_digits = 3
ordering = yes
tsa_name = yes
ess_cert_id_chain = yes
ess_cert_id_alg = sha256
[ tsa_sha1 ]
default_tsa = tsa_sha1_config
[ tsa_sha1_config ]
serial = serial
signer_cert = signer.pem
certs = ca.pem
signer_key = signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha1
`;

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
let folder = '';
let anchors: readonly Anchor[] = [];

function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] }).toString();
}

function makeAuthority(keyType: readonly string[]): void {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=Test TSA root',
    '-days',
    '30',
    '-config',
    'openssl.cnf',
    '-extensions',
    'ca',
  );
  openssl(
    'req',
    '-new',
    ...keyType,
    '-nodes',
    '-keyout',
    'signer.key',
    '-out',
    'signer.csr',
    '-subj',
    '/CN=Test TSA',
    '-config',
    'openssl.cnf',
  );
  openssl(
    'x509',
    '-req',
    '-in',
    'signer.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-set_serial',
    '3',
    '-out',
    'signer.pem',
    '-days',
    '20',
    '-extfile',
    'openssl.cnf',
    '-extensions',
    'signer',
  );
  const [ca] = parsePemChain(read('ca.pem').toString());
  if (!ca) throw new Error('no certificate');
  anchors = [{ role: 'timestamp', name: 'test', spkiSha256: spkiSha256(ca, nodeCrypto), simulated: false }];
}

function read(name: string): Buffer {
  return readFileSync(join(folder, name));
}

function write(name: string, bytes: Uint8Array | string): void {
  writeFileSync(join(folder, name), bytes);
}

function replyTo(query: Uint8Array, section = 'tsa'): Uint8Array {
  write('query.tsq', query);
  openssl(
    'ts',
    '-reply',
    '-config',
    'openssl.cnf',
    '-section',
    `${section}_config`,
    '-queryfile',
    'query.tsq',
    '-out',
    'reply.tsr',
  );
  return new Uint8Array(read('reply.tsr'));
}

if (!hasOpenssl) test.skip('skipped: no openssl', () => undefined);
(hasOpenssl ? describe : describe.skip)('tokens of openssl ts', () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'vouchsafe-tsa-'));
    write('openssl.cnf', CONFIG);
    write('serial', '01');
    write('data', DATA);
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    ['RSA', ['-newkey', 'rsa:2048']],
    ['EC P-384', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384']],
  ])('of a %s key verify here', async (_, keyType) => {
    makeAuthority(keyType);
    const nonce = Uint8Array.of(0xfe, 1, 2, 3, 4, 5, 6, 7);
    const before = Date.now();
    const token = parseTimestampResponse(replyTo(encodeTimestampRequest({ digest, nonce, certReq: true })));
    const verified = await verifyTimestamp(token, { data: DATA, nonce, anchors, crypto: nodeCrypto });
    expect(verified.earliest).toBeLessThanOrEqual(before);
    expect(verified.latest).toBeGreaterThanOrEqual(before);
    expect(verified.info).toMatchObject({ policy: '1.2.3.4.1', accuracy: 1501, ordering: true });
    const other = refusalOfAsync(() =>
      verifyTimestamp(token, { data: utf8('other'), anchors, crypto: nodeCrypto }),
    );
    expect((await other)?.code).toBe('TIMESTAMP_MISMATCH');
  });

  test('answer the queries that it makes itself', async () => {
    openssl('ts', '-query', '-data', 'data', '-sha512', '-cert', '-config', 'openssl.cnf', '-out', 'own.tsq');
    const token = parseTimestampResponse(replyTo(new Uint8Array(read('own.tsq'))));
    expect(parseTimestamp(token).info.imprint.hash).toBe('sha512');
    await verifyTimestamp(token, { data: DATA, anchors, crypto: nodeCrypto });
  });

  test('that name their certificate by SHA-1 are refused', async () => {
    const query = encodeTimestampRequest({ digest, nonce: undefined, certReq: true });
    const token = parseTimestampResponse(replyTo(query, 'tsa_sha1'));
    const refusal = await refusalOfAsync(() =>
      verifyTimestamp(token, { data: DATA, anchors, crypto: nodeCrypto }),
    );
    expect(refusal?.code).toBe('UNSUPPORTED');
  });

  test('our minted tokens verify with openssl ts', () => {
    const authority = timestampAuthority();
    const pem = (der: Uint8Array) =>
      `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64').replaceAll(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
    write('minted.tst', authority.token(DATA, Date.now()));
    write('root.pem', pem(authority.certificates[2]));
    const said = openssl(
      'ts',
      '-verify',
      '-data',
      'data',
      '-in',
      'minted.tst',
      '-token_in',
      '-CAfile',
      'root.pem',
    );
    expect(said).toContain('OK');
  });
});
