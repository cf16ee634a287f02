import { skip, type Check } from '../../checks.ts';
import {
  conclude,
  judgeDebugBit,
  judgeReference,
  kept,
  violated,
  waived,
  type Finding,
} from '../../policy/finding.ts';
import type { SgxPolicy } from '../../policy/sgx.ts';
import { ENCLAVE_FLAGS, hasFlag, type EnclaveFlag, type EnclaveReport } from '../dcap/enclaveReport.ts';
import { judgeMask, judgeProtection, judgeWeakness } from '../dcap/attributeRules.ts';
import { checkIdentity } from '../dcap/identityCheck.ts';
import { checkTcb } from '../dcap/tcbCheck.ts';
import type { VerifiedSgx } from './verify.ts';

/** Judges a verified enclave under the policy. The checks come in the order of the list of checks. */
export function appraiseSgx(verified: VerifiedSgx, policy: SgxPolicy): readonly Check[] {
  const { report, quote } = verified;
  return [
    checkDebug(report, policy),
    checkGuestPolicy(report, policy),
    skip(
      'cpu.privilege',
      'cpu',
      'NOT_REQUIRED',
      'an SGX enclave has no privilege levels and nothing above it',
    ),
    checkTcb(verified, { qeIsvSvn: quote.signature.qeReport.isvSvn }, policy.tcb),
    checkIdentity(verified, policy.platform),
    checkMeasurement(report, policy),
  ];
}

function flagsText({ flags }: EnclaveReport): string {
  return `ATTRIBUTES.FLAGS 0x${flags.toString(16)}`;
}

function checkDebug(report: EnclaveReport, policy: SgxPolicy): Check {
  return judgeDebugBit(`bit 1 of ${flagsText(report)}`, hasFlag(report, 'DEBUG'), policy.debug);
}

function checkGuestPolicy(report: EnclaveReport, policy: SgxPolicy): Check {
  const { attributes } = policy;
  const weakness = (name: EnclaveFlag, accepted: 'refused' | 'accepted') =>
    judgeWeakness(name, hasFlag(report, name), accepted);
  const protection = (name: EnclaveFlag, demanded: 'required' | 'any') =>
    judgeProtection(name, hasFlag(report, name), demanded);
  return conclude(
    'cpu.guest-policy',
    'cpu',
    [
      judgeKnown(report),
      ...protection('MODE64BIT', attributes.mode64Bit),
      ...weakness('PROVISIONKEY', attributes.provisionKey),
      ...weakness('EINITTOKEN_KEY', attributes.einitTokenKey),
      ...protection('CET', attributes.cet),
      ...weakness('KSS', attributes.kss),
      ...protection('AEXNOTIFY', attributes.aexNotify),
      judgeMask('XFRM', report.xfrm, policy.xfrm),
      judgeMask('MISCSELECT', BigInt(report.miscSelect), policy.miscSelect),
    ],
    true,
  );
}

const KNOWN_FLAGS = Object.values(ENCLAVE_FLAGS).reduce<bigint>((known, bit) => known | (1n << bit), 0n);

/** An enclave that was never initialised runs nothing; a bit without a name may open it to its host. */
function judgeKnown(report: EnclaveReport): Finding {
  const seen = flagsText(report);
  const unknown = report.flags & ~KNOWN_FLAGS;
  if (!hasFlag(report, 'INIT')) return violated('GUEST_POLICY_VIOLATED', `${seen}: INIT is not set`);
  if (unknown === 0n) return kept(seen);
  return violated('GUEST_POLICY_VIOLATED', `${seen} has unknown bits 0x${unknown.toString(16)}`);
}

/** A pass needs the enclave itself named, or its signer and product: a signer signs more than one program. */
function checkMeasurement(report: EnclaveReport, policy: SgxPolicy): Check {
  const enclave = judgeReference('MRENCLAVE', report.mrEnclave, policy.mrEnclave);
  const signer = judgeReference('MRSIGNER', report.mrSigner, policy.mrSigner);
  const product = judgeProduct(report, policy);
  const rest = [judgeVersion(report, policy), judgeReference('CONFIGID', report.configId, policy.configId)];
  const named = enclave.kind === 'kept' || (signer.kind === 'kept' && product.kind === 'kept');
  return conclude('cpu.measurement', 'cpu', [enclave, signer, product, ...rest], named);
}

function judgeProduct({ isvProdId }: EnclaveReport, { isvProdIds }: SgxPolicy): Finding {
  const seen = `ISVPRODID ${isvProdId}`;
  if (isvProdIds === 'any') return waived(`${seen}: the policy accepts any`);
  if (isvProdIds.includes(isvProdId)) return kept(`${seen} is listed`);
  return violated('MEASUREMENT_MISMATCH', `${seen} is not among ${isvProdIds.join(', ')}`);
}

function judgeVersion({ isvSvn }: EnclaveReport, { minimumIsvSvn }: SgxPolicy): Finding {
  const seen = `ISVSVN ${isvSvn}`;
  if (minimumIsvSvn === 'any') return waived(`${seen}: the policy sets no minimum`);
  if (isvSvn >= minimumIsvSvn) return kept(`${seen} is at least ${minimumIsvSvn}`);
  return violated('MEASUREMENT_MISMATCH', `${seen} is below ${minimumIsvSvn}`);
}
