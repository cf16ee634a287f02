import { ByteReader } from '../../bytes/reader.ts';
import type { HashName } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { decodeUnsigned, readElements, readOnly, TAG } from '../../x509/der.ts';
import { ALG, hexId, readHash, readSized } from './algorithms.ts';

/** RSA of 4096 bits. */
const MAX_RSA_BYTES = 512;
/** P-384. */
const MAX_SCALAR_BYTES = 48;

/** A signature as parsed, whatever form it came in. */
export type TpmSignature =
  | { readonly scheme: 'rsassa' | 'rsapss'; readonly hash: HashName; readonly signature: Uint8Array }
  /** `r` and `s` big endian, without leading zeros. */
  | { readonly scheme: 'ecdsa'; readonly hash: HashName; readonly r: Uint8Array; readonly s: Uint8Array };

/** Parses a TPMT_SIGNATURE (part 2, section 11.3.4), with nothing after it. */
export function parseTpmtSignature(bytes: Uint8Array): TpmSignature {
  const reader = new ByteReader(bytes, 'TPMT_SIGNATURE');
  const signature = readSignature(reader, reader.u16be());
  reader.end();
  return signature;
}

function readSignature(reader: ByteReader, algorithm: number): TpmSignature {
  switch (algorithm) {
    case ALG.rsassa:
    case ALG.rsapss: {
      const hash = readHash(reader, 'TPMT_SIGNATURE');
      const signature = readSized(reader, MAX_RSA_BYTES, 'RSA signature');
      return { scheme: algorithm === ALG.rsassa ? 'rsassa' : 'rsapss', hash, signature };
    }
    case ALG.ecdsa: {
      const hash = readHash(reader, 'TPMT_SIGNATURE');
      const r = scalar(readSized(reader, MAX_SCALAR_BYTES, 'R'), 'R');
      const s = scalar(readSized(reader, MAX_SCALAR_BYTES, 'S'), 'S');
      return { scheme: 'ecdsa', hash, r, s };
    }
    default:
      throw new Refusal('UNSUPPORTED', `TPMT_SIGNATURE is of algorithm ${hexId(algorithm)}`);
  }
}

/** An ECDSA signature in DER (RFC 3279 section 2.2.3), as tools that wrap a TPM write it. */
export function derEcdsaSignature(der: Uint8Array, hash: HashName): TpmSignature {
  const what = 'ECDSA signature';
  const [r, s, extra] = readElements(readOnly(der, TAG.sequence, what).content, what);
  if (!r || !s || extra) throw new Refusal('MALFORMED', 'ECDSA signature is not two INTEGERs');
  return {
    scheme: 'ecdsa',
    hash,
    r: scalar(decodeUnsigned(r, `R of the ${what}`), 'R'),
    s: scalar(decodeUnsigned(s, `S of the ${what}`), 'S'),
  };
}

function scalar(bytes: Uint8Array, name: string): Uint8Array {
  const start = bytes.findIndex((byte) => byte !== 0);
  if (start === -1) throw new Refusal('MALFORMED', `${name} of the ECDSA signature is zero`);
  const stripped = bytes.subarray(start);
  if (stripped.length > MAX_SCALAR_BYTES) {
    throw new Refusal('MALFORMED', `${name} of the ECDSA signature is longer than ${MAX_SCALAR_BYTES} bytes`);
  }
  return stripped;
}
