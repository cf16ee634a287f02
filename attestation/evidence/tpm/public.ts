import { concat, equalBytes } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import type { CryptoProvider, HashName } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { ALG, HASH_BYTES, hexId, readHash, readSized } from './algorithms.ts';
import { CURVE_BYTES, ecSpki, rsaSpki, type TpmCurve } from './key.ts';

const MAX_RSA_BYTES = 512;
/** An exponent of 0 in the template means this one (part 2, section 12.2.3.5). */
const DEFAULT_EXPONENT = 65537;
/** Bits of TPMA_OBJECT (part 2, section 8.3). */
const ATTRIBUTES = {
  fixedTpm: 1,
  stClear: 2,
  fixedParent: 4,
  sensitiveDataOrigin: 5,
  userWithAuth: 6,
  adminWithPolicy: 7,
  firmwareLimited: 8,
  svnLimited: 9,
  noDa: 10,
  encryptedDuplication: 11,
  restricted: 16,
  decrypt: 17,
  sign: 18,
  x509Sign: 19,
} as const;
const CURVES: ReadonlyMap<number, TpmCurve> = new Map([
  [0x0003, 'P-256'],
  [0x0004, 'P-384'],
]);
/** TPM_RH of the hierarchies under which a primary key is made (part 2, section 7.4). */
const HIERARCHIES = {
  owner: 0x40000001,
  null: 0x40000007,
  endorsement: 0x4000000b,
  platform: 0x4000000c,
} as const;

export type ObjectAttribute = keyof typeof ATTRIBUTES;
export type Hierarchy = keyof typeof HIERARCHIES;

/** A public area as its bytes say: the host's claim, until a qualified signer commits to its name. */
export interface TpmPublic {
  readonly nameHash: HashName;
  readonly attributes: ReadonlySet<ObjectAttribute>;
  readonly authPolicy: Uint8Array;
  /** Signing scheme that the key is bound to; undefined where it may sign with any. */
  readonly scheme: { readonly algorithm: number; readonly hash: HashName | undefined } | undefined;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Parses a TPMT_PUBLIC of an RSA or ECC key (part 2, section 12.2.4), with nothing after it. */
export function parseTpmtPublic(bytes: Uint8Array): TpmPublic {
  const reader = new ByteReader(bytes, 'TPMT_PUBLIC');
  const type = reader.u16be();
  const nameHash = readHash(reader, 'nameAlg');
  const attributes = readAttributes(reader.u32be());
  const authPolicy = readSized(reader, HASH_BYTES.sha512, 'authPolicy');
  const { scheme, spki } = readKey(reader, type);
  reader.end();
  return { nameHash, attributes, authPolicy, scheme, spki, bytes };
}

/** Parses a TPM2B_PUBLIC: a size of two bytes, then the TPMT_PUBLIC. */
export function parseTpm2bPublic(bytes: Uint8Array): TpmPublic {
  const reader = new ByteReader(bytes, 'TPM2B_PUBLIC');
  const inner = readSized(reader, 0xffff, 'TPM2B_PUBLIC');
  reader.end();
  return parseTpmtPublic(inner);
}

/** Name of the key: hash identifier and digest of its public area (part 1, section 16). */
export function nameOf(area: TpmPublic, crypto: CryptoProvider): Uint8Array {
  return concat(area.bytes.subarray(2, 4), crypto.hash(area.nameHash, area.bytes));
}

/**
 * The hierarchy whose primary key this is, by the qualified name that the quote states (part 1, section 16.4).
 * Undefined for a key below another one: its parents' names are not known here.
 */
export function hierarchyOf(
  area: TpmPublic,
  qualifiedSigner: Uint8Array,
  crypto: CryptoProvider,
): Hierarchy | undefined {
  const name = nameOf(area, crypto);
  const isParent = (handle: number) => {
    const parent = Uint8Array.of(handle >>> 24, handle >>> 16, handle >>> 8, handle);
    const digest = crypto.hash(area.nameHash, concat(parent, name));
    return equalBytes(concat(name.subarray(0, 2), digest), qualifiedSigner);
  };
  const names = Object.keys(HIERARCHIES) as Hierarchy[];
  return names.find((hierarchy) => isParent(HIERARCHIES[hierarchy]));
}

/**
 * What makes a key an attestation key: restricted, so that it signs no structure of another's making as a quote;
 * signing only; made in this TPM and never to leave it.
 */
export function checkAttestationAttributes({ attributes }: TpmPublic): void {
  const required = ['restricted', 'sign', 'fixedTpm', 'fixedParent', 'sensitiveDataOrigin'] as const;
  const absent = required.filter((name) => !attributes.has(name));
  if (absent.length > 0 || attributes.has('decrypt')) {
    const excess = attributes.has('decrypt') ? '; it has decrypt' : '';
    throw new Refusal(
      'UNTRUSTED_KEY',
      `the key is no attestation key: it lacks ${absent.join(', ') || 'nothing'}${excess}`,
    );
  }
}

function readAttributes(bits: number): ReadonlySet<ObjectAttribute> {
  const names = Object.keys(ATTRIBUTES) as ObjectAttribute[];
  const known = names.reduce((mask, name) => mask | (1 << ATTRIBUTES[name]), 0);
  if ((bits & ~known) !== 0) {
    throw new Refusal('UNSUPPORTED', `object attributes ${hexId(bits)} have reserved bits`);
  }
  return new Set(names.filter((name) => (bits >>> ATTRIBUTES[name]) & 1));
}

function readKey(reader: ByteReader, type: number): Pick<TpmPublic, 'scheme' | 'spki'> {
  if (type === ALG.rsa) return readRsa(reader);
  if (type === ALG.ecc) return readEcc(reader);
  throw new Refusal('UNSUPPORTED', `TPMT_PUBLIC is of type ${hexId(type)}, neither RSA nor ECC`);
}

/** TPMS_RSA_PARMS and TPM2B_PUBLIC_KEY_RSA. */
function readRsa(reader: ByteReader): Pick<TpmPublic, 'scheme' | 'spki'> {
  readSymmetric(reader);
  const scheme = readScheme(reader);
  const bits = reader.u16be();
  const exponent = reader.u32be() || DEFAULT_EXPONENT;
  const modulus = readSized(reader, MAX_RSA_BYTES, 'RSA modulus');
  if (8 * modulus.length !== bits) {
    throw new Refusal('MALFORMED', `RSA modulus of ${modulus.length} bytes in a key of ${bits} bits`);
  }
  const e = Uint8Array.of(exponent >>> 24, exponent >>> 16, exponent >>> 8, exponent);
  return { scheme, spki: rsaSpki(modulus, e) };
}

/** TPMS_ECC_PARMS and TPMS_ECC_POINT. */
function readEcc(reader: ByteReader): Pick<TpmPublic, 'scheme' | 'spki'> {
  readSymmetric(reader);
  const scheme = readScheme(reader);
  const id = reader.u16be();
  const curve = CURVES.get(id);
  if (!curve) throw new Refusal('UNSUPPORTED', `ECC key on curve ${hexId(id)}`);
  if (reader.u16be() !== ALG.null) readHash(reader, 'kdf');
  const x = readSized(reader, CURVE_BYTES[curve], 'x');
  const y = readSized(reader, CURVE_BYTES[curve], 'y');
  return { scheme, spki: ecSpki(curve, x, y) };
}

/** TPMT_SYM_DEF_OBJECT: storage keys name a cipher of key bits and mode, signing keys none. */
function readSymmetric(reader: ByteReader): void {
  if (reader.u16be() !== ALG.null) reader.take(4);
}

function readScheme(reader: ByteReader): TpmPublic['scheme'] {
  const algorithm = reader.u16be();
  if (algorithm === ALG.null) return undefined;
  if (algorithm === ALG.rsaes) return { algorithm, hash: undefined };
  const hash = readHash(reader, 'signing scheme');
  if (algorithm === ALG.ecdaa) reader.take(2);
  return { algorithm, hash };
}
