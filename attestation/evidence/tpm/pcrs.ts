import { concat, equalBytes, toHex } from '../../bytes/bytes.ts';
import type { CryptoProvider, HashName } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import type { PcrBank } from '../evidence.ts';
import { HASH_BYTES } from './algorithms.ts';
import type { PcrSelection, TpmsAttest } from './parse.ts';

/**
 * The values that the quote covers, and no others: whoever carries the evidence can add values of registers that the
 * quote does not select. Their digest is made with the hash of the signing scheme, not with that of the bank (part 3,
 * section 18.4).
 */
export function coveredPcrs(
  { selection, pcrDigest }: TpmsAttest,
  banks: readonly PcrBank[],
  schemeHash: HashName,
  crypto: CryptoProvider,
): readonly PcrBank[] {
  if (!selection.some(({ pcrs }) => pcrs.length > 0)) {
    throw new Refusal('EVIDENCE_INCOMPLETE', 'the quote selects no PCR');
  }
  checkBanks(banks);
  const covered = selection.map((selected) => takeSelected(selected, banks));
  const values = covered.flatMap((bank) => [...bank.values.values()]);
  const digest = crypto.hash(schemeHash, concat(...values));
  if (!equalBytes(digest, pcrDigest)) {
    const reason = `the ${schemeHash} digest of the PCR values is ${toHex(digest)}, the quote states ${toHex(pcrDigest)}`;
    throw new Refusal('PCR_MISMATCH', reason);
  }
  return covered;
}

function checkBanks(banks: readonly PcrBank[]): void {
  for (const { hash, values } of banks) {
    if (banks.filter((other) => other.hash === hash).length > 1) {
      throw new Refusal('MALFORMED', `the ${hash} bank is given twice`);
    }
    for (const [index, value] of values) {
      if (value.length !== HASH_BYTES[hash]) {
        throw new Refusal('MALFORMED', `PCR ${index} of the ${hash} bank has ${value.length} bytes`);
      }
    }
  }
}

/** The selected values, in the order of the selection. */
function takeSelected({ hash, pcrs }: PcrSelection, banks: readonly PcrBank[]): PcrBank {
  const given = banks.find((bank) => bank.hash === hash)?.values;
  const values = new Map<number, Uint8Array>();
  for (const index of pcrs) {
    const value = given?.get(index);
    if (!value) {
      throw new Refusal(
        'EVIDENCE_INCOMPLETE',
        `the quote covers PCR ${index} of the ${hash} bank, no value is given`,
      );
    }
    values.set(index, value);
  }
  return { hash, values };
}
