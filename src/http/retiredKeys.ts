import { toBase64Url } from '../../attestation/bytes/bytes.ts';
import type { Dc, DcMap } from '../../attestation/cbor/deterministic.ts';
import { encodeCoseKey, keyThumbprint, type CoseKey } from '../../attestation/cose/key.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { Refusal } from '../../attestation/errors.ts';
import { LogError } from '../log/errors.ts';
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
 * verified as long as there are any. They are read once, when somebody asks. A log that cannot be read has no key here.
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
    for (const { instance } of this.#former.logs) {
      const key = await this.#keyOf(instance);
      if (key) keys.push(key);
    }
    return keys;
  }

  async #keyOf(instance: string): Promise<NamedKey | undefined> {
    try {
      const log = await this.#former.open(instance);
      return log && nameKey(parseDocument(await log.readEvidence(0)).keyset.inclusion);
    } catch (error) {
      if (error instanceof LogError || error instanceof Refusal) return undefined;
      throw error;
    }
  }
}
