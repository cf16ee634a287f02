import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { encodeBundle, parseBundle, type Witnessed } from '../../attestation/bundle/bundle.ts';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { encodeCheckpoint } from '../../attestation/log/checkpoint.ts';
import { cosignedBytes } from '../../attestation/log/cosignature.ts';
import { formatNote, type NoteSignature } from '../../attestation/log/note.ts';
import { ed25519OfSpki, encodeVkey, KEY_TYPE, makeVkey, type Vkey } from '../../attestation/log/vkey.ts';
import { parseRecord } from '../../attestation/receipt/record.ts';
import type { TimestampAuthority } from './timestampAuthority.ts';
import type { World } from './world.ts';

const sha256 = sha256With(nodeCrypto);

/** A witness that is minted for the tests. */
export interface MintedWitness {
  readonly vkey: Vkey;
  /** As policies name it. */
  readonly text: string;
  /** Cosigns the text of a note; `now` is in milliseconds since 1970. */
  cosign(text: string, now: number): NoteSignature;
}

export function mintWitness(name: string): MintedWitness {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const raw = ed25519OfSpki(new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })));
  const vkey = makeVkey(sha256, name, raw, KEY_TYPE.cosignature);
  return { vkey, text: encodeVkey(vkey), cosign: (text, now) => cosign(privateKey, vkey, text, now) };
}

function cosign(key: KeyObject, { name, keyId }: Vkey, text: string, now: number): NoteSignature {
  const seconds = Math.floor(now / 1000);
  const signature = new Uint8Array(72);
  new DataView(signature.buffer).setBigUint64(0, BigInt(seconds));
  signature.set(sign(null, cosignedBytes(seconds, utf8(text)), key), 8);
  return { name, keyId, signature };
}

/** Who confirms a head of the log, and when. */
export interface Confirming {
  readonly authorities?: readonly (readonly [authority: TimestampAuthority, now: number])[];
  readonly witnesses?: readonly (readonly [witness: MintedWitness, now: number])[];
}

/** Has outsiders confirm the head of the world's log as it is now, which holds the epoch record of the bundle. */
export async function witnessBundle(
  world: World,
  bundle: Uint8Array,
  confirming: Confirming,
): Promise<Uint8Array> {
  const parts = parseBundle(bundle);
  if (!parts.covering) throw new Error('the bundle has no later document');
  const document = parseDocument(parts.covering.document);
  const { log } = world;
  const index = log.entries.findIndex((entry) => isEpochOf(entry, document.statement.seq));
  const witnessed: Witnessed = {
    ...(await confirmHead(world, confirming)),
    consistency: await log.consistencyProof(document.statement.logSize, log.size),
    epoch: {
      entry: await log.entry(index),
      index,
      path: await log.inclusionProof(index, log.size),
    },
  };
  return encodeBundle({ ...parts, witnessed });
}

/** A signed checkpoint of the whole log with what outsiders say of it. */
export async function confirmHead(
  { log, keyring }: World,
  { authorities = [], witnesses = [] }: Confirming,
): Promise<Pick<Witnessed, 'note' | 'tokens'>> {
  const { origin, log: key } = keyring.keyset;
  const text = encodeCheckpoint({ origin, size: log.size, root: await log.root(log.size), extensions: [] });
  const { name, keyId } = makeVkey(sha256, origin, key.x);
  const own = { name, keyId, signature: keyring.log.sign(utf8(text)) };
  const cosignatures = witnesses.map(([witness, now]) => witness.cosign(text, now));
  return {
    note: formatNote(text, [own, ...cosignatures]),
    tokens: authorities.map(([authority, now]) => authority.token(utf8(text), now)),
  };
}

function isEpochOf(entry: Uint8Array, seq: number): boolean {
  try {
    const { record } = parseRecord(entry);
    return record.kind === 'epoch' && record.seq === seq;
  } catch {
    return false;
  }
}
