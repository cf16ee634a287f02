import { Refusal } from '../../attestation/errors.ts';
import { CollectError } from './errors.ts';

/** Reads what a device, a host or a service sent; what a parser refuses is malformed evidence. */
export function readEvidence<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new CollectError('EVIDENCE_MALFORMED', `${what}: ${error.message}`, { cause: error });
  }
}
