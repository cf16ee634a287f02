import { constants, createPublicKey, verify, type KeyObject } from 'node:crypto';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { CryptoProvider, SignatureScheme } from '../../attestation/crypto/provider.ts';

interface SignatureCheck {
  readonly scheme: SignatureScheme;
  readonly spki: Uint8Array;
  readonly key: KeyObject;
  readonly data: Uint8Array;
  readonly signature: Uint8Array;
}

/**
 * What a verification costs at least: its distinct signature checks, made by node:crypto alone. A check that our verifier makes twice counts once.
 */
export async function bareSignatures(run: (crypto: CryptoProvider) => Promise<unknown>): Promise<{
  readonly count: number;
  readonly verifyAll: () => void;
  readonly readKeysAndVerifyAll: () => void;
}> {
  const checks = new Map<string, SignatureCheck>();
  await run({
    ...nodeCrypto,
    forOneVerification: undefined,
    verify(scheme, spki, data, signature) {
      const id = toHex(nodeCrypto.hash('sha256', Buffer.concat([spki, data, signature])));
      checks.set(id, { scheme, spki, key: readKey(spki), data, signature });
      return nodeCrypto.verify(scheme, spki, data, signature);
    },
  });
  const all = [...checks.values()];
  const verifyAll = (keyed: readonly SignatureCheck[]) => {
    for (const check of keyed) if (!verifyOne(check)) throw new Error('a signature does not verify');
  };
  return {
    count: all.length,
    verifyAll() {
      verifyAll(all);
    },
    // Each distinct key is read once.
    readKeysAndVerifyAll() {
      const keys = new Map<string, KeyObject>();
      verifyAll(all.map((check) => ({ ...check, key: keyOf(check.spki, keys) })));
    },
  };
}

function keyOf(spki: Uint8Array, keys: Map<string, KeyObject>): KeyObject {
  const id = toHex(spki);
  const key = keys.get(id) ?? readKey(spki);
  keys.set(id, key);
  return key;
}

function readKey(spki: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
}

function verifyOne({ scheme, key, data, signature }: SignatureCheck): boolean {
  switch (scheme.kind) {
    case 'ecdsa':
      return verify(scheme.hash, data, { key, dsaEncoding: 'ieee-p1363' }, signature);
    case 'ed25519':
      return verify(null, data, key, signature);
    case 'rsa-pkcs1':
      return verify(scheme.hash, data, key, signature);
    case 'rsa-pss': {
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      return verify(scheme.hash, data, { key, padding, saltLength: scheme.saltLength }, signature);
    }
  }
}
