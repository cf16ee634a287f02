import { authorityKeyIdentifierExtension, extension, readAuthority, signedSequence } from './certificate.ts';
import * as der from './der.ts';
import { SIMULATED_ROOTS } from './roots.ts';

const CRL_NUMBER = 1;
/** Serial of an ASK that was never published; AMD's Genoa list revokes its first ASK just so. */
const RETIRED_ASK = Uint8Array.of(0x02, 0x00, 0x01);

/**
 * The revocation list of the published ARK (RFC 5280 section 5.1), in date from a day before `now` for a year.
 * `revoked` are certificate serials, big endian.
 */
export function issueSimulatedCrl(now: Date, revoked: readonly Uint8Array[] = [RETIRED_ASK]): Uint8Array {
  const ark = readAuthority(SIMULATED_ROOTS.ark);
  const thisUpdate = new Date(now);
  thisUpdate.setUTCDate(now.getUTCDate() - 1);
  const nextUpdate = new Date(thisUpdate);
  nextUpdate.setUTCFullYear(thisUpdate.getUTCFullYear() + 1);
  const entries = revoked.map((serial) => der.sequence(der.integer(serial), der.time(thisUpdate)));
  const extensions = [
    authorityKeyIdentifierExtension(ark.key),
    extension('2.5.29.20', der.smallInteger(CRL_NUMBER)),
  ];
  return signedSequence(ark.key, (algorithm) => [
    der.smallInteger(1),
    algorithm,
    ark.name,
    der.time(thisUpdate),
    der.time(nextUpdate),
    // An empty list of revoked certificates is left out.
    ...(entries.length > 0 ? [der.sequence(...entries)] : []),
    der.tagged(0, der.sequence(...extensions)),
  ]);
}
