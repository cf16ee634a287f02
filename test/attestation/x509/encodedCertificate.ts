import {
  bitString,
  element,
  oid,
  octetString,
  sequence,
  smallInteger,
  tagged,
  utf8String,
} from '../../../enclave/collect/simulated/der.ts';
import { TAG } from '../../../attestation/x509/der.ts';
import { utf8 } from '../../../attestation/bytes/bytes.ts';

/** Parts of a tbsCertificate, each encoded; undefined leaves one out. */
export interface CertificateParts {
  readonly version: Uint8Array | undefined;
  readonly serial: Uint8Array;
  readonly algorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly validity: Uint8Array;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  /** Everything after the public key. */
  readonly tail: Uint8Array;
  readonly outerAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
}

export const ECDSA_SHA_384 = sequence(oid('1.2.840.10045.4.3.3'));
export const P384_SPKI = sequence(
  sequence(oid('1.2.840.10045.2.1'), oid('1.3.132.0.34')),
  bitString(Uint8Array.from({ length: 97 }, (_, i) => (i === 0 ? 4 : i))),
);

export function utcTime(text: string): Uint8Array {
  return element(TAG.utcTime, utf8(text));
}

export function generalizedTime(text: string): Uint8Array {
  return element(TAG.generalizedTime, utf8(text));
}

export function name(...attributes: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  return sequence(...attributes.map(([type, value]) => element(TAG.set, sequence(oid(type), value))));
}

export function commonName(text: string): Uint8Array {
  return name(['2.5.4.3', utf8String(text)]);
}

/** An encoded Extension; `flag` is the BOOLEAN's content byte. */
export function extension(type: string, value: Uint8Array, flag?: number): Uint8Array {
  const critical = flag === undefined ? [] : [element(TAG.boolean, Uint8Array.of(flag))];
  return sequence(oid(type), ...critical, octetString(value));
}

/** `[3]` with the extensions in it. */
export function extensions(...list: readonly Uint8Array[]): Uint8Array {
  return tagged(3, sequence(...list));
}

/** A certificate that parses, with the given parts in place of its own. Its signature verifies under no key. */
export function encodeCertificate(changed: Partial<CertificateParts> = {}): Uint8Array {
  const parts: CertificateParts = {
    version: tagged(0, smallInteger(2)),
    serial: smallInteger(7),
    algorithm: ECDSA_SHA_384,
    issuer: commonName('issuer'),
    validity: sequence(utcTime('250101000000Z'), generalizedTime('20600101000000Z')),
    subject: commonName('subject'),
    spki: P384_SPKI,
    tail: new Uint8Array(),
    outerAlgorithm: ECDSA_SHA_384,
    signature: bitString(Uint8Array.of(1, 2, 3)),
    ...changed,
  };
  const { version, serial, algorithm, issuer, validity, subject, spki, tail } = parts;
  const tbs = sequence(
    ...(version ? [version] : []),
    serial,
    algorithm,
    issuer,
    validity,
    subject,
    spki,
    tail,
  );
  return sequence(tbs, parts.outerAlgorithm, parts.signature);
}
