import { toBase64Url } from '../../attestation/bytes/bytes.ts';
import type { Dc, DcMap } from '../../attestation/cbor/deterministic.ts';
import { encodeCoseKey, keyThumbprint, type CoseKey } from '../../attestation/cose/key.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { Refusal } from '../../attestation/errors.ts';
import { isLogError, LogError } from '../log/errors.ts';
import type { FormerServedLogs } from './servedLog.ts';

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
 * Inclusion keys of former instances, from the keysets of their evidence on disk: receipts that they signed are to be
 * verified as long as there are any. They are read when somebody asks, once unless a log could not be read at that
 * moment. A damaged log has no key here.
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
      const key = await this.#keyOf(instance);
      if (key === 'away') isWhole = false;
      else if (key) keys.push(key);
    }
    if (!isWhole) this.#keys = undefined;
    return keys;
  }

  async #keyOf(instance: string): Promise<NamedKey | 'away' | undefined> {
    try {
      const log = await this.#former.open(instance);
      return log && nameKey(parseDocument(await log.readEvidence(0)).keyset.inclusion);
    } catch (error) {
      if (isLogError(error, 'LOG_UNAVAILABLE')) return 'away';
      if (error instanceof LogError || error instanceof Refusal) return undefined;
      throw error;
    }
  }
}
