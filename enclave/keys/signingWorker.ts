import { parentPort, workerData } from 'node:worker_threads';
import { signWith, type PrivateKey } from './signing.ts';
import { SIGNATURE_BYTES, type SigningBatch } from './signingThread.ts';

/** Entry of the signing thread: its key comes once, then batches. */
const key = workerData as PrivateKey;

parentPort?.on('message', ({ data, lengths }: SigningBatch) => {
  const signatures = new Uint8Array(lengths.length * SIGNATURE_BYTES);
  let offset = 0;
  for (const [i, length] of lengths.entries()) {
    signatures.set(signWith(key, data.subarray(offset, offset + length)), i * SIGNATURE_BYTES);
    offset += length;
  }
  parentPort?.postMessage(signatures, [signatures.buffer]);
});
