import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { equalBytes, fromHex, toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import type { HashName } from '../../../../attestation/crypto/provider.ts';
import { parseCcelTable } from '../../../../attestation/evidence/bootlog/ccelTable.ts';
import { describeEvent } from '../../../../attestation/evidence/bootlog/describe.ts';
import type { BootLog } from '../../../../attestation/evidence/bootlog/log.ts';
import { parseBootLog } from '../../../../attestation/evidence/bootlog/parse.ts';
import { replay } from '../../../../attestation/evidence/bootlog/replay.ts';
import { readAaelEvent } from '../../../../attestation/evidence/bootlog/tagged.ts';
import { checkBootLog, verifiedPayload } from '../../../../attestation/evidence/bootlog/verify.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { refusalOf } from '../../../support/refusal.ts';

type Named = Readonly<Record<string, string>>;

interface Facts {
  readonly events?: number;
  readonly startupLocality?: readonly number[] | null;
  readonly replayedPcrs?: Readonly<Record<string, Named>>;
  readonly replayed?: Named;
  readonly ccel?: {
    readonly events?: number;
    readonly replayed: Named;
    readonly matches: Readonly<Record<string, boolean>>;
  };
  readonly eventLogReplayed?: Named;
  readonly replayWithRecomputedDigests?: Named;
  readonly runtimeEvents?: readonly { readonly event: string; readonly payload: string }[];
}

interface LogCase {
  readonly id: string;
  readonly directory: string;
  readonly facts: Facts;
  readonly bytes: Uint8Array;
  readonly log: BootLog;
}

const FILES = ['eventlog.bin', 'ccel_data.bin', 'event_log.json'];
/** RTMR 0 in a quote of version 4: header of 48 bytes, then offset 328 in the body. */
const RTMR0_OFFSET = 48 + 328;
/** Cases whose log was changed, and one that pairs the log of another boot. */
const REFUSED = [
  'gce-cos85-eventlog-tampered',
  'tdx-v4-dstack-eventlog-payload-tampered',
  'tdx-v4-gcp-ccel-tampered',
  'tdx-v4-live-ccel-other-boot',
];

function loadCases(root: string): readonly LogCase[] {
  return ['tpm', 'intel', 'azure', 'gcp', 'aws', 'amd'].flatMap((vendor) =>
    readdirSync(join(root, vendor)).flatMap((id) => {
      const directory = join(root, vendor, id);
      const file = FILES.find((name) => existsSync(join(directory, name)));
      if (!file) return [];
      const { facts } = JSON.parse(readFileSync(join(directory, 'case.json'), 'utf8')) as { facts: Facts };
      const bytes = new Uint8Array(readFileSync(join(directory, file)));
      return [{ id, directory, facts, bytes, log: parseBootLog(bytes) }];
    }),
  );
}

/** The registers that hardware signed, by bank; empty for a log that comes without a quote. */
function quotedRegisters({
  directory,
  log,
}: LogCase): ReadonlyMap<HashName, ReadonlyMap<number, Uint8Array>> {
  const quotes = new Map<HashName, ReadonlyMap<number, Uint8Array>>();
  const quote = join(directory, 'quote.bin');
  if (existsSync(quote)) quotes.set('sha384', rtmrsOf(new Uint8Array(readFileSync(quote))));
  for (const bank of log.banks) {
    const path = join(directory, `pcrs_${bank}.json`);
    if (!existsSync(path)) continue;
    const file = JSON.parse(readFileSync(path, 'utf8')) as Readonly<Record<string, Named>>;
    quotes.set(bank, valuesOf(file[bank] ?? {}));
  }
  return quotes;
}

function rtmrsOf(quote: Uint8Array): ReadonlyMap<number, Uint8Array> {
  return new Map(
    [0, 1, 2, 3].map((i) => [i, quote.subarray(RTMR0_OFFSET + 48 * i, RTMR0_OFFSET + 48 * (i + 1))]),
  );
}

function valuesOf(named: Named): ReadonlyMap<number, Uint8Array> {
  return new Map(
    Object.entries(named).map(([name, hex]) => [Number(name.replace('rtmr', '')), fromHex(hex)]),
  );
}

/** The facts list all four RTMRs; those that no event extends are zero. */
function extendedOnly(registers: ReadonlyMap<number, Uint8Array>): ReadonlyMap<number, Uint8Array> {
  return new Map([...registers].filter(([, value]) => value.some((byte) => byte !== 0)));
}

function statedReplay({ facts, log }: LogCase): ReadonlyMap<string, ReadonlyMap<number, Uint8Array>> {
  if (facts.replayedPcrs) {
    return new Map(Object.entries(facts.replayedPcrs).map(([bank, named]) => [bank, valuesOf(named)]));
  }
  const named = facts.replayed ?? facts.ccel?.replayed ?? facts.eventLogReplayed;
  return named ? new Map([[log.banks[0] ?? '', extendedOnly(valuesOf(named))]]) : new Map();
}

describeCorpus('boot log corpus', 'evidence/cpu', (root) => {
  const cases = loadCases(root);
  const genuine = cases.filter(({ id }) => !REFUSED.includes(id));

  test('has every log', () => {
    expect(cases).toHaveLength(18);
    expect(
      cases
        .map(({ log }) => log.format)
        .sort()
        .join(),
    ).toBe(
      [
        ...Array<string>(8).fill('ccel'),
        ...Array<string>(2).fill('dstack'),
        ...Array<string>(8).fill('tcg2'),
      ].join(),
    );
  });

  test.each(cases)('$id: has the events, banks and locality that the case states', ({ facts, log }) => {
    const events = facts.events ?? facts.ccel?.events;
    if (events !== undefined) expect(log.events).toHaveLength(events);
    expect(log.startupLocality).toBe(facts.startupLocality?.[0]);
    expect(log.otherBanks).toEqual([]);
  });

  test.each(cases)('$id: replays to what the case states, in every bank', (item) => {
    const stated = statedReplay(item);
    for (const [bank, values] of stated) {
      for (const crypto of [nodeCrypto, portableCrypto]) {
        expect(replay(item.log, bank as HashName, crypto)).toEqual(values);
      }
    }
  });

  test('every log but two altered ones has a replay stated, and nine are quoted', () => {
    const without = cases.filter((item) => statedReplay(item).size === 0).map(({ id }) => id);
    expect(without).toEqual(['gce-cos85-eventlog-tampered', 'tdx-v4-dstack-eventlog-payload-tampered']);
    expect(genuine.flatMap((item) => [...quotedRegisters(item).keys()])).toHaveLength(9);
  });

  describe.each(genuine)('$id', (item) => {
    test('leads to the registers that the hardware signed, in every quoted bank', () => {
      for (const [bank, registers] of quotedRegisters(item)) {
        const { matched, unjudged } = checkBootLog(item.log, registers, bank, nodeCrypto);
        expect(matched.length).toBeGreaterThanOrEqual(3);
        expect(unjudged).toEqual([]);
      }
    });

    test('has no data that refuses it, and usable data where the rule says so', () => {
      for (const bank of item.log.banks) {
        const { events } = checkBootLog(item.log, replay(item.log, bank, nodeCrypto), bank, nodeCrypto);
        const mismatches = events.filter(({ payload }) => payload === 'mismatch');
        // Firmware of one machine measures its version otherwise than it logs it.
        expect(mismatches.map(({ typeName }) => typeName)).toEqual(
          item.id === 'eventlog-gdc-host-sha256-only' ? ['EV_S_CRTM_VERSION'] : [],
        );
        expect(events.filter(({ payload }) => payload === 'ambiguous' || payload === 'absent')).toEqual([]);
      }
    });

    test('every event can be described', () => {
      for (const event of item.log.events) {
        const text = describeEvent(event);
        expect(text.length).toBeGreaterThan(0);
        expect(text).not.toMatch(/\p{Surrogate}/u);
      }
    });

    test('one register changed by one bit is refused', () => {
      for (const [bank, registers] of quotedRegisters(item)) {
        const { matched } = checkBootLog(item.log, registers, bank, nodeCrypto);
        for (const register of matched) {
          const changed = Uint8Array.from(registers.get(register) ?? []);
          changed[0] = (changed[0] ?? 0) ^ 1;
          const refusal = refusalOf(() =>
            checkBootLog(item.log, new Map([...registers, [register, changed]]), bank, nodeCrypto),
          );
          expect(refusal?.code).toBe('EVENT_LOG_MISMATCH');
          expect(refusal?.message).toContain(toHex(changed));
        }
      }
    });
  });

  test('payloads by type are those that the README states', () => {
    const counts = new Map<string, Record<string, number>>();
    for (const { log } of genuine) {
      for (const bank of log.banks) {
        const { events } = checkBootLog(log, replay(log, bank, nodeCrypto), bank, nodeCrypto);
        for (const { typeName, payload } of events) {
          const states = counts.get(typeName) ?? {};
          counts.set(typeName, { ...states, [payload]: (states[payload] ?? 0) + 1 });
        }
      }
    }
    expect(Object.fromEntries(counts)).toEqual({
      DSTACK_RUNTIME_EVENT: { verified: 8 },
      EV_NO_ACTION: { 'not extended': 33 },
      EV_SEPARATOR: { verified: 158 },
      EV_EFI_ACTION: { verified: 73 },
      EV_EFI_VARIABLE_DRIVER_CONFIG: { verified: 127 },
      EV_EFI_VARIABLE_BOOT: { verified: 86 },
      EV_EFI_VARIABLE_AUTHORITY: { verified: 50 },
      EV_EFI_GPT_EVENT: { verified: 23 },
      EV_NONHOST_INFO: { verified: 15 },
      EV_S_CRTM_VERSION: { verified: 17, mismatch: 1 },
      EV_IPL: { verified: 655, 'not over data': 114 },
      EV_EVENT_TAG: { verified: 2, 'not over data': 11 },
      EV_EFI_BOOT_SERVICES_APPLICATION: { 'not over data': 64 },
      EV_EFI_BOOT_SERVICES_DRIVER: { 'not over data': 37 },
      EV_EFI_HANDOFF_TABLES: { 'not over data': 1 },
      EV_EFI_HANDOFF_TABLES2: { 'not over data': 7 },
      EV_EFI_PLATFORM_FIRMWARE_BLOB: { 'not over data': 4 },
      EV_EFI_PLATFORM_FIRMWARE_BLOB2: { 'not over data': 7 },
      EV_PLATFORM_CONFIG_FLAGS: { 'not over data': 40 },
      EV_POST_CODE: { 'not over data': 5 },
      EV_S_CRTM_CONTENTS: { 'not over data': 1 },
      EV_TABLE_OF_DEVICES: { 'not over data': 1 },
    });
  });

  const find = (id: string): LogCase => cases.find((item) => item.id === id)!;
  const refusalFor = (id: string, bank: HashName) => {
    const item = find(id);
    const registers = quotedRegisters(item).get(bank) ?? new Map<number, Uint8Array>();
    return refusalOf(() => checkBootLog(item.log, registers, bank, nodeCrypto));
  };

  test.each([
    ['gce-cos85-eventlog-tampered', 'sha256', 'PCR 4'],
    ['tdx-v4-gcp-ccel-tampered', 'sha384', 'RTMR 1'],
    ['tdx-v4-live-ccel-other-boot', 'sha384', 'RTMR 2'],
    ['tdx-v4-dstack-eventlog-payload-tampered', 'sha384', 'RTMR 3'],
  ] as const)('%s is refused for its %s bank, naming %s', (id, bank, register) => {
    const refusal = refusalFor(id, bank);
    expect(refusal).toMatchObject({ code: 'EVENT_LOG_MISMATCH', check: 'cpu.boot-log' });
    expect(refusal?.message).toContain(register);
  });

  test('the tampered payload is refused through its digest, and through the register once that is left out', () => {
    const item = find('tdx-v4-dstack-eventlog-payload-tampered');
    expect(refusalFor(item.id, 'sha384')?.message).toContain('DSTACK_RUNTIME_EVENT');
    const records = JSON.parse(Buffer.from(item.bytes).toString('utf8')) as Record<string, unknown>[];
    const bare = records.map((record) => (record['imr'] === 3 ? { ...record, digest: '' } : record));
    const log = parseBootLog(Buffer.from(JSON.stringify(bare)));
    expect(replay(log, 'sha384', nodeCrypto)).toEqual(valuesOf(item.facts.replayWithRecomputedDigests ?? {}));
    const registers = quotedRegisters(item).get('sha384') ?? new Map<number, Uint8Array>();
    expect(refusalOf(() => checkBootLog(log, registers, 'sha384', nodeCrypto))?.message).toContain('RTMR 3');
  });

  test('the dstack log gives the runtime events that the case states, with and without digests', () => {
    const item = find('tdx-v4-dstack-eventlog');
    const records = JSON.parse(Buffer.from(item.bytes).toString('utf8')) as Record<string, unknown>[];
    const bare = records.map((record) => (record['imr'] === 3 ? { ...record, digest: undefined } : record));
    const registers = quotedRegisters(item).get('sha384') ?? new Map<number, Uint8Array>();
    for (const log of [item.log, parseBootLog(Buffer.from(JSON.stringify(bare)))]) {
      const { events } = checkBootLog(log, registers, 'sha384', nodeCrypto);
      const runtime = events.flatMap((event) =>
        event.runtime ? [{ event: event.runtime.name, payload: toHex(verifiedPayload(event)) }] : [],
      );
      expect(runtime).toEqual(item.facts.runtimeEvents);
    }
  });

  test('registers that a booted system went on extending are named', () => {
    const item = find('gce-cos85-no-nonce');
    const registers = quotedRegisters(item).get('sha256') ?? new Map<number, Uint8Array>();
    const judgement = checkBootLog(item.log, registers, 'sha256', nodeCrypto);
    expect(judgement.matched).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // The measurement architecture of the Linux kernel.
    expect(judgement.unexplained).toEqual([10]);
    expect(judgement.untouched).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]);
  });

  test('application events of Confidential Containers are read from verified payloads', () => {
    const { log } = find('ccel-aael-alibaba');
    const { events } = checkBootLog(log, replay(log, 'sha384', nodeCrypto), 'sha384', nodeCrypto);
    const entries = events
      .filter(({ register }) => register === 3)
      .map((event) => readAaelEvent(verifiedPayload(event)));
    expect(entries.map(({ domain, operation }) => `${domain} ${operation}`)).toEqual([
      'coco.com some-operation',
      'coco.com some-operation',
    ]);
    expect(entries[0]?.content).toBe('some-content');
  });

  test('the duplicate separator is no fault', () => {
    const { log } = find('ccel-duplicate-separator');
    const separators = log.events.filter(
      ({ typeName, register }) => typeName === 'EV_SEPARATOR' && register === 0,
    );
    expect(separators).toHaveLength(2);
  });

  test.each(cases.filter(({ directory }) => existsSync(join(directory, 'parsed.json'))))(
    '$id: data that another parser found digested is verified here, all of it',
    ({ directory, log }) => {
      const parsed = JSON.parse(readFileSync(join(directory, 'parsed.json'), 'utf8')) as {
        uefi_event_logs: readonly { type_name: string; digest_matches_event: boolean; event: string }[];
      };
      const { events } = checkBootLog(log, replay(log, 'sha384', nodeCrypto), 'sha384', nodeCrypto);
      expect(parsed.uefi_event_logs).toHaveLength(events.length - 1);
      for (const [i, theirs] of parsed.uefi_event_logs.entries()) {
        const ours = events[i + 1]!;
        expect(ours.typeName).toBe(theirs.type_name);
        expect(equalBytes(ours.data, Buffer.from(theirs.event, 'base64'))).toBe(true);
        const isWhole = ours.payload === 'verified' && equalBytes(verifiedPayload(ours), ours.data);
        expect(isWhole).toBe(theirs.digest_matches_event);
      }
    },
  );

  test('both CCEL tables parse', () => {
    const lengths = ['tdx-v4-gcp-ccel-replay', 'ccel-duplicate-separator'].map((id) => {
      const bytes = new Uint8Array(readFileSync(join(find(id).directory, 'ccel_table.bin')));
      return parseCcelTable(bytes).areaLength;
    });
    // The second one is of another area than the log beside it, which has 262144 bytes.
    expect(lengths).toEqual([0x40000n, 0x10000n]);
  });
});
