import { concat } from '../../bytes/bytes.ts';
import type { CryptoProvider, HashName } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { runtimePreimage } from './dstack.ts';
import { EV } from './eventTypes.ts';
import { DIGEST_BYTES, isExtended, isTpmLog, malformed, type BootEvent, type BootLog } from './log.ts';

/** What PCR 0 starts with after an H-CRTM sequence (TPM 2.0 Library part 1, H-CRTM Event Sequence). */
const HCRTM_START = 4;
/** PCRs of the dynamic launch: all ones until one happens (PC Client Platform TPM Profile, PCR attributes). */
const DYNAMIC_PCRS = { first: 17, last: 22 } as const;

/**
 * The value of every register that the log extends: `register = H(register || digest)` for each event in its order.
 * EV_NO_ACTION is not extended.
 */
export function replay(
  log: BootLog,
  bank: HashName,
  crypto: CryptoProvider,
): ReadonlyMap<number, Uint8Array> {
  if (!log.banks.includes(bank)) {
    throw new Refusal('EVENT_LOG_MISMATCH', `the boot log has no ${bank} bank, but ${log.banks.join(', ')}`);
  }
  const values = new Map<number, Uint8Array>();
  for (const event of log.events) {
    if (event.register === undefined || !isExtended(event)) continue;
    const before = values.get(event.register) ?? startValue(log, event.register, bank);
    values.set(event.register, crypto.hash(bank, concat(before, digestOf(event, bank, crypto))));
  }
  return values;
}

/** What a register holds before the first event of the log. */
export function startValue(log: BootLog, register: number, bank: HashName): Uint8Array {
  const value = new Uint8Array(DIGEST_BYTES[bank]);
  if (!isTpmLog(log)) return value;
  if (register >= DYNAMIC_PCRS.first && register <= DYNAMIC_PCRS.last) value.fill(0xff);
  if (register === 0) value[value.length - 1] = startOfPcr0(log);
  return value;
}

function startOfPcr0(log: BootLog): number {
  const first = log.events.find((event) => event.register === 0 && isExtended(event));
  return first?.type === EV.EFI_HCRTM_EVENT ? HCRTM_START : (log.startupLocality ?? 0);
}

/** The digest that an event extends; that of a dstack runtime event follows from its payload where it is left out. */
export function digestOf(event: BootEvent, bank: HashName, crypto: CryptoProvider): Uint8Array {
  const stated = event.digests.get(bank);
  if (stated) return stated;
  if (event.runtime) return crypto.hash(bank, runtimePreimage(event, event.runtime));
  throw malformed(`event ${event.index} has no ${bank} digest`);
}
