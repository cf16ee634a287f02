import * as z from 'zod';
import { Refusal } from '../../errors.ts';
import type { DeviceEvidence } from '../evidence.ts';
import { quoted, readShape } from './json.ts';

export type DeviceKind = DeviceEvidence['kind'];

const CLAIMS_VERSIONS = ['2.0', '3.0', '4.0'] as const;
export type ClaimsVersion = (typeof CLAIMS_VERSIONS)[number];

const PLATFORM = 'NVIDIA-PLATFORM-ATTESTATION';
/** Subject of the one token that version 1 of the interface answered with. */
const SINGLE_GPU = 'NVIDIA-GPU-ATTESTATION';
const ERROR = 'x-nvidia-error-details';

/** The service numbers the devices of one request from 0. */
export const LABEL = /^(GPU|SWITCH)-(0|[1-9]\d?)$/;
export const MAX_DEVICES = 64;

const text = z.string().max(200);
/** Seconds since 1970, up to the year 9999. */
const seconds = z.int().min(0).max(253_402_300_799);
/** The hex of 32 bytes; older interfaces wrote capital letters. */
const nonce = z.string().regex(/^[0-9a-fA-F]{64}$/);
const always = { iss: text, nbf: seconds, iat: seconds, exp: seconds, jti: text };
/** A claim that the service leaves out or sets to null where it cannot say it. */
const said = <T extends z.ZodType>(shape: T) => shape.nullish();

/** `["DIGEST", [algorithm, hex]]`: a detached submodule (RFC 9711 section 4.2.18.2). */
const digest = z.tuple([z.literal('DIGEST'), z.tuple([text, z.string().regex(/^[0-9a-f]{64}$/)])]);

const overallSchema = z
  .object({
    ...always,
    sub: z.literal(PLATFORM),
    'x-nvidia-ver': text,
    'x-nvidia-overall-att-result': z.boolean(),
    eat_nonce: nonce,
    submods: z.record(z.string().regex(LABEL), digest),
  })
  .catchall(z.unknown());

const deviceSchema = z
  .object({
    ...always,
    eat_nonce: nonce,
    /** Serial of the leaf certificate, decimal. */
    ueid: said(z.string().regex(/^(?:0|[1-9]\d{0,59})$/)),
    hwmodel: said(text),
    /** IANA enterprise number. */
    oemid: said(text),
    measres: said(text),
    secboot: said(z.boolean()),
    dbgstat: said(text),
    'x-nvidia-device-type': said(text),
    'x-nvidia-gpu-claims-version': said(text),
    'x-nvidia-gpu-driver-version': said(text),
    'x-nvidia-gpu-vbios-version': said(text),
    'x-nvidia-switch-bios-version': said(text),
  })
  .catchall(z.unknown());

const errorSchema = z
  .object({
    ...always,
    [ERROR]: z.object({
      code: z.int(),
      httpStatus: said(text),
      message: said(text),
      description: said(z.string().max(2000)),
      fieldName: said(text),
    }),
  })
  .catchall(z.unknown());

/** What every token says of itself. Times are seconds since 1970. */
interface TokenClaims {
  readonly issuer: string;
  readonly notBefore: number;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

export interface OverallClaims extends TokenClaims {
  readonly kind: 'overall';
  readonly version: ClaimsVersion;
  /** What the service found in all. */
  readonly result: boolean;
  /** Lower-case hex. */
  readonly nonce: string;
  /** Digests of the device tokens by label. */
  readonly submodules: ReadonlyMap<string, SubmoduleDigest>;
}

export interface SubmoduleDigest {
  /** As written: the service says SHA-256. */
  readonly algorithm: string;
  /** Lower-case hex. */
  readonly digest: string;
}

/** Undefined where the service does not say it. */
export interface DeviceClaims extends TokenClaims {
  readonly kind: 'device';
  readonly nonce: string;
  readonly ueid: string | undefined;
  readonly hardwareModel: string | undefined;
  readonly oemId: string | undefined;
  readonly measurementResult: string | undefined;
  readonly secureBoot: boolean | undefined;
  readonly debugStatus: string | undefined;
  readonly driverVersion: string | undefined;
  /** VBIOS of a GPU, BIOS of a switch. */
  readonly firmwareVersion: string | undefined;
  /** Every claim by its name, those above among them. */
  readonly all: ReadonlyMap<string, unknown>;
}

/** What the service answers for a device that it could not judge. It carries no nonce and no result. */
export interface ErrorClaims extends TokenClaims {
  readonly kind: 'error';
  readonly code: number;
  readonly message: string;
}

/** Reads the payload of an overall token. */
export function readOverallClaims(payload: unknown): OverallClaims {
  const what = 'overall token';
  refuseSingleToken(payload);
  const claims = readShape(overallSchema, payload, what);
  const version = CLAIMS_VERSIONS.find((known) => known === claims['x-nvidia-ver']);
  if (!version) {
    throw new Refusal('UNSUPPORTED', `${what}: claims of version ${quoted(claims['x-nvidia-ver'])}`);
  }
  const submodules = Object.entries(claims.submods).map(
    ([label, [, [algorithm, hex]]]): [string, SubmoduleDigest] => [label, { algorithm, digest: hex }],
  );
  return {
    kind: 'overall',
    ...tokenClaims(claims),
    version,
    result: claims['x-nvidia-overall-att-result'],
    nonce: claims.eat_nonce.toLowerCase(),
    submodules: new Map(submodules),
  };
}

function refuseSingleToken(payload: unknown): void {
  if (typeof payload === 'object' && payload !== null && 'sub' in payload && payload.sub === SINGLE_GPU) {
    throw new Refusal(
      'UNSUPPORTED',
      'the token is of version 1 of the interface: ask version 3 or 4, whose overall token names the device tokens',
    );
  }
}

/** Reads the payload of a device token, which has no version of its own: that of the overall token counts. */
export function readDeviceClaims(
  payload: unknown,
  kind: DeviceKind,
  version: ClaimsVersion,
  what: string,
): DeviceClaims | ErrorClaims {
  const record = readShape(z.record(z.string(), z.unknown()), payload, what);
  if (record[ERROR] !== undefined && record[ERROR] !== null) return readErrorClaims(record, what);
  const claims = readShape(deviceSchema, payload, what);
  checkOwnWord(claims, kind, version, what);
  const firmware =
    kind === 'gpu' ? claims['x-nvidia-gpu-vbios-version'] : claims['x-nvidia-switch-bios-version'];
  return {
    kind: 'device',
    ...tokenClaims(claims),
    nonce: claims.eat_nonce.toLowerCase(),
    ueid: claims.ueid ?? undefined,
    hardwareModel: claims.hwmodel ?? undefined,
    oemId: claims.oemid ?? undefined,
    measurementResult: claims.measres ?? undefined,
    secureBoot: claims.secboot ?? undefined,
    debugStatus: claims.dbgstat ?? undefined,
    driverVersion: claims['x-nvidia-gpu-driver-version'] ?? undefined,
    firmwareVersion: firmware ?? undefined,
    all: new Map(Object.entries(record)),
  };
}

/** Where a token repeats its kind and version, as NVIDIA's own tools do, they must be those it is judged by. */
function checkOwnWord(
  claims: z.infer<typeof deviceSchema>,
  kind: DeviceKind,
  version: ClaimsVersion,
  what: string,
): void {
  const ownVersion = claims['x-nvidia-gpu-claims-version'] ?? version;
  if (ownVersion !== version) {
    throw new Refusal('MALFORMED', `${what} has claims of version ${quoted(ownVersion)}, not ${version}`);
  }
  const ownKind = claims['x-nvidia-device-type']?.toLowerCase() ?? kind;
  if (ownKind !== kind && ownKind !== `nv${kind}`) {
    throw new Refusal('MALFORMED', `${what} is of a device of type ${quoted(ownKind)}`);
  }
}

function readErrorClaims(record: unknown, what: string): ErrorClaims {
  const claims = readShape(errorSchema, record, what);
  const { code, message, description } = claims[ERROR];
  const words = [message, description].filter((part) => typeof part === 'string').join(': ');
  return { kind: 'error', ...tokenClaims(claims), code, message: words.trim() };
}

function tokenClaims({
  iss,
  nbf,
  iat,
  exp,
}: Readonly<Record<'nbf' | 'iat' | 'exp', number>> & { readonly iss: string }): TokenClaims {
  return { issuer: iss, notBefore: nbf, issuedAt: iat, expiresAt: exp };
}
