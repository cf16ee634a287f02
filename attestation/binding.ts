import { isZero } from './bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from './cbor/deterministic.ts';
import {
  asArray,
  asBoolean,
  asBytes,
  asCount,
  asFixedBytes,
  asLabel,
  asText,
  asTuple,
} from './cbor/shape.ts';
import { sha256With, type CryptoProvider } from './crypto/provider.ts';
import { Refusal } from './errors.ts';
import type { DeviceEvidence } from './evidence/evidence.ts';
import { leafHash } from './log/merkle.ts';

/**
 * What the hardware reports commit to (DESIGN section 4): the CPU report through `reportData`, the device reports
 * through `gpuNonce`. Used by both sides, so that issuer and verifier cannot differ.
 */
const STATEMENT_LABEL = 'vouchsafe/binding/1';
const GPU_NONCE_LABEL = 'vouchsafe/gpu-nonce/1';
const DEVICES_LABEL = 'vouchsafe/devices/1';
const REPORT_DATA_LABEL = 'vouchsafe/report-data/1';

export const NONCE_BYTES = 32;
/** Most nonces that one evidence document answers. */
export const MAX_NONCES = 4096;
/** Most devices of one document, and certificates of one chain. */
const MAX_DEVICES = 64;
const MAX_CERTIFICATES = 8;

const NONE = new Uint8Array(0);

export interface Statement {
  /** Position in the instance's line of evidence documents. */
  readonly seq: number;
  /** True in the last document of an instance. */
  readonly final: boolean;
  readonly keysetDigest: Uint8Array;
  readonly nonceCount: number;
  readonly nonceRoot: Uint8Array;
  readonly logSize: number;
  readonly logRoot: Uint8Array;
  /** Digest of document seq - 1; undefined at seq 0. */
  readonly previous: Uint8Array | undefined;
  /** SHA-256 of the time anchor inside the document; undefined without one. */
  readonly timeAnchor: Uint8Array | undefined;
}

export function encodeStatement(statement: Statement): Uint8Array {
  return encodeDc([
    STATEMENT_LABEL,
    statement.seq,
    statement.final,
    statement.keysetDigest,
    statement.nonceCount,
    statement.nonceRoot,
    statement.logSize,
    statement.logRoot,
    statement.previous ?? NONE,
    statement.timeAnchor ?? NONE,
  ]);
}

export function parseStatement(encoded: Uint8Array): Statement {
  const [label, seq, final, keysetDigest, nonceCount, nonceRoot, logSize, logRoot, previous, timeAnchor] =
    asTuple(decodeDc(encoded), 'statement', 10);
  asLabel(label, 'statement label', STATEMENT_LABEL);
  const statement = {
    seq: asCount(seq, 'statement seq'),
    final: asBoolean(final, 'statement final'),
    keysetDigest: asFixedBytes(keysetDigest, 'statement keyset digest', 32),
    nonceCount: asCount(nonceCount, 'statement nonce count'),
    nonceRoot: asFixedBytes(nonceRoot, 'statement nonce root', 32),
    logSize: asCount(logSize, 'statement log size'),
    logRoot: asFixedBytes(logRoot, 'statement log root', 32),
    previous: optionalDigest(previous, 'statement previous'),
    timeAnchor: optionalDigest(timeAnchor, 'statement time anchor'),
  };
  if ((statement.seq === 0) !== (statement.previous === undefined)) {
    throw new Refusal('MALFORMED', 'statement seq and previous contradict each other');
  }
  if (statement.nonceCount > MAX_NONCES) {
    throw new Refusal(
      'MALFORMED',
      `statement answers ${statement.nonceCount} nonces, more than ${MAX_NONCES}`,
    );
  }
  return statement;
}

function optionalDigest(value: Dc | undefined, what: string): Uint8Array | undefined {
  const bytes = asBytes(value, what);
  return bytes.length === 0 ? undefined : asFixedBytes(bytes, what, 32);
}

/** `b`: what all reports of one document have in common. */
export function statementDigest(encoded: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', encoded);
}

/** The nonce of every device report. */
export function gpuNonce(b: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', encodeDc([GPU_NONCE_LABEL, b]));
}

/** The devices as `g` commits to them: reports and chains in the order shown, GPUs first. */
export function encodeDevices(devices: readonly DeviceEvidence[]): Uint8Array {
  return encodeDc([
    DEVICES_LABEL,
    devices.map(({ kind, report, certificates }) => [kind, report, certificates]),
  ]);
}

export function parseDevices(encoded: Uint8Array): readonly DeviceEvidence[] {
  const [label, list] = asTuple(decodeDc(encoded), 'devices', 2);
  asLabel(label, 'devices label', DEVICES_LABEL);
  const entries = asArray(list, 'devices');
  if (entries.length > MAX_DEVICES) throw new Refusal('MALFORMED', `more than ${MAX_DEVICES} devices`);
  const devices = entries.map(parseDeviceEntry);
  const firstSwitch = devices.findIndex(({ kind }) => kind === 'switch');
  if (firstSwitch !== -1 && devices.slice(firstSwitch).some(({ kind }) => kind === 'gpu')) {
    throw new Refusal('MALFORMED', 'a GPU stands after a switch');
  }
  return devices;
}

function parseDeviceEntry(value: Dc): DeviceEvidence {
  const [kind, report, certificates] = asTuple(value, 'device', 3);
  const kindText = asText(kind, 'device kind');
  if (kindText !== 'gpu' && kindText !== 'switch') throw new Refusal('MALFORMED', `device kind ${kindText}`);
  const chain = asArray(certificates, 'device certificates');
  if (chain.length > MAX_CERTIFICATES) {
    throw new Refusal('MALFORMED', `device chain of more than ${MAX_CERTIFICATES} certificates`);
  }
  return {
    kind: kindText,
    report: asBytes(report, 'device report'),
    certificates: chain.map((certificate) => asBytes(certificate, 'device certificate')),
  };
}

/** `g`: the digest of the encoded devices. */
export function devicesDigest(encodedDevices: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', encodedDevices);
}

/** The 64 bytes that the CPU report carries. */
export function reportData(b: Uint8Array, g: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha512', encodeDc([REPORT_DATA_LABEL, b, g]));
}

/** TPM `extraData`, which is too short for the 64 bytes. */
export function tpmExtraData(reportDataBytes: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', reportDataBytes);
}

/** Leaf of the nonce tree: an RFC 9162 leaf over the nonce. */
export function nonceLeaf(nonce: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return leafHash(sha256With(crypto), nonce);
}

/** 32 bytes and not all zero: a zero nonce is what a lazy asker and a replayer share. */
export function isNonce(nonce: Uint8Array): boolean {
  return nonce.length === NONCE_BYTES && !isZero(nonce);
}

/** Refuses what is no nonce as `NONCE_INVALID`. */
export function checkNonce(nonce: Uint8Array): void {
  if (!isNonce(nonce)) {
    throw new Refusal('NONCE_INVALID', `a nonce is ${NONCE_BYTES} bytes and not all zero`);
  }
}
