// A log under load, to be killed: prints `log <instance>`, then `ack <index> <sha256>` for each durable entry, and
// `state <code>` where the log takes no entries.
import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { encodeCheckpoint } from '../../attestation/log/checkpoint.ts';
import { formatNote } from '../../attestation/log/note.ts';
import { ed25519OfSpki, makeVkey } from '../../attestation/log/vkey.ts';
import { isLogError } from '../../src/log/errors.ts';
import type { InstanceLog } from '../../src/log/instanceLog.ts';
import { openLog } from '../../src/log/openLog.ts';
import { openStorage, type StorageSettings } from '../../src/log/openStorage.ts';
import { recoverLogs } from '../../src/log/recover.ts';

const CLIENTS = 12;
const ENTRIES_PER_CHECKPOINT = 40;

function makeSigner(origin: string): (log: InstanceLog) => Promise<void> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = ed25519OfSpki(publicKey.export({ type: 'spki', format: 'der' }));
  const { name, keyId } = makeVkey(sha256With(nodeCrypto), origin, raw);
  return async (log) => {
    const text = encodeCheckpoint({ origin, ...log.head, extensions: [] });
    const note = formatNote(text, [{ name, keyId, signature: sign(null, utf8(text), privateKey) }]);
    await log.publish(note, log.durableSize);
  };
}

/** Entries of uneven length: now and then one that fills many disk pages. */
function makeEntry(client: number, count: number): Uint8Array {
  const length = count % 50 === 49 ? 60_000 : 40 + ((client * 7919 + count * 104_729) % 2500);
  return new Uint8Array(length).fill(client * 16 + (count % 16));
}

/** Does it again while the log is away. */
async function untilAvailable<Result>(work: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isLogError(error, 'LOG_UNAVAILABLE')) throw error;
      await delay(20);
    }
  }
}

async function run(settings: StorageSettings): Promise<void> {
  const instance = randomUUID().replaceAll('-', '');
  const storage = await openStorage(settings);
  const { created } = await recoverLogs(storage);
  const origin = `crash.example.org/vouchsafe/${instance}`;
  const log = await openLog({ storage, instance, origin, created });
  const publish = makeSigner(origin);
  let document = 0;
  let busy = false;
  const publishAll = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    await untilAvailable(() => publish(log));
    await untilAvailable(() => log.writeEvidence(document, utf8(`document ${document}`)));
    document++;
    busy = false;
  };
  process.stdout.write(`log ${instance}\n`);
  setInterval(() => {
    if (log.failure) process.stdout.write(`state ${log.failure.code}\n`);
  }, 10);
  const client = async (number: number): Promise<never> => {
    for (let count = 0; ; count++) {
      const entry = makeEntry(number, count);
      const { index, durable } = await untilAvailable(() => Promise.resolve().then(() => log.enqueue(entry)));
      await durable;
      process.stdout.write(`ack ${index} ${createHash('sha256').update(entry).digest('hex')}\n`);
      if (index % ENTRIES_PER_CHECKPOINT === 0) await publishAll();
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)));
}

const [settings] = process.argv.slice(2);
if (settings === undefined)
  throw new Error('Usage: writer.ts STORAGE, the sections data and objectStore in JSON');
await run(JSON.parse(settings) as StorageSettings);
