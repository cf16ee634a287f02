import { toBase64Url } from '../../attestation/bytes/bytes.ts';
import type { Dc, DcMap } from '../../attestation/cbor/deterministic.ts';
import { encodeCoseKey, keyThumbprint, type CoseKey } from '../../attestation/cose/key.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import { isLogError, LogError } from '../log/errors.ts';
import type { FormerServedLog, FormerServedLogs } from './servedLog.ts';

const KID_LABEL = 2;

/** A COSE_Key with its kid, the RFC 9679 thumbprint. */
export interface NamedKey {
  /** In base64url. */
  readonly name: string;
  readonly key: DcMap;
}

export function nameKey(key: CoseKey): NamedKey {
  const kid = keyThumbprint(key, nodeCrypto);
  return {
    name: toBase64Url(kid),
    key: new Map<number | string, Dc>([...encodeCoseKey(key), [KID_LABEL, kid]]),
  };
}

/**
 * Inclusion keys of former instances, of all their generations, from the keysets of their evidence on disk: receipts
 * that they signed are to be verified as long as there are any. They are read when somebody asks, once unless a log
 * could not be read at that moment. A damaged log has no key here.
 */
export class RetiredKeys {
  readonly #former: FormerServedLogs;
  #keys: Promise<readonly NamedKey[]> | undefined;

  constructor(former: FormerServedLogs) {
    this.#former = former;
  }

  /** Oldest first. */
  all(): Promise<readonly NamedKey[]> {
    return (this.#keys ??= this.#read());
  }

  async #read(): Promise<readonly NamedKey[]> {
    const keys: NamedKey[] = [];
    let isWhole = true;
    for (const { instance } of this.#former.logs) {
      const found = await this.#keysOf(instance);
      if (found === 'away') isWhole = false;
      else keys.push(...found);
    }
    if (!isWhole) this.#keys = undefined;
    return keys;
  }

  async #keysOf(instance: string): Promise<readonly NamedKey[] | 'away'> {
    try {
      const log = await this.#former.open(instance);
      return log ? (await keysetsOf(log)).map(({ inclusion }) => nameKey(inclusion)) : [];
    } catch (error) {
      if (isLogError(error, 'LOG_UNAVAILABLE')) return 'away';
      if (error instanceof LogError || error instanceof Refusal) return [];
      throw error;
    }
  }
}

/** A document of a line, by its place and its keyset. */
interface KeysetAt {
  readonly seq: number;
  readonly keyset: Keyset;
}

/** The keysets of all generations, the oldest first. They never fall along the line: where they change is found by halving. */
async function keysetsOf(log: FormerServedLog): Promise<readonly Keyset[]> {
  const read = async (seq: number): Promise<KeysetAt> => {
    const { keyset } = parseDocument(await log.readEvidence(seq));
    return { seq, keyset };
  };
  const after = async (from: KeysetAt, to: KeysetAt): Promise<readonly Keyset[]> => {
    const steps = to.keyset.generation - from.keyset.generation;
    if (steps <= 0) return [];
    if (steps === 1 || to.seq - from.seq <= 1) return [to.keyset];
    const middle = await read(Math.floor((from.seq + to.seq) / 2));
    return [...(await after(from, middle)), ...(await after(middle, to))];
  };
  const first = await read(0);
  return [first.keyset, ...(await after(first, await read(log.evidenceHead?.seq ?? 0)))];
}
