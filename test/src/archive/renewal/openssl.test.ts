import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { verifyRenewals } from '../../../../attestation/archive/verifyRenewals.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { parsePemChain } from '../../../../attestation/x509/certificate.ts';
import { spkiSha256 } from '../../../../attestation/x509/chain.ts';
import { openRenewals } from '../../../../src/export/renewals.ts';
import { openInstances } from '../../../../src/archive/renewal/instances.ts';
import { renewArchive } from '../../../../src/archive/renewal/renew.ts';

// OpenSSL as the timestamp authority of a renewal, and as its verifier: nothing of ours is needed to check one by hand.

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
signer_digest = sha512
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
`;
const INSTANCE = '00112233445546778899aabbccddeeff';

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
let folder: string;
let data: string;
let server: Server;
let url: string;

function openssl(line: string): string {
  return execFileSync('openssl', line.split(' '), {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  }).toString();
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-openssl-'));
  data = join(folder, 'data');
  const instance = join(data, 'instances', INSTANCE);
  mkdirSync(join(instance, 'tile/entries'), { recursive: true });
  writeFileSync(join(instance, 'origin'), `localhost/vouchsafe/${INSTANCE}\n`);
  writeFileSync(join(instance, 'created'), '1\n');
  writeFileSync(join(instance, 'tile/entries/000'), 'entries');
  writeFileSync(join(folder, 'openssl.cnf'), CONFIG);
  writeFileSync(join(folder, 'serial'), '01\n');
  if (!hasOpenssl) return;
  openssl(
    'req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=Root -days 30 -config openssl.cnf -extensions ca',
  );
  openssl(
    'req -new -newkey rsa:2048 -nodes -keyout signer.key -out signer.csr -subj /CN=TSA -config openssl.cnf',
  );
  openssl(
    'x509 -req -in signer.csr -CA ca.pem -CAkey ca.key -set_serial 3 -out signer.pem -days 20 -extfile openssl.cnf -extensions signer',
  );
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      writeFileSync(join(folder, 'query.tsq'), Buffer.concat(chunks));
      openssl('ts -reply -config openssl.cnf -section tsa_config -queryfile query.tsq -out reply.tsr');
      const reply = readFileSync(join(folder, 'reply.tsr'));
      response.writeHead(200, { 'content-type': 'application/timestamp-reply' }).end(reply);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterAll(async () => {
  if (hasOpenssl) await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

if (!hasOpenssl) test.skip('a renewal that OpenSSL timestamps (skipped: no openssl)', () => undefined);

(hasOpenssl ? describe : describe.skip)('a renewal that OpenSSL timestamps', () => {
  test('is verified by us and by OpenSSL', async () => {
    await renewArchive({
      data,
      hash: 'sha512',
      timestampsOnly: false,
      authorities: [url],
      anchors: undefined,
      now: Date.now,
      signal: new AbortController().signal,
      onFile: () => undefined,
    });
    const [ca] = parsePemChain(readFileSync(join(folder, 'ca.pem'), 'utf8'));
    const anchor = {
      role: 'timestamp',
      name: 'Root',
      spkiSha256: spkiSha256(ca!, nodeCrypto),
      simulated: false,
    } as const;
    const instances = (await openInstances(data)).map(({ files }) => files);
    const context = { anchors: [anchor], crypto: nodeCrypto, now: Date.now() + 5000 };
    const audit = await verifyRenewals(openRenewals(data), instances, context);
    expect(audit.problems).toEqual([]);
    expect(audit.renewals.map(({ standing }) => standing)).toEqual([true]);
    const renewals = join(data, 'renewals');
    openssl(
      `ts -verify -in ${renewals}/0.0.tsr -data ${renewals}/0.cbor -CAfile ca.pem -untrusted signer.pem`,
    );
  });
});
