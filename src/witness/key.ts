import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { concat } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { cosignedBytes } from '../../attestation/log/cosignature.ts';
import { isKeyName, type NoteSignature } from '../../attestation/log/note.ts';
import { ed25519OfSpki, KEY_TYPE, makeVkey, type Vkey } from '../../attestation/log/vkey.ts';
import { hasSystemCode } from '../errors/systemCode.ts';
import { makeFolder, syncFolder } from '../log/files.ts';
import { WitnessError } from './errors.ts';

const KEY_FILE = 'key';
const OTHERS = 0o077;

/** The key of a witness. The private half stays in this object. */
export interface WitnessKey {
  readonly vkey: Vkey;
  /** Cosigns the text of a checkpoint at a time, seconds since 1970 (C2SP tlog-cosignature, type 0x04). */
  cosign(text: Uint8Array, time: number): NoteSignature;
}

/** The key in the folder; where there is none, a new one in a file that only its owner may read. */
export async function openWitnessKey(directory: string, name: string): Promise<WitnessKey> {
  if (!isKeyName(name)) throw new WitnessError('NAME_INVALID', `${name} cannot name a key`);
  await makeFolder(directory);
  const path = join(directory, KEY_FILE);
  const privateKey = (await makeKey(directory, path)) ?? (await readKey(path));
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const vkey = makeVkey(sha256With(nodeCrypto), name, ed25519OfSpki(spki), KEY_TYPE.cosignature);
  return {
    vkey,
    cosign: (text, time) => {
      const seconds = new Uint8Array(8);
      new DataView(seconds.buffer).setBigUint64(0, BigInt(time));
      const signature = sign(null, cosignedBytes(time, text), privateKey);
      return { name, keyId: vkey.keyId, signature: concat(seconds, signature) };
    },
  };
}

/** Undefined where a key exists: it is never replaced. */
async function makeKey(directory: string, path: string): Promise<KeyObject | undefined> {
  const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
    if (hasSystemCode(error, 'EEXIST')) return undefined;
    throw error;
  });
  if (!file) return undefined;
  try {
    const { privateKey } = generateKeyPairSync('ed25519');
    await file.writeFile(privateKey.export({ format: 'pem', type: 'pkcs8' }));
    await file.sync();
    await syncFolder(directory);
    return privateKey;
  } finally {
    await file.close();
  }
}

async function readKey(path: string): Promise<KeyObject> {
  const { mode } = await stat(path);
  if ((mode & OTHERS) !== 0) {
    throw new WitnessError('KEY_EXPOSED', `${path} has mode ${(mode & 0o777).toString(8)}`);
  }
  const pem = await readFile(path);
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (error) {
    throw new WitnessError('KEY_INVALID', `${path} cannot be read as a key`, { cause: error });
  }
  throw new WitnessError('KEY_INVALID', `${path} holds a key of another type`);
}
