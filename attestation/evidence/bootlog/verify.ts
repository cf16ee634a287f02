import { equalBytes, toHex } from '../../bytes/bytes.ts';
import type { CryptoProvider, HashName } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { runtimePreimage } from './dstack.ts';
import { isExtended, registerName, type BootEvent, type BootLog } from './log.ts';
import { judgePayload, mustMatch, type PayloadJudgement, type PayloadState } from './payload.ts';
import { digestOf, replay, startValue } from './replay.ts';

/** An event of a log that leads to the registers, with what its digest says about its data. */
export interface JudgedEvent extends BootEvent {
  readonly payload: PayloadState;
  /** The bytes that went into the register; present when verified. Take them through `verifiedPayload`. */
  readonly digested: Uint8Array | undefined;
}

declare const verified: unique symbol;

/** A log that leads to every given register that it extends. Only `checkBootLog` makes one. */
export interface BootLogJudgement {
  readonly [verified]: true;
  readonly log: BootLog;
  readonly bank: HashName;
  readonly events: readonly JudgedEvent[];
  /** Given registers that the log extends, ascending: it leads to all of them. */
  readonly matched: readonly number[];
  /** Given registers that the log does not extend and that hold what they started with. */
  readonly untouched: readonly number[];
  /** Given registers that the log does not extend and that hold something: extended after it was read. */
  readonly unexplained: readonly number[];
  /** Registers that the log extends and whose value was not given: nothing that it says of them is proved. */
  readonly unjudged: readonly number[];
}

/**
 * Compares a log with registers that hardware signed (PCRs, or RTMRs 0 to 3). Throws `EVENT_LOG_MISMATCH` for the first
 * register that the log does not lead to, then for data that its own digest contradicts. What the caller must do with
 * registers that are unexplained or unjudged is a policy's to say.
 */
export function checkBootLog(
  log: BootLog,
  registers: ReadonlyMap<number, Uint8Array>,
  bank: HashName,
  crypto: CryptoProvider,
): BootLogJudgement {
  const replayed = replay(log, bank, crypto);
  const matched = ascending(replayed.keys()).filter((register) => registers.has(register));
  for (const register of matched) compare(log, register, replayed.get(register), registers.get(register));
  const rest = ascending(registers.keys()).filter((register) => !replayed.has(register));
  const isUntouched = (register: number): boolean =>
    equalBytes(startValue(log, register, bank), registers.get(register) ?? new Uint8Array());
  const untouched = rest.filter(isUntouched);
  const unexplained = rest.filter((register) => !isUntouched(register));
  const unjudged = ascending(replayed.keys()).filter((register) => !registers.has(register));
  const events = log.events.map((event) => judgeEvent(log, event, unjudged, bank, crypto));
  return { log, bank, events, matched, untouched, unexplained, unjudged } as unknown as BootLogJudgement;
}

/** The bytes that went into a signed register through this event; refuses an event whose digest does not prove any. */
export function verifiedPayload(event: JudgedEvent): Uint8Array {
  if (event.payload !== 'verified' || !event.digested) {
    throw new Refusal(
      'EVENT_LOG_MISMATCH',
      `the data of event ${event.index} (${event.typeName}) is ${event.payload}, not verified`,
      'cpu.boot-log',
    );
  }
  return event.digested;
}

function ascending(registers: Iterable<number>): readonly number[] {
  return [...registers].sort((a, b) => a - b);
}

function compare(
  log: BootLog,
  register: number,
  replayed: Uint8Array | undefined,
  signed: Uint8Array | undefined,
): void {
  if (replayed && signed && equalBytes(replayed, signed)) return;
  const [led, held] = [replayed, signed].map((value) => toHex(value ?? new Uint8Array()));
  throw new Refusal(
    'EVENT_LOG_MISMATCH',
    `${registerName(log, register)}: the boot log leads to ${led ?? ''}, the signed value is ${held ?? ''}`,
    'cpu.boot-log',
  );
}

function judgeEvent(
  log: BootLog,
  event: BootEvent,
  unjudged: readonly number[],
  bank: HashName,
  crypto: CryptoProvider,
): JudgedEvent {
  const { state, digested } = judgeData(log, event, bank, crypto);
  const isUnjudged = event.register !== undefined && unjudged.includes(event.register);
  if (state === 'verified' && isUnjudged) return { ...event, payload: 'unjudged', digested: undefined };
  return { ...event, payload: state, digested };
}

function judgeData(log: BootLog, event: BootEvent, bank: HashName, crypto: CryptoProvider): PayloadJudgement {
  if (event.register === undefined || !isExtended(event))
    return { state: 'not extended', digested: undefined };
  const digest = digestOf(event, bank, crypto);
  const judgement = judgePayload(event, digest, bank, crypto);
  if (judgement.state !== 'mismatch' || !mustMatch(event)) return judgement;
  const wanted = crypto.hash(bank, event.runtime ? runtimePreimage(event, event.runtime) : event.data);
  throw new Refusal(
    'EVENT_LOG_MISMATCH',
    `event ${event.index} (${event.typeName}) of ${registerName(log, event.register)} extends ${toHex(digest)}, its data gives ${toHex(wanted)}`,
    'cpu.boot-log',
  );
}
