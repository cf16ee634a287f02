// A log under load, to be killed: prints `log <folder>`, then `ack <index> <sha256>` for each durable entry.
import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { join } from 'node:path';
import process from 'node:process';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { encodeCheckpoint } from '../../attestation/log/checkpoint.ts';
import { formatNote } from '../../attestation/log/note.ts';
import { ed25519OfSpki, makeVkey } from '../../attestation/log/vkey.ts';
import type { InstanceLog } from '../../src/log/instanceLog.ts';
import { openLog } from '../../src/log/openLog.ts';
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

async function run(instances: string): Promise<void> {
  const instance = randomUUID().replaceAll('-', '');
  const { created } = await recoverLogs(instances);
  const directory = join(instances, instance);
  const origin = `crash.example.org/vouchsafe/${instance}`;
  const log = await openLog({ directory, origin, created });
  const publish = makeSigner(origin);
  let document = 0;
  process.stdout.write(`log ${directory}\n`);
  const client = async (number: number): Promise<never> => {
    for (let count = 0; ; count++) {
      const entry = makeEntry(number, count);
      const { index, durable } = log.enqueue(entry);
      await durable;
      process.stdout.write(`ack ${index} ${createHash('sha256').update(entry).digest('hex')}\n`);
      if (index % ENTRIES_PER_CHECKPOINT === 0) {
        await publish(log);
        const seq = document++;
        await log.writeEvidence(seq, utf8(`document ${seq}`));
      }
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)));
}

const [instances] = process.argv.slice(2);
if (instances === undefined) throw new Error('Usage: writer.ts FOLDER');
await run(instances);
