import type { CheckId } from './checks.ts';

/**
 * Every reason for which the verifier refuses, with what a person can do about it.
 * The codes are stable: archives and policies cite them.
 */
export const REFUSALS = {
  MALFORMED: 'The bytes do not follow their format. Fetch the evidence or the file again from its source.',
  NOT_CANONICAL:
    'The bytes are not in deterministic CBOR (RFC 8949 section 4.2.1). Ask the issuer for the original bytes.',
  UNSUPPORTED: 'This verifier does not know this format version. Update the verifier.',
  SIGNATURE_INVALID:
    'A signature does not verify. Treat the evidence as forged or damaged and ask for fresh evidence.',
  SIGNATURE_MALLEABLE: 'An ES256 signature has s above n/2. Ask the issuer for the receipt it signed.',
  ALGORITHM_MISMATCH:
    'The signature names another algorithm or key than its role allows. Do not trust the signer.',
  CERT_CHAIN_INVALID:
    'A certificate is not issued by the next one, or may not issue. Ask for the genuine chain.',
  CERT_EXPIRED:
    'A certificate is outside its validity window at the judged time. Ask for evidence under a current certificate.',
  CERT_REVOKED: 'A certificate is revoked by its issuer. Do not trust the device.',
  CERT_ON_HOLD:
    'A certificate is on hold: its issuer has suspended it. Wait, or accept holds in the policy for tests of pre-release software.',
  CERT_STATUS_UNKNOWN:
    'The responder does not know a certificate. Do not rely on what it signed; ask its issuer.',
  CERT_MISSING: 'A certificate of the chain is missing. Supply the full chain.',
  UNTRUSTED_ROOT: 'The chain does not end in a pinned root key. Do not trust the device.',
  UNTRUSTED_KEY: 'The signing key is not endorsed by anything this policy trusts.',
  TCB_MISMATCH: 'The certificate endorses another firmware level than the report states.',
  TCB_OUT_OF_DATE: 'The firmware is older than the policy demands. Ask the operator to update it.',
  TCB_SW_HARDENING_NEEDED:
    'The vendor says that software must mitigate known weaknesses of this firmware. Read the advisories; accept the status in the policy or ask for an update.',
  TCB_CONFIGURATION_NEEDED:
    'The vendor says that the platform must be configured otherwise. Read the advisories; accept the status in the policy or ask the operator.',
  TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED:
    'The vendor asks for another configuration and for mitigations in software. Read the advisories; accept the status in the policy or ask the operator.',
  TCB_OUT_OF_DATE_CONFIGURATION_NEEDED:
    'The firmware is out of date and must be configured otherwise. Ask the operator to update it.',
  TCB_TD_RELAUNCH_ADVISED:
    'The TDX module was updated below a running guest. Ask the operator to relaunch the guest.',
  TCB_TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED:
    'The TDX module was updated below a running guest and the platform must be configured otherwise. Ask the operator.',
  TCB_REVOKED:
    'The vendor has revoked this firmware level: keys of it may be known. Do not trust the platform.',
  TCB_NOT_SUPPORTED:
    'No level that the vendor lists covers this firmware. Fetch current collateral; if it stays, do not trust the platform.',
  QE_BINDING_MISMATCH:
    'The quoting enclave did not vouch for the key that signed the quote. Treat the quote as forged.',
  QE_IDENTITY_MISMATCH: 'The quote was signed by another enclave than the quoting enclave of the vendor.',
  PCR_MISMATCH: 'The PCR values are not those that the TPM signed. Ask for fresh evidence.',
  EVENT_LOG_MISMATCH:
    'The boot log does not lead to the registers that the hardware signed, or a payload to its digest. Do not use the log.',
  CHIP_ID_MISMATCH: 'The certificate endorses another chip than the one that signed.',
  PRODUCT_MISMATCH: 'The certificate or manifest is for another product than the device.',
  DEBUG_ENABLED: 'The hardware is in debug mode: its host can read its memory. Do not send data.',
  GUEST_POLICY_VIOLATED: 'The guest was launched with options that the policy forbids.',
  PRIVILEGE_LEVEL_MISMATCH: 'The report was requested at another privilege level than the policy pins.',
  MEASUREMENT_MISMATCH: 'Other software was launched than the policy names. Compare the two values.',
  REFERENCE_VALUES_MISSING: 'No reference values are known for this component. Add them to the policy.',
  COLLATERAL_MISSING: 'Vendor statements that the policy demands are missing. Fetch and supply them.',
  COLLATERAL_EXPIRED: 'Vendor statements are not in date at the judged time. Fetch current ones.',
  COLLATERAL_NOT_YET_VALID:
    'Vendor statements are from after the judged time. Supply those of that time or check the clock.',
  COLLATERAL_SIGNATURE_INVALID:
    'A vendor statement does not verify under the key of its vendor. Fetch it again; do not use this copy.',
  COLLATERAL_MISMATCH: 'Vendor statements are for another component than the one judged.',
  CRL_EXPIRED: 'The revocation list is not in date at the judged time. Fetch a current one.',
  BINDING_MISMATCH: 'The report was not made for this statement. Ask for fresh evidence.',
  NONCE_MISMATCH: 'The evidence was not made for this nonce. Ask again with a fresh nonce.',
  NONCE_INVALID: 'A nonce is exactly 32 bytes, 64 lower-case hex digits, and not all zero.',
  FIRMWARE_ID_MISMATCH: 'The device certificate endorses other firmware than the report states.',
  DEVICE_COUNT_MISMATCH: 'The number or kind of devices is not what the policy demands.',
  DEVICE_DUPLICATE: 'One device is listed more than once.',
  TOPOLOGY_MISMATCH:
    'The GPUs and switches do not name each other as one machine. Ask the operator which devices are in it.',
  TOKEN_RESULT_NEGATIVE:
    'The attestation service itself says that the device did not pass. Treat it as refused.',
  TOKEN_SUBMODULE_MISMATCH:
    'The tokens of the devices are not those that the overall token names. Ask for the complete answer of the service.',
  DEVICE_MODE_FORBIDDEN: 'A device is in a mode that the policy forbids.',
  DEVICE_NOT_ALLOWED: 'The device is not on the list of identities that the policy allows.',
  PLATFORM_NOT_ALLOWED: 'The policy does not name this CPU platform.',
  SIMULATED_HARDWARE:
    'The hardware is simulated, or another set of it than the policy accepts. It protects nothing. Accept it with --allow-simulated only for development.',
  EVIDENCE_INCOMPLETE: 'A required part of the evidence is absent.',
  EVIDENCE_STALE: 'The evidence is older than the policy accepts. Ask for fresh evidence.',
  KEYSET_MISMATCH: 'The evidence vouches for another keyset than the one used, or than one that follows it.',
  KEYSET_EXPIRED: 'The keyset is past its own end of validity.',
  EVIDENCE_MISMATCH: 'The receipt cites another evidence document than the one supplied.',
  DEVICES_MISMATCH: 'The receipt names other devices than the evidence it cites.',
  CHANNEL_NOT_ALLOWED: 'The answer travelled over a channel that the policy does not accept.',
  MODEL_NOT_ALLOWED: 'The policy does not name this model manifest.',
  OUTCOME_NOT_ALLOWED: 'The receipt vouches for an answer that did not complete.',
  COMMITMENT_MISMATCH: 'The content is not what the receipt commits to.',
  INDEX_OUT_OF_RANGE: 'The log index is outside what the cited evidence allows.',
  INCLUSION_INVALID: 'The log does not hold this receipt at its index: it was omitted or replaced.',
  CONSISTENCY_INVALID: 'The later log does not extend the earlier one: history was rewritten.',
  CHECKPOINT_MISMATCH: 'The checkpoint is of another log, size or root than the evidence states.',
  EPOCH_MISMATCH: 'The log entry does not record the later evidence. Fetch the bundle again from its issuer.',
  RECEIPT_UNCOVERED:
    'No later hardware report covers this receipt yet. Fetch the bundle again after the epoch ends.',
  WITNESS_QUORUM_MISSING:
    'No quorum of the witnesses that you trust has seen this log: its operator alone vouches for completeness. Fetch the bundle again later, or name other witnesses.',
  TIMESTAMP_MISSING:
    'No trusted authority has timestamped a tree that holds this receipt. Fetch the bundle again later, or name the authority in the policy.',
  TIMESTAMP_MISMATCH: 'The timestamp is over other bytes. Ask the issuer for the token of this checkpoint.',
  TIMESTAMP_NOT_GRANTED:
    'The timestamp authority did not grant the request. Ask it again, or ask its operator.',
  OPERATOR_INSTANCE_MISMATCH:
    'The statement of the operator is about another instance. Ask the operator for one about this instance.',
  OPERATOR_IMAGE_MISMATCH: 'The operator answers for another image than the policy names.',
  OPERATOR_STATEMENT_EXPIRED:
    'The statement of the operator is outside its own window at the judged time. Ask the operator for a current one.',
  OPERATOR_NOT_ALLOWED: 'The policy does not name the organisation that answers for this service.',
  TIME_CONTRADICTION: 'Two times in the evidence contradict each other.',
  POLICY_INVALID: 'The policy is not valid. Run `vouchsafe policy check FILE`.',
} as const;

export type RefusalCode = keyof typeof REFUSALS;

/** A refusal with a stable code. `check` names the check of `checks.ts` that it breaks, where one is known. */
export class Refusal extends Error {
  readonly code: RefusalCode;
  readonly check: CheckId | undefined;

  constructor(code: RefusalCode, detail: string, check?: CheckId) {
    super(detail);
    this.name = 'Refusal';
    this.code = code;
    this.check = check;
  }

  /** What a person can do about it. */
  get advice(): string {
    return REFUSALS[this.code];
  }
}
