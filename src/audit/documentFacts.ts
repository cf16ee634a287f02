import type { Check } from '../../attestation/checks.ts';
import type { Decision, SimulatedComponent } from '../../attestation/verdict/verdict.ts';

export interface FailedCheck {
  readonly id: string;
  readonly subject: string;
  readonly code: string;
  readonly reason: string;
}

export interface DeviceFacts {
  readonly kind: 'gpu' | 'switch';
  /** Serial of the leaf certificate, hex; as a decimal number the UEID. */
  readonly serial: string;
  readonly driver: string | undefined;
  readonly firmware: string;
}

/** What the appraisal of one evidence document came to, as plain values. */
export interface DocumentFacts {
  readonly kind: 'document';
  readonly seq: number;
  readonly decision: Decision;
  readonly judgedAt: number;
  readonly failures: readonly FailedCheck[];
  readonly simulated: readonly SimulatedComponent[];
  readonly platform: string;
  /** Chip id, PPID, module id or attestation key, hex; undefined where the CPU evidence did not verify. */
  readonly machine: string | undefined;
  readonly devices: readonly DeviceFacts[];
  /** The check of the firmware level: result and code, for plots. */
  readonly tcb:
    { readonly result: Check['result']; readonly code: string; readonly reason: string } | undefined;
  /** RFC 9679 thumbprints of the keys that it vouches for, hex. */
  readonly receiptKey: string;
  readonly logKey: string;
  /** For each later judgement of the firmware level: why it failed; undefined where it did not. */
  readonly later: readonly (string | undefined)[];
}
