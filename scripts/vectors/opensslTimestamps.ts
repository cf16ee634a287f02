import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Anchor } from '../../attestation/anchors.ts';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { verifyTimestamp } from '../../attestation/time/timestamp.ts';
import { encodeTimestampRequest, parseTimestampResponse } from '../../attestation/time/timestampExchange.ts';
import { parsePemChain } from '../../attestation/x509/certificate.ts';
import { expectRefused, PROVIDERS, type Case } from './family.ts';
import { timestampAnchor } from './timestamps.ts';

const DATA = utf8('vectors.example/log\n7\nroot\n');
const NONCE = Uint8Array.of(0x41, 2, 3, 4, 5, 6, 7, 8);

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
[ sha256 ]
serial = serial
signer_cert = signer.pem
certs = ca.pem
signer_key = signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
clock_precision_digits = 3
ess_cert_id_alg = sha256
[ sha1 ]
serial = serial
signer_cert = signer.pem
certs = ca.pem
signer_key = signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha1
`;

const KEYS = {
  'RSA 2048': ['rsa:2048'],
  'P-256': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'P-384': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
} as const;
type Key = keyof typeof KEYS;

/** Timestamps of `openssl ts`, which nobody here wrote, for requests of ours and of its own. */
export function opensslTimestampCases(): readonly Case[] {
  if (spawnSync('openssl', ['version']).status !== 0) return [{ name: 'all', skip: 'no openssl' }];
  const keys = Object.keys(KEYS) as Key[];
  return [
    ...keys.map((key): Case => ({ name: `our request, ${key}`, check: () => checkOurRequest(key) })),
    ...['sha256', 'sha384', 'sha512'].map((hash): Case => ({
      name: `its own request, ${hash}`,
      check: () => checkItsRequest(hash),
    })),
    { name: 'a certificate named by SHA-1', check: refuseSha1 },
    { name: 'an altered token', check: refuseAltered },
  ];
}

/** A test authority in a folder that is removed afterwards. */
class Authority {
  readonly #folder = mkdtempSync(join(tmpdir(), 'vouchsafe-vectors-'));
  readonly anchors: readonly Anchor[];

  private constructor(key: Key) {
    this.#write('openssl.cnf', CONFIG);
    this.#write('serial', '01');
    this.#write('data', DATA);
    this.#run(
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
      '/CN=Vectors root',
      '-days',
      '2',
      '-config',
      'openssl.cnf',
      '-extensions',
      'ca',
    );
    this.#run(
      'req',
      '-new',
      '-newkey',
      ...KEYS[key],
      '-nodes',
      '-keyout',
      'signer.key',
      '-out',
      'signer.csr',
      '-subj',
      '/CN=Vectors signer',
      '-config',
      'openssl.cnf',
    );
    this.#run(
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
      '2',
      '-extfile',
      'openssl.cnf',
      '-extensions',
      'signer',
    );
    this.anchors = parsePemChain(this.#read('ca.pem').toString()).map(timestampAnchor);
  }

  static async with(key: Key, use: (authority: Authority) => Promise<void>): Promise<void> {
    const authority = new Authority(key);
    try {
      await use(authority);
    } finally {
      rmSync(authority.#folder, { recursive: true, force: true });
    }
  }

  /** The token that answers a request. */
  answer(query: Uint8Array, section = 'sha256'): Uint8Array {
    this.#write('query.tsq', query);
    this.#run(
      'ts',
      '-reply',
      '-config',
      'openssl.cnf',
      '-section',
      section,
      '-queryfile',
      'query.tsq',
      '-out',
      'reply.tsr',
    );
    return parseTimestampResponse(new Uint8Array(this.#read('reply.tsr')));
  }

  /** A request that openssl makes. */
  query(hash: string): Uint8Array {
    this.#run(
      'ts',
      '-query',
      '-data',
      'data',
      `-${hash}`,
      '-cert',
      '-config',
      'openssl.cnf',
      '-out',
      'own.tsq',
    );
    return new Uint8Array(this.#read('own.tsq'));
  }

  #run(...args: readonly string[]): void {
    execFileSync('openssl', args, { cwd: this.#folder, stdio: 'ignore' });
  }

  #read(name: string): Buffer {
    return readFileSync(join(this.#folder, name));
  }

  #write(name: string, content: Uint8Array | string): void {
    writeFileSync(join(this.#folder, name), content);
  }
}

function ourQuery(): Uint8Array {
  return encodeTimestampRequest({ digest: nodeCrypto.hash('sha256', DATA), nonce: NONCE, certReq: true });
}

function checkOurRequest(key: Key): Promise<void> {
  return Authority.with(key, async (authority) => {
    const token = authority.answer(ourQuery());
    const { anchors } = authority;
    for (const crypto of PROVIDERS) {
      await verifyTimestamp(token, { data: DATA, anchors, crypto, nonce: NONCE });
      const others = { data: utf8('other'), anchors, crypto };
      await expectRefused(() => verifyTimestamp(token, others), 'a token over other bytes');
      const unknown = { data: DATA, anchors: [], crypto };
      await expectRefused(() => verifyTimestamp(token, unknown), 'a token of an unknown authority');
    }
  });
}

function checkItsRequest(hash: string): Promise<void> {
  return Authority.with('P-256', async (authority) => {
    const token = authority.answer(authority.query(hash));
    await verifyTimestamp(token, { data: DATA, anchors: authority.anchors, crypto: nodeCrypto });
  });
}

/** RFC 5816: the certificate is named by a hash that holds. */
function refuseSha1(): Promise<void> {
  return Authority.with('P-256', async (authority) => {
    const token = authority.answer(ourQuery(), 'sha1');
    const { anchors } = authority;
    const verify = () => verifyTimestamp(token, { data: DATA, anchors, crypto: nodeCrypto });
    await expectRefused(verify, 'a certificate named by SHA-1');
  });
}

function refuseAltered(): Promise<void> {
  return Authority.with('P-256', async (authority) => {
    const token = authority.answer(ourQuery());
    const { anchors } = authority;
    // The last bytes are the signature's.
    for (const at of [token.length - 1, token.length - 40]) {
      const bad = Uint8Array.from(token);
      bad[at] = (bad[at] ?? 0) ^ 1;
      const verify = () => verifyTimestamp(bad, { data: DATA, anchors, crypto: nodeCrypto });
      await expectRefused(verify, 'an altered token');
    }
  });
}
