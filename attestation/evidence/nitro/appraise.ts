import { equalBytes, isZero, toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check } from '../../checks.ts';
import type { NitroPolicy, NitroTpmPolicy } from '../../policy/nitro.ts';
import { isoTime } from '../../x509/time.ts';
import type { NitroDocument, NitroKind } from './parse.ts';
import type { VerifiedNitro } from './verify.ts';

const SUBJECT = 'cpu';
/** Registers of the image: zero where the enclave runs in debug mode. */
const IMAGE_PCRS = [0, 1, 2] as const;

/** What the policies of enclaves and of NitroTPM have in common. */
type CommonPolicy = Omit<NitroPolicy, 'debug' | 'measurements'> & {
  readonly measurements: 'any' | readonly RegisterSet[];
};
interface RegisterSet {
  readonly name: string;
  readonly pcrs: Readonly<Partial<Record<string, string>>>;
}

/** Judges a verified document of an enclave under the policy. The checks come in the order of the list of checks. */
export function appraiseNitro(verified: VerifiedNitro, policy: NitroPolicy): readonly Check[] {
  if (verified.document.kind !== 'enclave') return [wrongKind('enclave')];
  return [
    checkAge(verified, policy),
    checkDebug(verified, policy),
    checkIdentity(verified, policy),
    checkMeasurement(verified, policy),
  ];
}

/**
 * Judges a verified document of NitroTPM under the policy. The Nitro hypervisor emulates the TPM: the registers say
 * what the instance booted, not that its memory is kept from its host.
 */
export function appraiseNitroTpm(verified: VerifiedNitro, policy: NitroTpmPolicy): readonly Check[] {
  if (verified.document.kind !== 'tpm') return [wrongKind('tpm')];
  return [
    checkAge(verified, policy),
    checkIdentity(verified, policy),
    checkMeasurement(verified, policy),
    skip(
      'limits.host-tpm',
      SUBJECT,
      'NOT_EXCLUDED',
      'the registers are of a TPM that the hypervisor emulates',
    ),
  ];
}

/**
 * Whether the document was made for `expected`, the 64 bytes of DESIGN section 4: `user_data` carries them, `nonce`
 * and `public_key` are absent, so that no other protocol's document can pass for ours.
 */
export function checkNitroBinding({ document }: VerifiedNitro, expected: Uint8Array): Check {
  const id = 'cpu.binding';
  const { userData, nonce, publicKey } = document;
  if (!userData || !equalBytes(userData, expected)) {
    const seen = userData ? toHex(userData) : 'absent';
    const reason = `user_data is ${seen}, the statement and devices give ${toHex(expected)}`;
    return fail(id, SUBJECT, 'BINDING_MISMATCH', reason);
  }
  const others = [nonce && `nonce ${toHex(nonce)}`, publicKey && `public_key ${toHex(publicKey)}`];
  const foreign = others.filter((item) => item !== undefined);
  if (foreign.length > 0) {
    const reason = `the document also carries ${foreign.join(' and ')}; ours carry neither`;
    return fail(id, SUBJECT, 'BINDING_MISMATCH', reason);
  }
  return pass(
    id,
    SUBJECT,
    'user_data commits to the statement and the devices; nonce and public_key are absent',
  );
}

/** A document of one kind under the policy of the other: the policy does not name this platform. */
function wrongKind(wanted: NitroKind): Check {
  const reason =
    wanted === 'enclave'
      ? 'the document is of NitroTPM, the policy is for an enclave'
      : 'the document is of an enclave, the policy is for NitroTPM';
  return fail('cpu.platform', SUBJECT, 'PLATFORM_NOT_ALLOWED', reason);
}

/** By the clock of the hypervisor, against the judged time. */
function checkAge({ document, judgedAt }: VerifiedNitro, { maximumAgeSeconds }: CommonPolicy): Check {
  const id = 'document.time';
  const seconds = Math.max(0, Math.round((judgedAt - document.timestamp) / 1000));
  const seen = `made ${isoTime(document.timestamp)}, ${seconds} s before the judged time`;
  if (maximumAgeSeconds === 'any') {
    return skip(id, SUBJECT, 'NOT_REQUIRED', `${seen}; the policy sets no maximum age`);
  }
  const reason = `${seen}; the policy accepts ${maximumAgeSeconds} s`;
  return judgedAt - document.timestamp <= maximumAgeSeconds * 1000
    ? pass(id, SUBJECT, reason)
    : fail(id, SUBJECT, 'EVIDENCE_STALE', reason);
}

/** No image has a digest of zero: one register of zero is enough to refuse. */
function checkDebug({ document: { pcrs } }: VerifiedNitro, { debug }: NitroPolicy): Check {
  const id = 'cpu.debug';
  const absent = IMAGE_PCRS.filter((index) => !pcrs.has(index));
  if (absent.length > 0) {
    const reason = `${namesOf(absent)} absent: nothing says that debug mode is off`;
    return fail(id, SUBJECT, 'EVIDENCE_INCOMPLETE', reason);
  }
  const zero = IMAGE_PCRS.filter((index) => isZero(pcrs.get(index) ?? new Uint8Array()));
  if (zero.length === 0) return pass(id, SUBJECT, 'PCR0, PCR1 and PCR2 are not zero: debug mode is off');
  const seen = `${namesOf(zero)} zero: debug mode is on`;
  if (debug === 'refused') return fail(id, SUBJECT, 'DEBUG_ENABLED', seen);
  return skip(id, SUBJECT, 'NOT_REQUIRED', `${seen}, which the policy accepts`);
}

/**
 * The module id is the hypervisor's word; the common name of its certificate, which begins with it, is that of the
 * authority above. A list of modules needs both.
 */
function checkIdentity({ document, leaf }: VerifiedNitro, { moduleIds }: CommonPolicy): Check {
  const id = 'cpu.identity';
  const { moduleId } = document;
  if (moduleIds === 'any') {
    return skip(id, SUBJECT, 'NOT_REQUIRED', `module ${moduleId}; the policy allows any`);
  }
  if (!namesModule(leaf.subject, moduleId)) {
    const reason = `the document is of module ${moduleId}, its certificate is for ${leaf.subject}`;
    return fail(id, SUBJECT, 'CHIP_ID_MISMATCH', reason);
  }
  const listed = moduleIds.some((allowed) => moduleId === allowed || moduleId.startsWith(`${allowed}-`));
  return listed
    ? pass(id, SUBJECT, `module ${moduleId} is listed`)
    : fail(id, SUBJECT, 'DEVICE_NOT_ALLOWED', `module ${moduleId} is not among ${moduleIds.length} listed`);
}

/** `CN=<module id>.<region>.aws`, whatever the order of the other attributes; a comma inside a value is escaped. */
function namesModule(subject: string, moduleId: string): boolean {
  return subject.split(/(?<!\\),\s*/).some((attribute) => attribute.startsWith(`CN=${moduleId}.`));
}

function checkMeasurement({ document }: VerifiedNitro, { measurements }: CommonPolicy): Check {
  const id = 'cpu.measurement';
  if (measurements === 'any') {
    return skip(id, SUBJECT, 'NOT_REQUIRED', `${describePcrs(document)}; the policy accepts any`);
  }
  const compared = measurements.map((set) => ({ set, differences: differencesFrom(document, set) }));
  const known = compared.find(({ differences }) => differences.length === 0);
  if (known) {
    const matched = namesOf(Object.keys(known.set.pcrs));
    return pass(id, SUBJECT, `${matched} those of ${known.set.name}`);
  }
  const [nearest] = compared.toSorted((a, b) => a.differences.length - b.differences.length);
  if (!nearest) {
    const reason = `no reference values for ${describePcrs(document)}`;
    return fail(id, SUBJECT, 'REFERENCE_VALUES_MISSING', reason);
  }
  const reason = `nearest of ${compared.length} is ${nearest.set.name}: ${nearest.differences.join('; ')}`;
  return fail(id, SUBJECT, 'MEASUREMENT_MISMATCH', reason);
}

/** Registers of the set that the document does not have with this value. */
function differencesFrom({ pcrs }: NitroDocument, set: RegisterSet): readonly string[] {
  return Object.entries(set.pcrs).flatMap(([index, expected]) => {
    const register = pcrs.get(Number(index));
    const seen = register ? toHex(register) : 'absent';
    return seen === expected ? [] : [`PCR${index} is ${seen}, expected ${expected ?? ''}`];
  });
}

/** Registers that were extended, for the author of a policy. */
function describePcrs({ pcrs }: NitroDocument): string {
  const extended = [...pcrs].filter(([, value]) => !isZero(value) && !value.every((byte) => byte === 0xff));
  return extended.map(([index, value]) => `PCR${index} ${toHex(value)}`).join(', ') || 'registers of zero';
}

function namesOf(indices: readonly (number | string)[]): string {
  const names = indices.map((index) => `PCR${index}`).join(', ');
  return `${names} ${indices.length === 1 ? 'is' : 'are'}`;
}
