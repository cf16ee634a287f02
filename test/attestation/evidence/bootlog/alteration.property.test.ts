import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { equalBytes, toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import type { HashName } from '../../../../attestation/crypto/provider.ts';
import { describeEvent } from '../../../../attestation/evidence/bootlog/describe.ts';
import { isExtended, type BootLog } from '../../../../attestation/evidence/bootlog/log.ts';
import { parseBootLog } from '../../../../attestation/evidence/bootlog/parse.ts';
import { parseCcelTable } from '../../../../attestation/evidence/bootlog/ccelTable.ts';
import { digestOf, replay } from '../../../../attestation/evidence/bootlog/replay.ts';
import {
  checkBootLog,
  verifiedPayload,
  type BootLogJudgement,
} from '../../../../attestation/evidence/bootlog/verify.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import {
  BOOT,
  ccelLog,
  digest,
  dstackLog,
  FIRMWARE_RECORD,
  runtimeRecord,
  sha1Log,
  startupLocality,
  tcg2Log,
  TD_BOOT,
} from './mint.ts';

const RUNTIME = [
  runtimeRecord({ name: 'app-id', payload: Uint8Array.of(1, 2, 3) }),
  runtimeRecord({ name: 'compose-hash', payload: new Uint8Array(32).fill(7) }),
];
const LOGS: Readonly<Record<string, readonly [Uint8Array, HashName]>> = {
  tcg2: [tcg2Log([startupLocality(3), ...BOOT]), 'sha256'],
  sha1: [sha1Log(BOOT), 'sha1'],
  ccel: [ccelLog(TD_BOOT, 16), 'sha384'],
  dstack: [dstackLog([FIRMWARE_RECORD, ...RUNTIME]), 'sha384'],
  'dstack without digests': [
    dstackLog([FIRMWARE_RECORD, ...RUNTIME.map((record) => ({ ...record, digest: undefined }))]),
    'sha384',
  ],
};

interface Alteration {
  readonly at: number;
  readonly remove: number;
  readonly insert: Uint8Array;
}

/** One to three places where bytes are replaced, removed or put in; interesting numbers come up often. */
const alterations = fc.array(
  fc.record({
    at: fc.nat({ max: 1 << 20 }),
    remove: fc.oneof(fc.constant(1), fc.constant(4), fc.nat({ max: 200 })),
    insert: fc.oneof(
      fc.uint8Array({ maxLength: 8 }),
      fc
        .constantFrom(...[[0], [1], [3], [0xff], [0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff]])
        .map((bytes) => Uint8Array.from(bytes)),
      fc.constantFrom('0', '3', '"', ':', ',', '\\u003a', '[]', '{}').map((text) => Buffer.from(text)),
    ),
  }),
  { minLength: 1, maxLength: 3 },
);

function altered(bytes: Uint8Array, changes: readonly Alteration[]): Uint8Array {
  let result = bytes;
  for (const { at, remove, insert } of changes) {
    const start = at % (result.length + 1);
    result = Buffer.concat([result.subarray(0, start), insert, result.subarray(start + remove)]);
  }
  return Uint8Array.from(result);
}

/** What went into each register, in its order. */
function extended(log: BootLog, bank: HashName): ReadonlyMap<number | undefined, readonly string[]> {
  const found = new Map<number | undefined, string[]>();
  for (const event of log.events.filter(isExtended)) {
    found.set(event.register, [
      ...(found.get(event.register) ?? []),
      toHex(digestOf(event, bank, nodeCrypto)),
    ]);
  }
  return found;
}

function unlessRefused<T>(step: () => T): T | undefined {
  try {
    return step();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

function expectProved({ events, bank, log }: BootLogJudgement): void {
  for (const event of events.filter(({ payload }) => payload === 'verified')) {
    const payload = verifiedPayload(event);
    const stated = digestOf(event, bank, nodeCrypto);
    if (event.runtime) expect(payload).toBe(event.data);
    else expect(equalBytes(digest(bank, payload), stated)).toBe(true);
  }
  expect(events).toHaveLength(log.events.length);
}

describe.each(Object.entries(LOGS))('an altered %s log', (_format, [original, bank]) => {
  const genuine = parseBootLog(original);
  const registers = replay(genuine, bank, nodeCrypto);
  const history = extended(genuine, bank);

  test(
    'is refused, or leads to the registers by the very digests of the genuine one',
    () => {
      fc.assert(
        fc.property(alterations, (changes) => {
          const log = unlessRefused(() => parseBootLog(altered(original, changes)));
          if (!log) return;
          for (const event of log.events) expect(describeEvent(event)).not.toMatch(/\p{Surrogate}/u);
          const judgement = unlessRefused(() => checkBootLog(log, registers, bank, nodeCrypto));
          if (!judgement) return;
          expectProved(judgement);
          const found = extended(log, bank);
          for (const register of judgement.matched)
            expect(found.get(register)).toEqual(history.get(register));
          // Registers that it leads to, or leaves out and says so: none is passed over.
          const named = [...judgement.matched, ...judgement.unexplained, ...judgement.untouched];
          expect(named.sort((a, b) => a - b)).toEqual([...registers.keys()].sort((a, b) => a - b));
        }),
        propertyRuns(1500),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test('cut anywhere is refused or leaves out what was cut', () => {
    for (let end = 0; end < original.length; end++) {
      const log = unlessRefused(() => parseBootLog(original.subarray(0, end)));
      if (!log) continue;
      expect(log.events.length).toBeLessThanOrEqual(genuine.events.length);
      const judgement = unlessRefused(() => checkBootLog(log, registers, bank, nodeCrypto));
      if (judgement) expect(extended(log, bank).size + judgement.unexplained.length).toBe(history.size);
    }
  });
});

describe('arbitrary bytes', () => {
  test('give a log or a refusal', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 400, size: 'max' }),
        fc.constantFrom('', 'Spec ID Event03\0', '['),
        (bytes, start) => {
          const whole = Buffer.concat([Buffer.from(start), bytes]);
          unlessRefused(() => parseBootLog(Uint8Array.from(whole)));
          unlessRefused(() => parseCcelTable(Uint8Array.from(whole)));
        },
      ),
      propertyRuns(500),
    );
  });

  test('are described as data of any type without a throw', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 120, size: 'max' }),
        fc.constantFrom(...[1, 3, 4, 6, 8, 13], ...Array.from({ length: 14 }, (_, i) => 0x8000_0001 + i)),
        (data, type) => {
          const event = {
            index: 0,
            register: 0,
            type,
            typeName: '',
            digests: new Map(),
            data,
            runtime: undefined,
          };
          const text = describeEvent(event);
          expect(text).not.toMatch(/\p{Surrogate}/u);
          expect(text.length).toBeLessThanOrEqual(4200);
        },
      ),
      propertyRuns(1000),
    );
  });
});
