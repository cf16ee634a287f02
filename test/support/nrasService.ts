import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { toBase64, toBase64Url, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { readSentDevice, type SentDevice } from '../../attestation/evidence/nras/sentDevice.ts';
import {
  issueCertificate,
  signerExtension,
  simulatedName,
} from '../../enclave/collect/simulated/certificate.ts';

export type Json = Record<string, unknown>;
export type Kind = SentDevice['kind'];
export type Version = '2.0' | '3.0' | '4.0';

export const NOW = Date.parse('2026-11-21T12:00:00Z');
export const NONCE = Uint8Array.from({ length: 32 }, (_, i) => i + 1);
export const PRODUCTION = 'https://nras.attestation.nvidia.com';
export const STAGING = 'https://nras.attestation-stg.nvidia.com';
/** Seconds before `NOW` at which tokens are signed. */
const AGE = 30;
const LIFETIME = 3600;

/** A signature key of the service, as its key set has it. */
export interface NrasKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: Json;
}

export function mintKey(kid = 'nv-eat-kid-prod-20261121000000000-0001'): NrasKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const { x, y } = publicKey.export({ format: 'jwk' });
  return { kid, privateKey, publicKey, jwk: { kty: 'EC', crv: 'P-384', kid, x, y } };
}

/** `x5c` as the service writes it: a certificate of the key. */
export function certificateOf({ privateKey, kid }: NrasKey, of: NrasKey): string {
  const certificate = issueCertificate(
    {
      subject: simulatedName('Attestation Service'),
      serial: Uint8Array.of(7),
      notBefore: new Date(NOW - 86_400_000),
      notAfter: new Date(NOW + 86_400_000),
      publicKey: of.publicKey,
      extensions: [signerExtension()],
    },
    { name: simulatedName(kid), key: privateKey },
  );
  return toBase64(certificate);
}

export function keySet(...jwks: readonly Json[]): Uint8Array {
  return utf8(JSON.stringify({ keys: jwks }));
}

export function encodePart(value: unknown): string {
  return toBase64Url(utf8(JSON.stringify(value)));
}

/** A compact JWS; header members of undefined are left out. */
export function signToken(key: NrasKey, payload: unknown, header: Json = {}): string {
  const signed = `${encodePart({ kid: key.kid, alg: 'ES384', ...header })}.${encodePart(payload)}`;
  return `${signed}.${toBase64Url(signP384(key, signed))}`;
}

export function signP384({ privateKey }: NrasKey, text: string): Uint8Array {
  return new Uint8Array(sign('sha384', Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' }));
}

const MODELS: Readonly<Record<Kind, string>> = { gpu: 'GH100 A01 GSP BROM', switch: 'LS_10 A01 FSP BROM' };
const authority = mintKey('authority');

/** Leaf and boot ROM of a device of ours. Nobody verifies them here: the service did, they say. */
export function mintDevice(kind: Kind, serial: number, model = MODELS[kind]): SentDevice {
  const certificate = (name: string, bytes: Uint8Array) =>
    issueCertificate(
      {
        subject: simulatedName(name),
        serial: bytes,
        notBefore: new Date('2020-01-01T00:00:00Z'),
        notAfter: new Date('9999-12-31T23:59:59Z'),
        publicKey: authority.publicKey,
        extensions: [signerExtension()],
      },
      { name: simulatedName('SIMULATED'), key: authority.privateKey },
    );
  const leaf = new Uint8Array(20).fill(0x53);
  leaf[19] = serial;
  const bootRom = Uint8Array.of(kind === 'gpu' ? 0x41 : 0x50, serial);
  return { kind, certificates: [certificate('leaf', leaf), certificate(model, bootRom)] };
}

export function times(changes: Json = {}): Json {
  const iat = NOW / 1000 - AGE;
  return { iss: PRODUCTION, nbf: iat, iat, exp: iat + LIFETIME, jti: 'a-token', ...changes };
}

const GOOD_CHAIN = {
  'x-nvidia-cert-status': 'valid',
  'x-nvidia-cert-ocsp-status': 'good',
  'x-nvidia-cert-expiration-date': '9999-12-31T23:59:59Z',
  'x-nvidia-cert-revocation-reason': null,
};

/** Claims of a device that passed, as each version writes them; changes of undefined leave a claim out. */
export function deviceClaims(device: SentDevice, version: Version, changes: Json = {}): Json {
  const { kind } = device;
  const { ueid, model } = readSentDevice(device);
  const manifests = kind === 'gpu' ? ['driver-rim', 'vbios-rim'] : ['bios-rim'];
  const report = 'attestation-report';
  const flags = [
    ...['arch-check', `${report}-parsed`, `${report}-nonce-match`, `${report}-signature-verified`],
    ...manifests.flatMap((rim) => [
      `${rim}-fetched`,
      `${rim}-signature-verified`,
      `${rim}-measurements-available`,
      ...(version === '4.0' ? [] : [`${rim}-schema-validated`]),
      version === '2.0' ? `${rim}-cert-validated` : `${rim}-version-match`,
    ]),
    ...(kind === 'gpu' ? ['vbios-index-no-conflict'] : []),
    version === '2.0' ? `${report}-cert-chain-validated` : `${report}-cert-chain-fwid-match`,
  ];
  const chains =
    version === '2.0' ? [] : [`${report}-cert-chain`, ...manifests.map((rim) => `${rim}-cert-chain`)];
  const named = (names: readonly string[], value: unknown) =>
    Object.fromEntries(names.map((name) => [`x-nvidia-${kind}-${name}`, value]));
  return {
    ...times(),
    eat_nonce: toHex(NONCE),
    ueid,
    hwmodel: version === '2.0' ? model.split(' ')[0] : model,
    oemid: kind === 'gpu' ? '5703' : null,
    measres: 'success',
    secboot: true,
    dbgstat: 'disabled',
    'x-nvidia-attestation-warning': null,
    ...(kind === 'gpu'
      ? { 'x-nvidia-gpu-driver-version': '550.90.07', 'x-nvidia-gpu-vbios-version': '96.00.9F.00.01' }
      : { 'x-nvidia-switch-bios-version': '96.10.55.00.01' }),
    ...named(flags, true),
    ...named(chains, GOOD_CHAIN),
    ...changes,
  };
}

/** What the service answers for a device that it could not judge. */
export function errorClaims(code = 4010, message = 'NONCE_NOT_MATCHING'): Json {
  return {
    ...times(),
    'x-nvidia-error-details': {
      code,
      message,
      fieldName: 'nonce',
      httpStatus: '400 BAD_REQUEST',
      description: '',
    },
  };
}

export type Tokens = Readonly<Record<string, string>>;

export function digestsOf(tokens: Tokens, algorithm = 'SHA-256'): Json {
  const digest = (text: string) => createHash('sha256').update(text, 'ascii').digest('hex');
  return Object.fromEntries(
    Object.entries(tokens).map(([label, text]) => [label, ['DIGEST', [algorithm, digest(text)]]]),
  );
}

export function overallClaims(tokens: Tokens, version: Version, changes: Json = {}): Json {
  return {
    ...times(),
    sub: 'NVIDIA-PLATFORM-ATTESTATION',
    'x-nvidia-ver': version,
    'x-nvidia-overall-att-result': true,
    eat_nonce: toHex(NONCE),
    submods: digestsOf(tokens),
    ...changes,
  };
}

export function encodeAnswer(overall: string, tokens: Tokens): Uint8Array {
  return utf8(JSON.stringify([['JWT', overall], tokens]));
}

export interface AnswerChanges {
  readonly version?: Version;
  /** Claims of every device token. */
  readonly device?: Json;
  readonly overall?: Json;
  /** In place of the tokens of the devices. */
  readonly tokens?: Tokens;
}

/** The tokens that the service answers for the devices, numbered by kind. */
export function issueTokens(
  key: NrasKey,
  devices: readonly SentDevice[],
  version: Version = '3.0',
  changes: Json = {},
): Tokens {
  const counts = { gpu: 0, switch: 0 };
  const entries = devices.map((device) => {
    const label = `${device.kind.toUpperCase()}-${counts[device.kind]++}`;
    return [label, signToken(key, deviceClaims(device, version, changes))] as const;
  });
  return Object.fromEntries(entries);
}

/** The whole answer of the service for the devices. */
export function issueAnswer(
  key: NrasKey,
  devices: readonly SentDevice[],
  changes: AnswerChanges = {},
): Uint8Array {
  const { version = '3.0' } = changes;
  const tokens = changes.tokens ?? issueTokens(key, devices, version, changes.device);
  return encodeAnswer(signToken(key, overallClaims(tokens, version, changes.overall)), tokens);
}
