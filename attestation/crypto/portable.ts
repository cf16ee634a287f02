import { hmac } from '@noble/hashes/hmac.js';
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import type { CryptoProvider, HashName, SignatureScheme } from './provider.ts';

const HASHES = { sha1, sha256, sha384, sha512 } as const;
const WEB_HASH: Record<HashName, string> = {
  sha1: 'SHA-1',
  sha256: 'SHA-256',
  sha384: 'SHA-384',
  sha512: 'SHA-512',
};

interface WebAlgorithms {
  readonly key: RsaHashedImportParams | EcKeyImportParams | Algorithm;
  readonly verify: AlgorithmIdentifier | RsaPssParams | EcdsaParams;
}

function webAlgorithms(scheme: SignatureScheme): WebAlgorithms {
  switch (scheme.kind) {
    case 'ecdsa':
      return {
        key: { name: 'ECDSA', namedCurve: scheme.curve },
        verify: { name: 'ECDSA', hash: WEB_HASH[scheme.hash] },
      };
    case 'ed25519':
      return { key: { name: 'Ed25519' }, verify: { name: 'Ed25519' } };
    case 'rsa-pss':
      return {
        key: { name: 'RSA-PSS', hash: WEB_HASH[scheme.hash] },
        verify: { name: 'RSA-PSS', saltLength: scheme.saltLength },
      };
    case 'rsa-pkcs1':
      return {
        key: { name: 'RSASSA-PKCS1-v1_5', hash: WEB_HASH[scheme.hash] },
        verify: { name: 'RSASSA-PKCS1-v1_5' },
      };
  }
}

/** WebCrypto may not see a view of a `SharedArrayBuffer`; our inputs never are one. */
function source(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}

/** Cryptography of any runtime with WebCrypto: browsers, workers, Node, Deno. */
export const portableCrypto: CryptoProvider = {
  hash: (name, bytes) => HASHES[name](bytes),
  hmacSha256: (key, bytes) => hmac(sha256, key, bytes),
  async verify(scheme, spki, data, signature) {
    const algorithms = webAlgorithms(scheme);
    try {
      const key = await crypto.subtle.importKey('spki', source(spki), algorithms.key, false, ['verify']);
      return await crypto.subtle.verify(algorithms.verify, key, source(signature), source(data));
    } catch {
      return false;
    }
  },
};
