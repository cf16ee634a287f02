import type { RefusalCode } from '../../../attestation/errors.ts';
import type { Failure } from './outcome.ts';

/** A failure of ours: where it is made, with which codes, and where codes are broad with which words. */
interface Own {
  readonly checks: readonly Failure['check'][];
  readonly codes: readonly RefusalCode[];
  readonly reason?: RegExp;
}

/** What we say where the corpus names a failed check. */
interface Meaning {
  /** Any of these shows that we refuse for the reason of that name. */
  readonly shownBy: readonly Own[];
  /** What the same fault also breaks, though the corpus does not name it: no reason by itself. */
  readonly followedBy?: readonly Own[];
}

const own = (check: Failure['check'], ...codes: readonly RefusalCode[]): Own => ({ checks: [check], codes });

const DEVICE: Readonly<Record<string, Meaning>> = {
  'device.parsed': { shownBy: [own('device.format', 'MALFORMED', 'UNSUPPORTED', 'EVIDENCE_INCOMPLETE')] },
  'device.signatureBytes96': { shownBy: [own('device.format', 'MALFORMED')] },
  'device.nonceMatch': { shownBy: [own('device.nonce', 'NONCE_MISMATCH')] },
  'device.reportSignature': {
    // A chain of another kind of device is refused before its key is tried.
    shownBy: [own('device.signature', 'SIGNATURE_INVALID'), own('device.chain', 'PRODUCT_MISMATCH')],
  },
  'device.chainLinks': { shownBy: [own('device.chain', 'CERT_CHAIN_INVALID', 'MALFORMED', 'UNSUPPORTED')] },
  'device.chainLength5': {
    shownBy: [
      { checks: ['device.chain'], codes: ['CERT_MISSING', 'CERT_CHAIN_INVALID'], reason: /\d certificates/ },
    ],
  },
  'device.rootPinned': { shownBy: [own('device.chain', 'UNTRUSTED_ROOT')] },
  'device.certsValidAtVerifyAt': { shownBy: [own('device.chain', 'CERT_EXPIRED')] },
  'device.fwidMatch': { shownBy: [own('device.firmware-id', 'FIRMWARE_ID_MISMATCH', 'EVIDENCE_INCOMPLETE')] },
  measurements: { shownBy: [own('device.measurements', 'MEASUREMENT_MISMATCH')] },
};

/** By the part that the manifest is for. A switch has one part, whose check is that of a VBIOS. */
const REFERENCE: Readonly<Record<'driver' | 'vbios' | 'bios' | '', readonly Failure['check'][]>> = {
  driver: ['device.driver-reference'],
  vbios: ['device.vbios-reference'],
  bios: ['device.vbios-reference'],
  '': ['device.driver-reference', 'device.vbios-reference', 'manifest'],
};

function manifest(part: keyof typeof REFERENCE): readonly (readonly [string, Meaning])[] {
  const checks = REFERENCE[part];
  const shown = (reason: RegExp | undefined, ...codes: readonly RefusalCode[]): Own =>
    reason ? { checks, codes, reason } : { checks, codes };
  const meanings: Readonly<Record<string, Meaning>> = {
    doctype: { shownBy: [shown(/DOCTYPE/, 'MALFORMED')] },
    layout: { shownBy: [shown(undefined, 'MALFORMED', 'UNSUPPORTED')] },
    signature: {
      shownBy: [
        shown(undefined, 'SIGNATURE_INVALID'),
        // A signature that brings a key, or anything else beside its four certificates, is refused unread.
        shown(/KeyInfo|X509Data|signature|Signature|SignedInfo|Reference/, 'MALFORMED', 'UNSUPPORTED'),
      ],
    },
    chainLinks: { shownBy: [shown(undefined, 'CERT_CHAIN_INVALID', 'CERT_MISSING')] },
    rootPinned: { shownBy: [shown(undefined, 'UNTRUSTED_ROOT')] },
    certsValidAtVerifyAt: {
      shownBy: [shown(undefined, 'CERT_EXPIRED')],
      // At a time when a signer is out of date the OCSP responses are, which live a day.
      followedBy: [
        own('device.reference-revocation', 'COLLATERAL_EXPIRED', 'COLLATERAL_NOT_YET_VALID', 'CERT_EXPIRED'),
      ],
    },
    versionMatch: { shownBy: [shown(undefined, 'COLLATERAL_MISMATCH')] },
    productMatch: { shownBy: [shown(undefined, 'PRODUCT_MISMATCH')] },
  };
  const prefix = part === '' ? 'rim' : `rim.${part}`;
  return Object.entries(meanings).map(([name, meaning]) => [`${prefix}.${name}`, meaning] as const);
}

const ocsp = (...codes: readonly RefusalCode[]): Meaning => ({
  shownBy: [{ checks: ['device.revocation', 'device.reference-revocation'], codes }],
});

const OCSP: Readonly<Record<string, Meaning>> = {
  'ocsp.missing': ocsp('COLLATERAL_MISSING'),
  // Responses lie in one heap: one of another certificate is none for this one.
  'ocsp.certId': ocsp('COLLATERAL_MISMATCH', 'COLLATERAL_MISSING'),
  'ocsp.stale': ocsp('COLLATERAL_EXPIRED', 'COLLATERAL_NOT_YET_VALID'),
  'ocsp.responderExpired': ocsp('CERT_EXPIRED'),
  'ocsp.status': ocsp('CERT_REVOKED', 'CERT_ON_HOLD', 'CERT_STATUS_UNKNOWN'),
};

const TOKEN: Readonly<Record<string, Meaning>> = {
  'eat.alg': { shownBy: [own('token.signature', 'ALGORITHM_MISMATCH')] },
  'eat.kid': { shownBy: [own('token.signature', 'UNTRUSTED_KEY', 'COLLATERAL_MISSING')] },
  'eat.signature': { shownBy: [own('token.signature', 'SIGNATURE_INVALID')] },
  'eat.iss': { shownBy: [own('token.signature', 'UNTRUSTED_KEY')] },
  'eat.exp': { shownBy: [own('token.time', 'EVIDENCE_STALE')] },
  'eat.nbf': { shownBy: [own('token.time', 'COLLATERAL_NOT_YET_VALID')] },
  'eat.nonce': {
    shownBy: [own('token.nonce', 'NONCE_MISMATCH', 'NONCE_INVALID')],
    // The reports that were sent carry the nonce of the token.
    followedBy: [own('device.nonce', 'NONCE_MISMATCH')],
  },
  'eat.overallResult': {
    shownBy: [own('token.result', 'TOKEN_RESULT_NEGATIVE')],
    // Of a device that did not pass the service says no more than that.
    followedBy: [
      own('token.result', 'MEASUREMENT_MISMATCH', 'EVIDENCE_INCOMPLETE'),
      own('token.devices', 'TOKEN_RESULT_NEGATIVE', 'EVIDENCE_INCOMPLETE', 'DEBUG_ENABLED'),
    ],
  },
  'eat.submodCount': {
    shownBy: [
      own('token.submodules', 'TOKEN_SUBMODULE_MISMATCH'),
      own('token.devices', 'DEVICE_COUNT_MISMATCH'),
    ],
  },
  'eat.submodMissing': { shownBy: [own('token.submodules', 'TOKEN_SUBMODULE_MISMATCH')] },
  'eat.submodDigest': {
    shownBy: [own('token.submodules', 'TOKEN_SUBMODULE_MISMATCH', 'ALGORITHM_MISMATCH')],
  },
  'eat.ueid': { shownBy: [own('token.devices', 'CHIP_ID_MISMATCH', 'EVIDENCE_INCOMPLETE')] },
};

const count: Meaning = {
  shownBy: [own('devices.topology', 'TOPOLOGY_MISMATCH'), own('devices.count', 'DEVICE_COUNT_MISMATCH')],
};
const duplicate: Meaning = {
  shownBy: [own('devices.distinct', 'DEVICE_DUPLICATE'), own('token.devices', 'DEVICE_DUPLICATE')],
  // A device that stands in the place of another leaves that one out.
  followedBy: [own('devices.topology', 'TOPOLOGY_MISMATCH')],
};

const SET: Readonly<Record<string, Meaning>> = {
  'mode.mixed': { shownBy: [own('devices.mode', 'DEVICE_MODE_FORBIDDEN')] },
  duplicateDevice: duplicate,
  'topology.gpuCount': count,
  'topology.switchCount': count,
  'topology.duplicateDevice': duplicate,
  'topology.switchSelfPdisEqualThatSet': { shownBy: [own('devices.topology', 'TOPOLOGY_MISMATCH')] },
};

/** The check names of the GPU corpus and our checks and codes. A name that is not here agrees with nothing. */
export const GPU_REASONS: Readonly<Record<string, Meaning>> = {
  ...DEVICE,
  ...Object.fromEntries((['driver', 'vbios', 'bios', ''] as const).flatMap(manifest)),
  ...OCSP,
  ...TOKEN,
  ...SET,
};

/**
 * Every failure that decides is one of the stated names, and at least one shows such a name. `prefix` is what a name
 * may leave out. Gives why not, or undefined. Throws for a name that is not known.
 */
export function disagreement(
  deciding: readonly Failure[],
  stated: readonly string[],
  prefix: 'device' | 'rim',
): string | undefined {
  if (stated.length === 0) throw new Error('the case names no failing check');
  const meanings = stated.map((name) => meaningOf(name, prefix));
  const shown = meanings.flatMap(({ shownBy }) => shownBy);
  const followed = meanings.flatMap(({ followedBy = [] }) => followedBy);
  const other = deciding.find((failure) => ![...shown, ...followed].some((known) => is(failure, known)));
  if (other) return `${other.check} ${other.code} is no ${stated.join(' or ')}: ${other.reason}`;
  if (deciding.some((failure) => shown.some((known) => is(failure, known)))) return undefined;
  return `nothing shows ${stated.join(' or ')}`;
}

function meaningOf(name: string, prefix: string): Meaning {
  const key = [name, `${prefix}.${name}`].find((candidate) => Object.hasOwn(GPU_REASONS, candidate));
  const meaning = key === undefined ? undefined : GPU_REASONS[key];
  if (!meaning) throw new Error(`the check name «${name}» is not known`);
  return meaning;
}

function is({ check, code, reason }: Failure, known: Own): boolean {
  return known.checks.includes(check) && known.codes.includes(code) && (known.reason?.test(reason) ?? true);
}
