import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { encode } from 'cborg';
import type { Anchor } from '../../attestation/anchors.ts';
import { concat } from '../../attestation/bytes/bytes.ts';
import { sigStructure } from '../../attestation/cose/sign1.ts';
import { CA_USAGE, spkiSha256Of } from './mintedAuthority.ts';

const { subtle } = webcrypto;
const P384 = { name: 'ECDSA', namedCurve: 'P-384' };
const ES384 = { name: 'ECDSA', hash: 'SHA-384' };
const HOUR = 60 * 60 * 1000;

/** The judged time, and the time of every document minted here. */
export const NOW = Date.parse('2026-06-01T12:00:00Z');
export const MODULE_ID = 'i-0123456789abcdef0-enc0fedcba987654321';
/** Uses of a key that a certificate may name in error. */
export const KEY_USAGE = {
  digitalSignature: KeyUsageFlags.digitalSignature,
  keyEncipherment: KeyUsageFlags.keyEncipherment,
} as const;
/** `{1: -35}`. */
export const PROTECTED = Uint8Array.of(0xa1, 0x01, 0x38, 0x22);

type Keys = webcrypto.CryptoKeyPair;

export interface IssueOptions {
  readonly subject?: string;
  readonly isCa?: boolean;
  readonly pathLength?: number;
  readonly usage?: KeyUsageFlags | null;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly keys?: Keys;
}

/** A minted root, intermediate and module, shaped as AWS's: the module signs documents for three hours. */
export interface NitroAuthority {
  readonly anchor: Anchor;
  readonly root: Uint8Array;
  readonly intermediate: Uint8Array;
  readonly leaf: Uint8Array;
  /** Another certificate for the module's key. */
  issueLeaf(options: IssueOptions): Promise<Uint8Array>;
  /** Another intermediate with the name and key of the first. */
  issueIntermediate(options: IssueOptions): Promise<Uint8Array>;
  /** Signs a payload; `protectedBytes` go into the envelope as they are. */
  sign(payload: Uint8Array, envelope?: Envelope): Promise<Uint8Array>;
  /** A document with these members changed: undefined leaves one out. */
  mint(changes?: Readonly<Record<string, unknown>>, envelope?: Envelope): Promise<Uint8Array>;
}

export interface Envelope {
  readonly tagged?: boolean;
  /** `bf … ff` instead of a counted map, as documents since 2025 have it. */
  readonly indefinite?: boolean;
  readonly protectedBytes?: Uint8Array;
  readonly unprotected?: ReadonlyMap<number, unknown>;
  readonly signature?: Uint8Array;
  readonly keys?: Keys;
}

export function generateModuleKeys(curve = 'P-384'): Promise<Keys> {
  return subtle.generateKey({ name: 'ECDSA', namedCurve: curve }, true, ['sign', 'verify']);
}

export async function mintNitroAuthority(): Promise<NitroAuthority> {
  const [rootKeys, intermediateKeys, moduleKeys] = await Promise.all(
    [P384, P384, P384].map(({ namedCurve }) => generateModuleKeys(namedCurve)),
  );
  const names = { root: 'CN=minted.nitro-enclaves', intermediate: 'CN=zone.minted.nitro-enclaves' };
  const issueIntermediate = (options: IssueOptions = {}) =>
    issue(names.intermediate, intermediateKeys!, names.root, rootKeys!, {
      isCa: true,
      pathLength: 0,
      usage: CA_USAGE,
      notAfter: new Date(NOW + 48 * HOUR),
      ...options,
    });
  const issueLeaf = (options: IssueOptions = {}) =>
    issue(
      `CN=${MODULE_ID}.minted-1.aws, O=Minted`,
      moduleKeys!,
      names.intermediate,
      intermediateKeys!,
      options,
    );
  const root = await issue(names.root, rootKeys!, names.root, rootKeys!, {
    isCa: true,
    usage: CA_USAGE,
    notBefore: new Date('2020-01-01T00:00:00Z'),
    notAfter: new Date('2050-01-01T00:00:00Z'),
  });
  const [intermediate, leaf] = await Promise.all([issueIntermediate(), issueLeaf()]);
  const sign = (payload: Uint8Array, envelope: Envelope = {}) =>
    seal(payload, { keys: moduleKeys!, ...envelope });
  return {
    anchor: {
      role: 'aws-nitro',
      name: 'minted',
      spkiSha256: await spkiSha256Of(rootKeys!),
      simulated: true,
    },
    root,
    intermediate,
    leaf,
    issueLeaf,
    issueIntermediate,
    sign,
    mint: (changes, envelope) => {
      const members = { ...enclaveMembers(leaf, [root, intermediate]), ...changes };
      return sign(encodeMembers(Object.entries(members), envelope?.indefinite), envelope);
    },
  };
}

async function issue(
  name: string,
  keys: Keys,
  issuer: string,
  signer: Keys,
  options: IssueOptions,
): Promise<Uint8Array> {
  const { usage = KeyUsageFlags.digitalSignature } = options;
  const usages = usage === null ? [] : [new KeyUsagesExtension(usage, true)];
  const constraints = new BasicConstraintsExtension(options.isCa ?? false, options.pathLength, true);
  const certificate = await X509CertificateGenerator.create({
    subject: options.subject ?? name,
    issuer,
    serialNumber: '01',
    notBefore: options.notBefore ?? new Date(NOW - HOUR),
    notAfter: options.notAfter ?? new Date(NOW + 2 * HOUR),
    publicKey: (options.keys ?? keys).publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: ES384,
    extensions: [constraints, ...usages],
  });
  return new Uint8Array(certificate.rawData);
}

/** Registers by index, each filled with its index and one. */
export function registers(count: number): Map<number, Uint8Array> {
  return new Map(Array.from({ length: count }, (_, index) => [index, new Uint8Array(48).fill(index + 1)]));
}

/** Members of an enclave's document without optional content. */
export function enclaveMembers(leaf: Uint8Array, cabundle: readonly Uint8Array[]): Record<string, unknown> {
  return {
    module_id: MODULE_ID,
    digest: 'SHA384',
    timestamp: NOW - 60_000,
    pcrs: registers(16),
    certificate: leaf,
    cabundle,
    public_key: null,
    user_data: null,
    nonce: null,
  };
}

/** A CBOR map of these members in this order, repeated ones included; undefined leaves one out. */
export function encodeMembers(
  members: readonly (readonly [string, unknown])[],
  indefinite = false,
): Uint8Array {
  const present = members.filter(([, value]) => value !== undefined);
  const encoded = present.flatMap(([key, value]) => [encode(key), encode(value)]);
  return indefinite
    ? concat(Uint8Array.of(0xbf), ...encoded, Uint8Array.of(0xff))
    : concat(Uint8Array.of(0xa0 | present.length), ...encoded);
}

async function seal(payload: Uint8Array, envelope: Envelope & { readonly keys: Keys }): Promise<Uint8Array> {
  const { protectedBytes = PROTECTED, unprotected = new Map<number, unknown>(), tagged, keys } = envelope;
  const signed = sigStructure(protectedBytes, payload) as Uint8Array<ArrayBuffer>;
  const signature = envelope.signature ?? new Uint8Array(await subtle.sign(ES384, keys.privateKey, signed));
  const array = encode([protectedBytes, unprotected, payload, signature]);
  return tagged ? concat(Uint8Array.of(0xd2), array) : array;
}
