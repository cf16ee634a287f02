import { describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { MemoryTree } from '../../../attestation/log/memoryTree.ts';
import type { EvidenceHead } from '../../../src/receipts/evidence.ts';
import { type NonceBatch, NonceQueue } from '../../../src/receipts/nonceQueue.ts';

const HEAD: EvidenceHead = {
  seq: 1,
  digest: new Uint8Array(32),
  encoded: new Uint8Array(0),
  logSize: 0,
  serials: [],
};
let next = 0;

/** A queue in a time of its own: \`arrivals\` says how many ask during each wait of a pause. */
function queueWith(arrivals: number[]): { queue: NonceQueue; ask: (count: number) => void } {
  let time = 0;
  const queue: NonceQueue = new NonceQueue({
    now: () => time,
    wait: (milliseconds) => {
      time += milliseconds;
      ask(arrivals.shift() ?? 0);
      return Promise.resolve();
    },
  });
  const ask = (count: number): void => {
    for (let asker = 0; asker < count; asker++) void queue.add(nonce());
  };
  return { queue, ask };
}

function nonce(): Uint8Array {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(0, ++next);
  return bytes;
}

function answer(batch: NonceBatch): void {
  batch.answer(HEAD, new MemoryTree(sha256With(nodeCrypto), batch.nonces));
}

describe('the pause after a document', () => {
  test.each([
    ['ends when all whom it answered are back', 4, 0, [1, 3, 1], 4],
    ['waits for them although others wait already', 3, 2, [1, 2, 1], 5],
    ['ends where nobody comes any more', 4, 0, [1, 0, 3], 1],
    ['ends with its time', 100, 0, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 5],
    ['ends sooner where somebody came too late', 100, 1, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 5],
    ['is none where nobody was answered', 0, 2, [5], 2],
  ] as const)('%s', async (_name, answered, late, arrivals, together) => {
    const { queue, ask } = queueWith([...arrivals]);
    ask(answered);
    const batch = queue.take();
    ask(late);
    answer(batch);
    queue.beginPause(40);
    await queue.letAskersIn();
    expect(queue.take().nonces).toHaveLength(together);
  });
});

test('a refused nonce does not stand in the way of the others', async () => {
  const { queue } = queueWith([]);
  await expect(async () => queue.add(new Uint8Array(32))).rejects.toMatchObject({ code: 'NONCE_INVALID' });
  const asked = queue.add(nonce());
  const batch = queue.take();
  batch.refuse(new Error('no evidence'));
  await expect(asked).rejects.toThrow();
});
