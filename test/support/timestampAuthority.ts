import {
  constants,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto';
import type { Anchor } from '../../attestation/anchors.ts';
import { compareBytes, concat, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { parseTimestampRequest, type TimestampRequest } from '../../attestation/time/timestampExchange.ts';
import { TAG } from '../../attestation/x509/der.ts';
import {
  type Authority,
  authorityExtensions,
  extension,
  issueCertificate,
  signedSequence,
  signerExtension,
  simulatedName,
} from '../../enclave/collect/simulated/certificate.ts';
import * as der from '../../enclave/collect/simulated/der.ts';

// A timestamp authority (RFC 3161) that is minted for the tests: root, authority and signing certificate.

/** Kinds of keys and signatures that authorities use. */
export type SignerKind =
  'rsa' | 'rsa-named' | 'rsa-pss' | 'ecdsa-p256' | 'ecdsa-p384' | 'ecdsa-p521' | 'ed25519';

export const TIMESTAMP_OIDS = {
  signedData: '1.2.840.113549.1.7.2',
  tstInfo: '1.2.840.113549.1.9.16.1.4',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingCertificate: '1.2.840.113549.1.9.16.2.12',
  signingCertificateV2: '1.2.840.113549.1.9.16.2.47',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
  timeStamping: '1.3.6.1.5.5.7.3.8',
  codeSigning: '1.3.6.1.5.5.7.3.3',
} as const;

const NULL = der.element(TAG.null);
type Hash = 'sha256' | 'sha384' | 'sha512';

/** What a test may have otherwise than a proper authority. Encoded DER where not said. */
export interface TokenChanges {
  readonly version?: Uint8Array;
  readonly imprintAlgorithm?: Uint8Array;
  readonly imprint?: Uint8Array;
  /** Text of the GeneralizedTime. */
  readonly genTime?: string;
  /** Encoded, behind genTime: accuracy, ordering. */
  readonly afterTime?: readonly Uint8Array[];
  /** Encoded, at the end of TSTInfo: tsa, extensions. */
  readonly atEnd?: readonly Uint8Array[];
  readonly nonce?: Uint8Array;
  readonly signedDataVersion?: number;
  readonly contentType?: string;
  /** Attributes in place of the three; they get the digest of the content. */
  readonly attributes?: (digest: Uint8Array, leaf: Uint8Array) => readonly Uint8Array[];
  /** Attributes beside the three. */
  readonly moreAttributes?: readonly Uint8Array[];
  readonly signedBy?: KeyObject;
  readonly signatureAlgorithm?: Uint8Array;
  readonly digestAlgorithm?: Uint8Array;
  readonly certificates?: readonly Uint8Array[];
  /** The signer is named by its subject key identifier. */
  readonly byKeyId?: boolean;
  readonly signerInfos?: (signer: Uint8Array) => readonly Uint8Array[];
}

export interface AuthorityOptions {
  readonly kind?: SignerKind;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Purposes of the signing certificate and whether they are critical. */
  readonly purposes?: readonly string[];
  readonly critical?: boolean;
  readonly authorityPurposes?: readonly string[];
}

export interface TimestampAuthority {
  /** Pins the root. */
  readonly anchor: Anchor;
  readonly anchors: Readonly<Record<'root' | 'intermediate' | 'signer', Anchor>>;
  readonly certificates: readonly [signer: Uint8Array, intermediate: Uint8Array, root: Uint8Array];
  readonly key: KeyObject;
  /**
   * A revocation list of the issuer of the signing certificate, which it names as revoked since a time, for a reason of
   * RFC 5280 section 5.3.1 where one is given.
   */
  crl(since: number, thisUpdate: number, reason?: number): Uint8Array;
  /** A token over the data; `now` is in milliseconds since 1970. */
  token(data: Uint8Array, now: number, changes?: TokenChanges): Uint8Array;
  /** The body of an answer over HTTP to the body of a question. */
  answer(query: Uint8Array, now: number, changes?: TokenChanges): Uint8Array;
}

const KEYS: Readonly<Record<SignerKind, () => KeyObject>> = {
  rsa: rsaKey,
  'rsa-named': rsaKey,
  'rsa-pss': rsaKey,
  'ecdsa-p256': () => ecKey('P-256'),
  'ecdsa-p384': () => ecKey('P-384'),
  'ecdsa-p521': () => ecKey('P-521'),
  ed25519: () => generateKeyPairSync('ed25519').privateKey,
};

function rsaKey(): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
}

function ecKey(namedCurve: string): KeyObject {
  return generateKeyPairSync('ec', { namedCurve }).privateKey;
}

const HASHES: Readonly<Record<SignerKind, Hash>> = {
  rsa: 'sha256',
  'rsa-named': 'sha512',
  'rsa-pss': 'sha384',
  'ecdsa-p256': 'sha256',
  'ecdsa-p384': 'sha384',
  'ecdsa-p521': 'sha512',
  ed25519: 'sha512',
};

export function mintTimestampAuthority(options: AuthorityOptions = {}): TimestampAuthority {
  const kind = options.kind ?? 'ecdsa-p256';
  const validity = {
    notBefore: options.notBefore ?? new Date('2025-01-01T00:00:00Z'),
    notAfter: options.notAfter ?? new Date('2035-01-01T00:00:00Z'),
  };
  const issue = (
    name: string,
    serial: number,
    key: KeyObject,
    by: Pick<Authority, 'name' | 'key'>,
    extensions: readonly Uint8Array[],
  ) =>
    issueCertificate(
      {
        subject: simulatedName(name),
        serial: Uint8Array.of(serial),
        publicKey: createPublicKey(key),
        extensions,
        ...validity,
      },
      by,
    );
  const [rootKey, intermediateKey, key] = [ecKey('P-384'), ecKey('P-384'), KEYS[kind]()];
  const rootName = { name: simulatedName('Timestamp root'), key: rootKey };
  const intermediateName = { name: simulatedName('Timestamp authority'), key: intermediateKey };
  const above = options.authorityPurposes ? [purposes(options.authorityPurposes, true)] : [];
  const root = issue('Timestamp root', 1, rootKey, rootName, authorityExtensions(1, 'certificates-and-crls'));
  const intermediate = issue('Timestamp authority', 2, intermediateKey, rootName, [
    ...authorityExtensions(0, 'certificates-and-crls'),
    ...above,
  ]);
  const leaf = issue('Timestamp signer', 3, key, intermediateName, [
    signerExtension(),
    extension('2.5.29.14', der.octetString(KEY_ID)),
    ...(options.purposes?.length === 0
      ? []
      : [purposes(options.purposes ?? [TIMESTAMP_OIDS.timeStamping], options.critical ?? true)]),
  ]);
  const signer: Signer = { kind, key, leaf, certificates: [leaf, intermediate, root] };
  const anchors = {
    root: anchorOf('minted timestamp root', rootKey),
    intermediate: anchorOf('minted timestamp authority', intermediateKey),
    signer: anchorOf('minted timestamp signer', key),
  };
  const own = (data: Uint8Array): TimestampRequest => ({
    hash: 'sha256',
    digest: hashOf('sha256', data),
    nonce: undefined,
    policy: undefined,
    certReq: true,
  });
  return {
    anchor: anchors.root,
    anchors,
    certificates: [leaf, intermediate, root],
    key,
    crl: (since, thisUpdate, reason) => encodeCrl(intermediateName, since, thisUpdate, reason),
    token: (data, now, changes = {}) => encodeToken(signer, own(data), now, changes),
    answer: (query, now, changes = {}) =>
      der.sequence(
        der.sequence(der.smallInteger(0)),
        encodeToken(signer, parseTimestampRequest(query), now, changes),
      ),
  };
}

const KEY_ID = hashOf('sha256', utf8('minted timestamp signer'));

function anchorOf(name: string, key: KeyObject): Anchor {
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return { role: 'timestamp', name, spkiSha256: toHex(hashOf('sha256', spki)), simulated: false };
}

let shared: TimestampAuthority | undefined;

/** One authority for tests that need any: its keys take a moment to make. */
export function timestampAuthority(): TimestampAuthority {
  return (shared ??= mintTimestampAuthority());
}

/** Answers a question over HTTP as the shared authority does. */
export function answerTimestampQuery(query: Uint8Array, now: number): Uint8Array {
  return timestampAuthority().answer(query, now);
}

interface Signer {
  readonly kind: SignerKind;
  readonly key: KeyObject;
  readonly leaf: Uint8Array;
  readonly certificates: readonly Uint8Array[];
}

function encodeToken(
  signer: Signer,
  request: TimestampRequest,
  now: number,
  changes: TokenChanges,
): Uint8Array {
  const content = encodeInfo(request, now, changes);
  const hash = HASHES[signer.kind];
  const digestAlgorithm = changes.digestAlgorithm ?? algorithm(TIMESTAMP_OIDS[hash]);
  const certificates = changes.certificates ?? (request.certReq ? signer.certificates : []);
  const info = encodeSigner(signer, content, digestAlgorithm, changes);
  const signedData = der.sequence(
    der.smallInteger(changes.signedDataVersion ?? 3),
    der.element(TAG.set, digestAlgorithm),
    der.sequence(
      der.oid(changes.contentType ?? TIMESTAMP_OIDS.tstInfo),
      der.tagged(0, der.octetString(content)),
    ),
    ...(certificates.length > 0 ? [der.element(0xa0, ...certificates.toSorted(compareBytes))] : []),
    der.element(TAG.set, ...(changes.signerInfos?.(info) ?? [info])),
  );
  return der.sequence(der.oid(TIMESTAMP_OIDS.signedData), der.tagged(0, signedData));
}

function encodeInfo(
  { hash, digest, nonce }: TimestampRequest,
  now: number,
  changes: TokenChanges,
): Uint8Array {
  const imprint = der.sequence(
    changes.imprintAlgorithm ?? algorithm(TIMESTAMP_OIDS[hash as Hash]),
    der.octetString(changes.imprint ?? digest),
  );
  const number = changes.nonce ?? nonce;
  return der.sequence(
    changes.version ?? der.smallInteger(1),
    der.oid('1.2.3.4.1'),
    imprint,
    der.integer(Uint8Array.of(7, 0, now & 0xff)),
    generalizedTime(changes.genTime ?? timeText(now)),
    ...(changes.afterTime ?? []),
    ...(number ? [der.integer(number)] : []),
    ...(changes.atEnd ?? []),
  );
}

/** With a fraction where there is one, without trailing zeros. */
function timeText(now: number): string {
  const [seconds = '', fraction = ''] = new Date(now)
    .toISOString()
    .replaceAll(/[-:TZ]/g, '')
    .split('.');
  const digits = fraction.replace(/0+$/, '');
  return digits === '' ? `${seconds}Z` : `${seconds}.${digits}Z`;
}

export function generalizedTime(text: string): Uint8Array {
  return der.element(TAG.generalizedTime, utf8(text));
}

export function algorithm(oid: string): Uint8Array {
  return der.sequence(der.oid(oid), NULL);
}

export function attribute(oid: string, ...values: readonly Uint8Array[]): Uint8Array {
  return der.sequence(der.oid(oid), der.element(TAG.set, ...values));
}

/** The attribute of RFC 5816, by SHA-256, which is left out as the default. */
export function signingCertificateV2(certificate: Uint8Array): Uint8Array {
  const id = der.sequence(der.octetString(hashOf('sha256', certificate)));
  return attribute(TIMESTAMP_OIDS.signingCertificateV2, der.sequence(der.sequence(id)));
}

function encodeSigner(
  { kind, key, leaf }: Signer,
  content: Uint8Array,
  digestAlgorithm: Uint8Array,
  changes: TokenChanges,
): Uint8Array {
  const hash = HASHES[kind];
  const digest = hashOf(hash, content);
  const attributes = changes.attributes?.(digest, leaf) ?? [
    attribute(TIMESTAMP_OIDS.contentType, der.oid(TIMESTAMP_OIDS.tstInfo)),
    attribute(TIMESTAMP_OIDS.messageDigest, der.octetString(digest)),
    signingCertificateV2(leaf),
    ...(changes.moreAttributes ?? []),
  ];
  const sorted = concat(...attributes.toSorted(compareBytes));
  const toSign = der.element(TAG.set, sorted);
  return der.sequence(
    der.smallInteger(changes.byKeyId ? 3 : 1),
    changes.byKeyId
      ? der.element(0x80, KEY_ID)
      : der.sequence(simulatedName('Timestamp authority'), der.smallInteger(3)),
    digestAlgorithm,
    der.element(0xa0, sorted),
    changes.signatureAlgorithm ?? SIGNATURE_ALGORITHMS[kind],
    der.octetString(signWith(kind, hash, changes.signedBy ?? key, toSign)),
  );
}

const PSS_PARAMETERS = der.sequence(
  der.tagged(0, algorithm(TIMESTAMP_OIDS.sha384)),
  der.tagged(1, der.sequence(der.oid('1.2.840.113549.1.1.8'), algorithm(TIMESTAMP_OIDS.sha384))),
  der.tagged(2, der.smallInteger(48)),
);

const SIGNATURE_ALGORITHMS: Readonly<Record<SignerKind, Uint8Array>> = {
  rsa: algorithm('1.2.840.113549.1.1.11'),
  // The key's own identifier: the hash is that of the digest.
  'rsa-named': algorithm('1.2.840.113549.1.1.1'),
  'rsa-pss': der.sequence(der.oid('1.2.840.113549.1.1.10'), PSS_PARAMETERS),
  'ecdsa-p256': der.sequence(der.oid('1.2.840.10045.4.3.2')),
  'ecdsa-p384': der.sequence(der.oid('1.2.840.10045.4.3.3')),
  'ecdsa-p521': der.sequence(der.oid('1.2.840.10045.4.3.4')),
  ed25519: der.sequence(der.oid('1.3.101.112')),
};

function signWith(kind: SignerKind, hash: Hash, key: KeyObject, data: Uint8Array): Uint8Array {
  if (kind === 'ed25519') return sign(null, data, key);
  if (kind === 'rsa-pss') {
    return sign(hash, data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 });
  }
  return sign(hash, data, key);
}

/** Version 2, for a month. */
function encodeCrl(
  { name, key }: Pick<Authority, 'name' | 'key'>,
  since: number,
  thisUpdate: number,
  reason: number | undefined,
): Uint8Array {
  const stated =
    reason === undefined
      ? []
      : [der.sequence(extension('2.5.29.21', der.element(0x0a, Uint8Array.of(reason))))];
  const revoked = der.sequence(der.smallInteger(3), der.time(new Date(since)), ...stated);
  return signedSequence(key, (signatureAlgorithm) => [
    der.smallInteger(1),
    signatureAlgorithm,
    name,
    der.time(new Date(thisUpdate)),
    der.time(new Date(thisUpdate + 30 * 86_400_000)),
    der.sequence(revoked),
    der.tagged(0, der.sequence(extension('2.5.29.20', der.smallInteger(1)))),
  ]);
}

function purposes(oids: readonly string[], critical: boolean): Uint8Array {
  return extension('2.5.29.37', der.sequence(...oids.map(der.oid)), critical);
}

function hashOf(hash: string, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(hash).update(bytes).digest());
}
