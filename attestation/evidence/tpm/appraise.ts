import { equalBytes, toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check, type CheckId } from '../../checks.ts';
import type { RefusalCode } from '../../errors.ts';
import { conclude, judgeReference, violated, type Finding } from '../../policy/finding.ts';
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

function checkPcrs({ pcrs, subject }: VerifiedTpmQuote, policy: TpmPolicy): Check {
  const id = 'cpu.measurement';
  if (policy.pcrs === 'any') {
    const banks = pcrs.map(({ hash, values }) => `${hash} ${[...values.keys()].join(' ')}`).join('; ');
    return skip(id, subject, 'NOT_REQUIRED', `PCRs ${banks} are quoted; the policy accepts any values`);
  }
  const { bank } = policy.pcrs;
  const values = pcrs.find(({ hash }) => hash === bank)?.values;
  const findings = entriesOf(policy.pcrs).map(([index, references]) =>
    judgeRegister(`PCR ${index} of ${bank}`, values?.get(index), references),
  );
  return conclude(id, subject, findings.toSorted(otherSoftwareFirst), true);
}

/** Other software stays other software while the quote leaves out another register. */
function otherSoftwareFirst(a: Finding, b: Finding): number {
  const isOther = (finding: Finding) =>
    finding.kind === 'violated' && finding.code === 'MEASUREMENT_MISMATCH';
  return Number(isOther(b)) - Number(isOther(a));
}

function entriesOf({ values }: TpmPcrReferences): readonly (readonly [number, readonly Reference[]])[] {
  return Object.entries(values).map(([index, references]) => [Number(index), references]);
}

function judgeRegister(
  register: string,
  value: Uint8Array | undefined,
  references: readonly Reference[],
): Finding {
  return value
    ? judgeReference(register, value, references)
    : violated('EVIDENCE_INCOMPLETE', `the quote does not cover ${register}`);
}
