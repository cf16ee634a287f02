import type { Vouching } from '../receipts/vouching.ts';
import type { Hardware } from './hardware.ts';

/** How long a stop waits for the final evidence: a quote may take its host 30 s, GPUs a second each. */
const FINAL_EVIDENCE_MS = 35_000;
/** How long a process whose work is done may still be waiting for a call to a device. */
const GRACE_MS = 5000;

/**
 * Ends the process by a signal, at once and whatever its threads do. `process.exit` waits for all threads of libuv's
 * pool (uv_library_shutdown joins them), and a call that hangs in a driver keeps one of them for as long as it likes.
 */
export function endBySignal(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

/**
 * Call it when everything is done: Node then ends the process, except where a call to a device has not come back. Such
 * a process is ended by the signal after a moment.
 */
export function endWithoutDevices(signal: NodeJS.Signals, graceMs = GRACE_MS): void {
  const timer = setTimeout(endBySignal, graceMs, signal);
  // Where nothing is out, nobody waits for this.
  timer.unref();
}

/** Makes the final evidence and closes the log. Hardware that hangs is closed and gives up: then there is none. */
export async function endVouching(
  vouching: Pick<Vouching, 'stop'>,
  hardware: Pick<Hardware, 'close'>,
  patienceMs = FINAL_EVIDENCE_MS,
): Promise<void> {
  const late = setTimeout(() => void hardware.close().catch(() => undefined), patienceMs);
  try {
    await vouching.stop();
  } finally {
    clearTimeout(late);
  }
}
