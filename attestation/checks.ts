import type { RefusalCode } from './errors.ts';

/**
 * The list of checks, in the order in which they are made and shown, each with what its pass proves.
 * Checks of one component (`cpu.*`, `device.*`) are repeated for each component.
 */
export const CHECKS = {
  // The evidence document and its binding (DESIGN section 4).
  'document.format': 'The evidence document is canonical and has only known parts.',
  'document.keyset': 'The statement vouches for exactly the keys in the document.',
  'document.nonce': 'The evidence was made after you chose your nonce.',
  'document.time': 'The evidence is in the span of time that the policy accepts.',
  'document.lower': 'The evidence was made after the time that its own time anchor states.',
  'document.simulated': 'The set of simulated components is exactly the one the policy names.',
  // The CPU.
  'cpu.platform': 'The CPU platform is one that the policy names.',
  'cpu.format': 'The CPU report follows its format.',
  'cpu.chain': 'The certificates lead to the pinned key of the CPU vendor and are in date.',
  'cpu.revocation': 'The vendor has not revoked the certificates.',
  'cpu.collateral': 'The vendor statements on firmware levels are genuine, for this platform and in date.',
  'cpu.endorsement': 'The certificate is for this chip at this firmware level.',
  'cpu.signature': 'The CPU signed this report.',
  'cpu.quoting-enclave': 'The enclave that signed is the quoting enclave of the vendor.',
  'cpu.runtime-claims':
    'The hardware report commits to the runtime claims that name the key of the virtual TPM.',
  'cpu.vtpm-key': 'The key of the virtual TPM is vouched for.',
  'cpu.vtpm-quote': 'The virtual TPM signed these register values.',
  'cpu.boot-log': 'The boot log leads to the registers that the hardware signed.',
  'cpu.binding': 'The report was made for this statement and these device reports.',
  'cpu.debug': 'The host cannot read the memory of the VM through debugging.',
  'cpu.guest-policy': 'The VM was launched with the options that the policy demands.',
  'cpu.privilege': 'The report was requested at the pinned privilege level.',
  'cpu.tcb': 'The CPU firmware is at least as new as the policy demands.',
  'cpu.identity': 'The chip is one that the policy allows.',
  'cpu.measurement': 'The launched software is the one that the policy names.',
  // The devices.
  'devices.count': 'The number and kind of devices is what the policy demands.',
  'devices.distinct': 'No device is listed twice.',
  'devices.binding': 'The CPU report commits to exactly these device reports and certificates.',
  'devices.mode': 'All devices are in one mode.',
  'devices.topology': 'The GPUs and switches name each other as one machine.',
  'device.format': 'The device report follows its format.',
  'device.chain': 'The certificates lead to the pinned key of the device vendor and are in date.',
  'device.revocation': 'The vendor has not revoked the certificates.',
  'device.signature': 'The device signed this report.',
  'device.nonce': 'The device report was made for this statement.',
  'device.firmware-id': 'The certificate is for the firmware that the device runs.',
  'device.mode': 'The device is in a mode that the policy accepts.',
  'device.identity': 'The device is one that the policy allows.',
  'device.driver-reference': 'The reference values of the driver are genuine and for this driver.',
  'device.vbios-reference': 'The reference values of the VBIOS are genuine and for this VBIOS.',
  'device.reference-revocation': 'The vendor has not revoked the signers of the reference values.',
  'device.measurements': 'The device runs the firmware and driver that the vendor published.',
  // Answers of NVIDIA's attestation service: another party's word, never a substitute for the checks of a device.
  'token.format': 'The answer of the attestation service follows its format.',
  'token.signature': 'The attestation service signed each token.',
  'token.time': 'Each token is in date at the judged time.',
  'token.nonce': 'Each token was made for your nonce.',
  'token.submodules': 'The overall token names exactly the tokens of the devices.',
  'token.result': 'The attestation service found each device good.',
  'token.devices': 'The tokens are of the devices that were sent, in the state that the policy demands.',
  // The receipt and its log (DESIGN sections 5 and 6).
  'bundle.format': 'The bundle is canonical and has only known parts.',
  'receipt.format': 'The receipt is canonical and has only known claims.',
  'receipt.evidence': 'The receipt cites this evidence document.',
  'receipt.keyset': 'The receipt and the evidence name the same keyset.',
  'receipt.time': 'The time that the receipt claims does not contradict its keyset or yours.',
  'receipt.signature': 'The key that the hardware vouches for signed this receipt.',
  'receipt.devices':
    'The receipt names the devices of the evidence, and its execution providers agree with them.',
  'receipt.model': 'The model is one that the policy names.',
  'receipt.outcome': 'The answer completed.',
  'receipt.channel': 'The answer travelled over a channel that the policy accepts.',
  'receipt.nonce': 'The receipt repeats the nonce of your request.',
  'receipt.request': 'The receipt commits to this request.',
  'receipt.response': 'The receipt commits to this response.',
  'receipt.tenant': 'The receipt commits to this tenant.',
  'log.cited': 'The receipt was issued after the evidence that it cites.',
  'log.checkpoint': 'The log signed the tree that the later evidence covers.',
  'log.covering': 'The later evidence is of the same instance, log, line of keys and hardware.',
  'log.inclusion': 'The log holds this receipt at its index.',
  'log.consistency': 'The log only grew between the two evidence documents.',
  'log.covered': 'A hardware report covers this receipt.',
  'log.witnesses': 'A quorum of witnesses saw the log, so its operator cannot show two.',
  'log.timestamp': 'A timestamp authority that you trust saw a tree that holds this receipt.',
  'log.upper':
    'The receipt and its evidence existed at the stated time, and are judged for it: what became known later is another question.',
  // What someone opens of a receipt to a third party, item by item; what is not opened stays hidden.
  'disclosure.format': 'The disclosure is canonical and has only known parts.',
  'disclosure.request': 'This request is what the receipt commits to.',
  'disclosure.response': 'This response is what the receipt commits to.',
  'disclosure.chunks': 'These chunks are the ones at their places in the stream that the receipt commits to.',
  'disclosure.parameter': 'This parameter is what the receipt commits to.',
  'disclosure.tenant': 'This tenant is what the receipt commits to.',
  // Who answers for the service: the word of an organisation, not of hardware.
  'operator.statement': 'An organisation that you trust signed that it operates this instance.',
  // What no check here can exclude, said on every verdict that it touches.
  'limits.host-tpm': 'A TPM of the host says what booted; it does not protect memory from the host.',
  'limits.relay': 'That the devices are attached to this machine, not relayed, rests on the measured code.',
  'limits.history':
    'Without witnesses, a rolled back disk, a second instance from one disk or a second view of the log shows only when two views meet.',
  'limits.instances':
    'Witnesses see one log at a time: a second instance from one disk has a log of its own, and shows when the `open` records of both are compared.',
  'limits.unreceipted': 'A response without a receipt is not vouched for.',
} as const;

export type CheckId = keyof typeof CHECKS;

/** Codes of a check that did not fail; those of a failed one are refusal codes. */
export type CheckCode =
  | 'OK'
  | 'NOT_REQUESTED'
  | 'NOT_REACHED'
  | 'NOT_REQUIRED'
  | 'NOT_EXCLUDED'
  | 'NOT_OPENED'
  | 'ACCEPTED_SIMULATED'
  | RefusalCode;

export interface Check {
  readonly id: CheckId;
  /** What was checked: `document`, `cpu`, `gpu 0`, `switch 1`, `receipt`, `log`. */
  readonly subject: string;
  readonly result: 'pass' | 'fail' | 'skip';
  readonly code: CheckCode;
  /** Why, with the values compared. */
  readonly reason: string;
  /** What a pass proves. */
  readonly proves: string;
}

export function pass(id: CheckId, subject: string, reason: string, code: CheckCode = 'OK'): Check {
  return { id, subject, result: 'pass', code, reason, proves: CHECKS[id] };
}

export function fail(id: CheckId, subject: string, code: RefusalCode, reason: string): Check {
  return { id, subject, result: 'fail', code, reason, proves: CHECKS[id] };
}

export function skip(id: CheckId, subject: string, code: CheckCode, reason: string): Check {
  return { id, subject, result: 'skip', code, reason, proves: CHECKS[id] };
}
