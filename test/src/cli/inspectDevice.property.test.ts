import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex, toBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { CliError, EXIT } from '../../../src/cli/exit.ts';
import { inspectBytes, inspectionJson, type Inspection } from '../../../src/cli/inspect.ts';
import { readNamedManifest } from '../../../src/cli/inspectDeviceRims.ts';
import type { Beside } from '../../../src/cli/inspectDeviceSet.ts';
import * as nras from '../../support/nrasService.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { deviceSamples, entryOf, mintDeviceMaterial, type DeviceMaterial } from './inspectDeviceSamples.ts';
import { printed } from './inspectOutput.ts';
import type { Sample } from './inspectSamples.ts';

let material: DeviceMaterial;
let samples: readonly Sample[];
let beside: Beside;
beforeAll(async () => {
  material = await mintDeviceMaterial();
  samples = deviceSamples(material);
  const rims = material.rims.map((xml, i) => readNamedManifest(xml, `${i}.rim.xml`));
  beside = { rims, chain: material.gpu.certificates };
}, PROPERTY_TIMEOUT);

/** Shown, or refused as unreadable or as the wrong use of an option; never anything else. */
function attempt(bytes: Uint8Array, options?: Beside): Inspection | undefined {
  try {
    return inspectBytes(bytes, 'file', options);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    const allowed = options ? [EXIT.unreadable, EXIT.misuse] : [EXIT.unreadable];
    if (!(allowed as readonly number[]).includes(error.exit))
      throw new Error(`exit ${error.exit}`, { cause: error });
    return undefined;
  }
}

/** A terminal gets nothing that it would act on, programs get JSON, and nobody hears that anything was verified. */
function checkShown(inspection: Inspection | undefined): void {
  if (!inspection) return;
  const unsafe = /[\p{Cf}\p{Zl}\p{Zp}]|(?!\n)\p{Cc}/u;
  const [human, json] = [printed(inspection), inspectionJson(inspection)];
  expect(unsafe.exec(human)?.[0]).toBeUndefined();
  expect(unsafe.exec(json)?.[0]).toBeUndefined();
  expect(human).toContain('nothing here is verified');
  expect(JSON.parse(json)).toMatchObject({ kind: inspection.kind, verified: false });
  const rows = inspection.sections.flatMap((section) => section.rows);
  expect(rows.filter(([name, value]) => value === '' || name === '' || name.length > 24)).toEqual([]);
}

const HOSTILE = [
  '',
  '\u001b[2J',
  '\u202eevil',
  '__proto__',
  'constructor',
  'toString',
  'entries',
  'title',
  '-----BEGIN',
];
const hostileText = fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ maxLength: 40 }));
const anyJson: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 3, noUnicodeString: false }),
  hostileText,
  fc.double(),
  fc.constantFrom<unknown>([[[[[]]]]], { a: { b: { c: null } } }, 1e308, -0, 2 ** 53),
);

const places = fc.array(fc.tuple(fc.nat({ max: 1 << 20 }), fc.nat({ max: 255 })), {
  minLength: 1,
  maxLength: 3,
});

function withBytes(bytes: Uint8Array, changes: readonly (readonly [number, number])[]): Uint8Array {
  const changed = bytes.slice();
  for (const [at, value] of changes) changed[at % changed.length] = value;
  return changed;
}

describe('whatever is done to material of NVIDIA', () => {
  test(
    'bytes of it are shown or said to be unreadable, manifests and certificates beside it or not',
    () => {
      fc.assert(
        fc.property(fc.nat(), places, fc.boolean(), (which, changes, withOptions) => {
          const { bytes } = samples[which % samples.length]!;
          checkShown(attempt(withBytes(bytes, changes), withOptions ? beside : undefined));
        }),
        propertyRuns(250),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'a report in any text with any end',
    () => {
      const writings = [
        (bytes: Uint8Array) => bytes,
        (bytes: Uint8Array) => utf8(toHex(bytes)),
        (bytes: Uint8Array) => utf8(toBase64(bytes)),
        (bytes: Uint8Array) => utf8(toBase64(utf8(toHex(bytes)))),
      ];
      fc.assert(
        fc.property(
          fc.nat(),
          fc.constantFrom(...writings),
          places,
          fc.nat(),
          (which, write, changes, end) => {
            const { gpu, blackwell, hopper, lockedSwitch } = material;
            const { report } = [gpu, blackwell, hopper, lockedSwitch][which % 4]!;
            const changed = withBytes(report, changes);
            checkShown(
              attempt(write(changed.subarray(0, end % 3 === 0 ? end % changed.length : undefined)), beside),
            );
          },
        ),
        propertyRuns(250),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'opaque data of any fields',
    () => {
      const field = fc.tuple(fc.nat({ max: 40 }), fc.uint8Array({ maxLength: 150 }));
      fc.assert(
        fc.property(fc.boolean(), fc.array(field, { maxLength: 12 }), (isSwitch, fields) => {
          checkShown(
            attempt(withOpaque(isSwitch ? material.lockedSwitch.report : material.gpu.report, fields)),
          );
        }),
        propertyRuns(250),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'evidence and requests with any members',
    () => {
      const names = [
        'evidence',
        'certificate',
        'arch',
        'nonce',
        'evidences',
        'evidence_list',
        'driver_version',
        'claims_version',
      ];
      const members = fc.dictionary(fc.oneof(fc.constantFrom(...names), hostileText), anyJson, {
        maxKeys: 4,
      });
      fc.assert(
        fc.property(fc.nat({ max: 3 }), members, members, (form, outer, inner) => {
          const entry = { ...entryOf(material.gpu), ...inner };
          const forms: readonly unknown[] = [
            [entry, inner, entryOf(material.lockedSwitch)],
            { evidences: [entry], ...outer },
            { nonce: '00'.repeat(32), arch: 'HOPPER', evidence_list: [entry, inner], ...outer },
            { nonce: '00'.repeat(32), arch: 'LS10', ...entry },
          ];
          checkShown(attempt(utf8(JSON.stringify(forms[form]))));
        }),
        propertyRuns(150),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'tokens with any header and claims, and key sets of any keys',
    () => {
      const key = nras.mintKey();
      const device = nras.mintDevice('gpu', 1);
      const known = [
        ...Object.keys(nras.deviceClaims(device, '3.0')),
        'submods',
        'alg',
        'kid',
        'x-nvidia-ver',
      ];
      const members = fc.dictionary(fc.oneof(fc.constantFrom(...known), hostileText), anyJson, {
        maxKeys: 6,
      });
      fc.assert(
        fc.property(members, members, hostileText, fc.nat({ max: 3 }), (claims, header, label, form) => {
          const token = nras.signToken(key, { ...nras.deviceClaims(device, '3.0'), ...claims }, header);
          const overall = nras.signToken(key, {
            ...nras.overallClaims({ [label]: token }, '3.0'),
            ...claims,
          });
          const forms = [
            nras.encodeAnswer(overall, { [label]: token, 'GPU-0': token }),
            utf8(token),
            nras.keySet({ ...key.jwk, ...claims }, header),
            nras.encodeAnswer(token, { 'GPU-0': label }),
          ];
          checkShown(attempt(forms[form]!));
        }),
        propertyRuns(250),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'manifests with parts taken out, doubled, moved and put in',
    () => {
      const inserts = [
        '<a/>',
        '<!--',
        '-->',
        '<?x ',
        '?>',
        '<!DOCTYPE a [',
        ']>',
        '&#0;',
        '&',
        '<ds:Signature>',
        ' index="1"',
        'é',
        '"',
      ];
      const change = fc.record({
        at: fc.nat(),
        length: fc.nat({ max: 800 }),
        insert: fc.oneof(fc.constantFrom(...inserts), hostileText),
        doubles: fc.boolean(),
      });
      fc.assert(
        fc.property(
          fc.array(change, { minLength: 1, maxLength: 3 }),
          fc.nat({ max: 1 }),
          (changes, which) => {
            let xml = Buffer.from(material.rims[which]!).toString('latin1');
            for (const { at, length, insert, doubles } of changes) {
              const start = at % xml.length;
              const part = xml.slice(start, start + (length % 100 === 0 ? length : length % 20));
              xml =
                xml.slice(0, start) + insert + (doubles ? part + part : '') + xml.slice(start + part.length);
            }
            checkShown(attempt(Uint8Array.from(Buffer.from(xml, 'utf8'))));
          },
        ),
        propertyRuns(100),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'bytes behind a known beginning',
    () => {
      const starts = [
        '11e001ff',
        '30030a0100',
        '3003',
        '5b5b224a5754222c',
        toHex(utf8('eyJhbGciOiJFUzM4NCJ9.')),
        toHex(utf8('<SoftwareIdentity ')),
        toHex(utf8('{"keys":[{"kty":')),
        toHex(utf8('[{"evidence":"')),
      ];
      fc.assert(
        fc.property(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 3000 }), (start, rest) => {
          checkShown(attempt(Uint8Array.from([...fromHex(start), ...rest])));
        }),
        propertyRuns(150),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

/** A report with other opaque data. */
function withOpaque(report: Uint8Array, fields: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  const opaque = fields.flatMap(([id, data]) => [id, 0, data.length, 0, ...data]);
  const record = report[42]! + 256 * report[43]!;
  const head = report.subarray(0, 45 + record + 32);
  return Uint8Array.from([
    ...head,
    opaque.length & 0xff,
    opaque.length >> 8,
    ...opaque,
    ...report.subarray(-96),
  ]);
}

test('text that a regular expression could go astray in is read in good time', () => {
  const long = 2_000_000;
  const texts = [
    '<SoftwareIdentity'.padEnd(long, '<?'),
    '<SoftwareIdentity'.padEnd(long, '<!--'),
    '<SoftwareIdentity'.padEnd(long, '<!DOCTYPE ['),
    'eyJhbGciOiJFUzM4NCJ9.'.padEnd(long, 'a.'),
    '11e001'.padEnd(long, '-----BEGIN CERTIFICATE-----'),
    '[["JWT","'.padEnd(long, '.'),
    '[{"evidence":"'.padEnd(long, '['),
  ];
  const started = performance.now();
  for (const text of texts) checkShown(attempt(utf8(text)));
  expect(performance.now() - started).toBeLessThan(20_000);
});
