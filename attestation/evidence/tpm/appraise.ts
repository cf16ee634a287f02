import { equalBytes, toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check, type CheckId } from '../../checks.ts';
import type { RefusalCode } from '../../errors.ts';
import { nearestReference } from '../../policy/nearestReference.ts';
import type { Reference } from '../../policy/shapes.ts';
import type { TpmPcrReferences, TpmPolicy } from '../../policy/tpm.ts';
import type { VerifiedAk } from './ak.ts';
import type { VerifiedTpmQuote } from './verify.ts';

/**
 * Judges a verified quote and its key under the policy. The checks come in the order of the list of checks. Whether
 * `extraData` is a nonce or commits to a statement is the caller's to say: see `checkExtraData`.
 */
export function appraiseTpm(quote: VerifiedTpmQuote, ak: VerifiedAk, policy: TpmPolicy): readonly Check[] {
  return [
    checkClock(quote, policy),
    checkFirmware(quote, policy),
    checkIdentity(quote, ak, policy),
    checkPcrs(quote, policy),
  ];
}

/** Whether the quote was made for these bytes, under the check and the code that they stand for. */
export function checkExtraData(
  { attest, subject }: VerifiedTpmQuote,
  expected: Uint8Array,
  { id, code }: { readonly id: CheckId; readonly code: RefusalCode },
): Check {
  const seen = toHex(attest.extraData) || 'empty';
  return equalBytes(attest.extraData, expected)
    ? pass(id, subject, `extraData of the quote is ${seen}`)
    : fail(id, subject, code, `extraData of the quote is ${seen}, expected ${toHex(expected) || 'empty'}`);
}

/** What no quote can exclude where the TPM is the host's: said on every verdict that rests on one. */
export function hostTpmLimit(subject = 'cpu'): Check {
  const reason = 'the TPM is made by the host, which can read and change the memory of the VM';
  return skip('limits.host-tpm', subject, 'NOT_EXCLUDED', reason);
}

/** A clock that is not safe may have run back: an older and a newer quote of one boot cannot be told apart by it. */
function checkClock({ attest: { clockInfo }, subject }: VerifiedTpmQuote, { clock }: TpmPolicy): Check {
  const id = 'cpu.guest-policy';
  const counts = `${clockInfo.clock} ms, reset ${clockInfo.resetCount}, restart ${clockInfo.restartCount}`;
  const seen = `clock of the TPM at ${counts}`;
  if (clockInfo.safe) return pass(id, subject, `${seen}, safe`);
  if (clock === 'safe') return fail(id, subject, 'GUEST_POLICY_VIOLATED', `${seen}, not safe`);
  return skip(id, subject, 'NOT_REQUIRED', `${seen}, not safe, which the policy accepts`);
}

/** Versions are the vendor's numbers: a minimum makes sense for TPMs of one vendor. */
function checkFirmware({ attest, subject }: VerifiedTpmQuote, { minimumFirmware }: TpmPolicy): Check {
  const id = 'cpu.tcb';
  const seen = `firmware of the TPM is ${attest.firmwareVersion.toString(16).padStart(16, '0')}`;
  if (minimumFirmware === 'any')
    return skip(id, subject, 'NOT_REQUIRED', `${seen}; the policy sets no minimum`);
  const reason = `${seen}; minimum ${minimumFirmware}`;
  return attest.firmwareVersion >= BigInt(`0x${minimumFirmware}`)
    ? pass(id, subject, reason)
    : fail(id, subject, 'TCB_OUT_OF_DATE', reason);
}

function checkIdentity(
  { akSpki, subject }: VerifiedTpmQuote,
  ak: VerifiedAk,
  { attestationKeys, googleProjects }: TpmPolicy,
): Check {
  const id = 'cpu.identity';
  const key = `attestation key ${ak.spkiSha256}`;
  if (!equalBytes(akSpki, ak.spki)) {
    return fail(id, subject, 'UNTRUSTED_KEY', `the quote is by another key than ${key}`);
  }
  if (attestationKeys !== 'any' && !attestationKeys.includes(ak.spkiSha256)) {
    return fail(id, subject, 'DEVICE_NOT_ALLOWED', `${key} is not among ${attestationKeys.length} listed`);
  }
  const instance = ak.certificate?.instance;
  if (instance && !instance.security?.production) {
    return fail(
      id,
      subject,
      'DEVICE_NOT_ALLOWED',
      `${key} is of a host that Google does not call production`,
    );
  }
  if (googleProjects !== 'any' && !(instance && googleProjects.includes(instance.projectNumber))) {
    const project = instance ? `Google project ${instance.projectNumber}` : 'no Google project';
    return fail(
      id,
      subject,
      'DEVICE_NOT_ALLOWED',
      `${key} is of ${project}; the policy names ${googleProjects.join(', ')}`,
    );
  }
  const project = instance ? ` of Google project ${instance.projectNumber}` : '';
  const rule = attestationKeys === 'any' ? 'the policy allows any key' : 'listed';
  return pass(id, subject, `${key}${project}: ${rule}`);
}

/** One register against what is expected in it. */
interface Comparison {
  readonly code: 'OK' | 'MEASUREMENT_MISMATCH' | 'EVIDENCE_INCOMPLETE' | 'REFERENCE_VALUES_MISSING';
  readonly reason: string;
}

/** Worst first: other software stays other software while a reference value elsewhere is missing. */
const FAILURES = ['MEASUREMENT_MISMATCH', 'EVIDENCE_INCOMPLETE', 'REFERENCE_VALUES_MISSING'] as const;

function checkPcrs({ pcrs, subject }: VerifiedTpmQuote, policy: TpmPolicy): Check {
  const id = 'cpu.measurement';
  if (policy.pcrs === 'any') {
    const banks = pcrs.map(({ hash, values }) => `${hash} ${[...values.keys()].join(' ')}`).join('; ');
    return skip(id, subject, 'NOT_REQUIRED', `PCRs ${banks} are quoted; the policy accepts any values`);
  }
  const { bank } = policy.pcrs;
  const values = pcrs.find(({ hash }) => hash === bank)?.values;
  const compared = entriesOf(policy.pcrs).map(([index, references]) =>
    compare(`PCR ${index} of ${bank}`, values?.get(index), references),
  );
  for (const code of FAILURES) {
    const failed = compared.filter((comparison) => comparison.code === code);
    if (failed.length > 0) return fail(id, subject, code, failed.map(({ reason }) => reason).join('; '));
  }
  return pass(id, subject, compared.map(({ reason }) => reason).join('; '));
}

function entriesOf({ values }: TpmPcrReferences): readonly (readonly [number, readonly Reference[]])[] {
  return Object.entries(values).map(([index, references]) => [Number(index), references]);
}

function compare(
  register: string,
  value: Uint8Array | undefined,
  references: readonly Reference[],
): Comparison {
  if (!value) return { code: 'EVIDENCE_INCOMPLETE', reason: `the quote does not cover ${register}` };
  const seen = toHex(value);
  const known = references.find((reference) => reference.value === seen);
  if (known) return { code: 'OK', reason: `${register} is ${known.name}` };
  const nearest = nearestReference(seen, references);
  if (!nearest) {
    return {
      code: 'REFERENCE_VALUES_MISSING',
      reason: `no reference value for ${register}, which is ${seen}`,
    };
  }
  const of = `nearest of ${references.length} is ${nearest.name}: ${nearest.value}`;
  return { code: 'MEASUREMENT_MISMATCH', reason: `${register} is ${seen}; ${of}` };
}
