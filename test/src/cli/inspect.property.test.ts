import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CliError, EXIT } from '../../../src/cli/exit.ts';
import { inspectBytes, inspectionJson, type Inspection } from '../../../src/cli/inspect.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { printed } from './inspectOutput.ts';
import { mintSamples, type Sample } from './inspectSamples.ts';

let samples: readonly Sample[];
beforeAll(async () => {
  samples = await mintSamples();
}, PROPERTY_TIMEOUT);

interface Alteration {
  readonly at: number;
  readonly remove: number;
  readonly insert: Uint8Array;
}

const INTERESTING = [
  '00',
  'ff',
  '80',
  '30',
  'ffffffff',
  '00000000',
  '7fffffff',
  '1b5b324a',
  'c29b',
  'e280ae',
].map((hex) => Uint8Array.from(Buffer.from(hex, 'hex')));

/** One to four places where bytes are replaced, removed or put in. */
const alterations = fc.array(
  fc.record({
    at: fc.nat({ max: 1 << 20 }),
    remove: fc.oneof(fc.constant(0), fc.constant(1), fc.constant(4), fc.nat({ max: 400 })),
    insert: fc.oneof(
      fc.uint8Array({ maxLength: 8 }),
      fc.constantFrom(...INTERESTING),
      fc
        .constantFrom('"', ',', '[]', '{}', '\\u001b', '-----BEGIN')
        .map((text) => Uint8Array.from(Buffer.from(text))),
    ),
  }),
  { minLength: 1, maxLength: 4 },
);

function altered(bytes: Uint8Array, changes: readonly Alteration[]): Uint8Array {
  let result = bytes;
  for (const { at, remove, insert } of changes) {
    const start = at % (result.length + 1);
    const before = result.subarray(0, start);
    const keepsLength = remove === insert.length;
    const after = result.subarray(keepsLength ? start + insert.length : start + remove);
    result = Buffer.concat([before, insert, after]);
  }
  return Uint8Array.from(result);
}

/** Shown, or refused with the exit code of what cannot be read; never anything else. */
function attempt(bytes: Uint8Array): Inspection | undefined {
  try {
    return inspectBytes(bytes, 'file');
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    if (error.exit !== EXIT.unreadable) throw new Error(`exit ${error.exit}`, { cause: error });
    return undefined;
  }
}

/** A terminal gets nothing that it would act on, and no program what is not JSON. */
function checkOutput(inspection: Inspection): void {
  const unsafe = /[\p{Cf}\p{Zl}\p{Zp}]|(?!\n)\p{Cc}/u;
  const [human, json] = [printed(inspection), inspectionJson(inspection)];
  expect(unsafe.exec(human)?.[0]).toBeUndefined();
  expect(unsafe.exec(json)?.[0]).toBeUndefined();
  expect(JSON.parse(json)).toMatchObject({ kind: inspection.kind, verified: false });
}

describe('whatever is done to a file', () => {
  test(
    'it is shown or said to be unreadable',
    () => {
      fc.assert(
        fc.property(fc.nat(), alterations, (which, changes) => {
          const sample = samples[which % samples.length]!;
          const inspection = attempt(altered(sample.bytes, changes));
          if (inspection) checkOutput(inspection);
        }),
        propertyRuns(600),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'a single byte is as good as any other',
    () => {
      fc.assert(
        fc.property(fc.nat(), fc.nat({ max: 1 << 20 }), fc.nat({ max: 255 }), (which, at, value) => {
          const { bytes } = samples[which % samples.length]!;
          const changed = bytes.slice();
          changed[at % changed.length] = value;
          const inspection = attempt(changed);
          if (inspection) checkOutput(inspection);
        }),
        propertyRuns(600),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'so is the beginning or the end of one in front of another',
    () => {
      fc.assert(
        fc.property(fc.nat(), fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (first, second, part) => {
          const [a, b] = [first, second].map((which) => samples[which % samples.length]!.bytes);
          const spliced = Buffer.concat([a!.subarray(0, Math.floor(a!.length * part)), b!]);
          const inspection = attempt(Uint8Array.from(spliced));
          if (inspection) checkOutput(inspection);
        }),
        propertyRuns(150),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'and so are bytes of no file at all',
    () => {
      fc.assert(
        fc.property(fc.constantFrom(...STARTS), fc.uint8Array({ maxLength: 3000 }), (start, rest) => {
          const inspection = attempt(Uint8Array.from(Buffer.concat([start, rest])));
          if (inspection) checkOutput(inspection);
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

/** How files of known kinds begin. */
const STARTS: readonly Buffer[] = [
  Buffer.alloc(0),
  Buffer.from('HCLA'),
  Buffer.from('CCEL'),
  Buffer.from('ff544347', 'hex'),
  Buffer.from('0001000b00050072', 'hex'),
  Buffer.from('0014000b0100', 'hex'),
  Buffer.from('3082', 'hex'),
  Buffer.from('30820200308201f0a003020102', 'hex'),
  Buffer.from('8444a1013822a05901', 'hex'),
  Buffer.from('d284', 'hex'),
  Buffer.from('a2', 'hex'),
  Buffer.from('0400020081000000000000009a33', 'hex'),
  Buffer.from('{"tcbInfo":'),
  Buffer.from('[{"imr":'),
  Buffer.from('-----BEGIN CERTIFICATE-----\n'),
  Buffer.from('0000000004000000', 'hex'),
];
