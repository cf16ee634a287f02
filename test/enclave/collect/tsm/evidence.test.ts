import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { CollectError } from '../../../../enclave/collect/errors.ts';
import { toSnpEvidence, toTdxEvidence } from '../../../../enclave/collect/tsm/evidence.ts';
import type { ReportBlobs } from '../../../../enclave/collect/tsm/report.ts';
import { encodeCertificateTable, TABLE_GUID } from '../../../support/certificateTable.ts';
import { mintTdx } from '../../../support/platforms.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import {
  generateChipKeys,
  genoaReport,
  ia5String,
  mintAuthority,
  signReport,
  type SnpAuthority,
} from '../../../support/snpAuthority.ts';
import { codeOf, REPORT_DATA } from './machines.ts';

/** Offset of KEY_INFO, whose bits 2 to 4 name the key: 0 VCEK, 1 VLEK, 7 none. */
const KEY_INFO = 0x048;
const NONE = new Uint8Array();

type Role = keyof typeof TABLE_GUID;

let authority: SnpAuthority;
let vcek: Uint8Array, vlek: Uint8Array, quote: Uint8Array;
let keys: Awaited<ReturnType<typeof generateChipKeys>>;

beforeAll(async () => {
  authority = await mintAuthority();
  keys = await generateChipKeys();
  const ofCloud = { '4': undefined, '5': ia5String('CN=cc-us-east-2.amazonaws.com') };
  [vcek, vlek, quote] = await Promise.all([
    authority.issueVek(keys),
    authority.issueVek(keys, { extensions: ofCloud }),
    mintTdx().then((machine) => machine.quote(REPORT_DATA)),
  ]);
});

async function blobs(
  key: 0 | 1 | 7,
  entries: readonly (readonly [Role, Uint8Array])[],
): Promise<ReportBlobs> {
  const bytes = genoaReport();
  bytes.set(REPORT_DATA, 0x050);
  bytes[KEY_INFO] = key << 2;
  const table = encodeCertificateTable(entries.map(([role, data]) => ({ guid: TABLE_GUID[role], data })));
  return { report: await signReport(bytes, keys), certificateTable: table, manifest: NONE };
}

const chain = async (key: 0 | 1 | 7, entries: readonly (readonly [Role, Uint8Array])[]) =>
  toSnpEvidence(await blobs(key, entries), REPORT_DATA, 0).certificates;

describe('the chain of an SNP report', () => {
  test('has the certificate of the key that the report names', async () => {
    const { ask, ark } = authority;
    const both = [['vcek', vcek], ['vlek', vlek], ['ask', ask], ['ark', ark]] as const; // prettier-ignore
    expect(await chain(0, both)).toEqual([vcek, ask, ark]);
    expect(await chain(1, both)).toEqual([vlek, ask, ark]);
  });

  test('is empty where the host sent the other key', async () => {
    const { ask, ark } = authority;
    expect(await chain(0, [['vlek', vlek], ['ask', ask], ['ark', ark]])).toEqual([]); // prettier-ignore
    expect(await chain(1, [['vcek', vcek], ['ask', ask], ['ark', ark]])).toEqual([]); // prettier-ignore
  });

  test('is empty where the report is signed by no key', async () => {
    expect(await chain(7, [['vcek', vcek]])).toEqual([]);
  });

  test('is empty without a leaf', async () => {
    expect(await chain(0, [['ask', authority.ask], ['ark', authority.ark]])).toEqual([]); // prettier-ignore
  });

  test('is empty where the leaf is of other firmware', async () => {
    const older = await authority.issueVek(keys, { extensions: { '3.8': Uint8Array.of(2, 1, 7) } });
    expect(await chain(0, [['vcek', older], ['ask', authority.ask], ['ark', authority.ark]])).toEqual([]); // prettier-ignore
  });

  test('is empty where the leaf is no VEK certificate', async () => {
    expect(await chain(0, [['vcek', authority.ask]])).toEqual([]);
    expect(await chain(0, [['vcek', Uint8Array.of(0x30, 0)]])).toEqual([]);
  });

  test('is its leaf where an issuer cannot be read', async () => {
    const broken = authority.ark.slice(0, -1);
    expect(await chain(0, [['vcek', vcek], ['ask', authority.ask], ['ark', broken]])).toEqual([vcek]); // prettier-ignore
  });
});

describe('whatever a host sends', () => {
  /** Evidence, or an error of ours: nothing else comes out. */
  const isAnswered = async (step: () => unknown) => {
    await codeOf(Promise.resolve().then(step));
  };

  test(
    'as certificate table',
    async () => {
      const { report } = await blobs(0, []);
      const { certificateTable } = await blobs(0, [['vcek', vcek], ['ask', authority.ask]]); // prettier-ignore
      const tables = fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc
          .tuple(fc.nat(certificateTable.length - 1), fc.nat(255))
          .map(([at, byte]) => certificateTable.map((old, i) => (i === at ? byte : old))),
      );
      await fc.assert(
        fc.asyncProperty(tables, (table) =>
          isAnswered(() =>
            toSnpEvidence({ report, certificateTable: table, manifest: NONE }, REPORT_DATA, 0),
          ),
        ),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'as quote',
    async () => {
      const quotes = fc.oneof(
        fc.uint8Array({ maxLength: 2000 }),
        fc
          .tuple(fc.nat(quote.length - 1), fc.nat(255))
          .map(([at, byte]) => quote.map((old, i) => (i === at ? byte : old))),
        fc.nat(quote.length).map((length) => quote.slice(0, length)),
      );
      await fc.assert(
        fc.asyncProperty(quotes, (report) =>
          isAnswered(() => toTdxEvidence({ report, certificateTable: NONE, manifest: NONE }, REPORT_DATA)),
        ),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'after a quote: it is cut away',
    () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 5000 }), (padding) => {
          const report = concat(quote, padding);
          const evidence = toTdxEvidence({ report, certificateTable: NONE, manifest: NONE }, REPORT_DATA);
          expect(evidence.report).toEqual(quote);
        }),
        propertyRuns(100),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

test('evidence does not share memory with the blobs', async () => {
  const made = await blobs(0, [['vcek', vcek]]);
  const evidence = toSnpEvidence(made, REPORT_DATA, 0);
  made.report.fill(0);
  made.certificateTable.fill(0);
  expect(evidence.report.subarray(0x50, 0x90)).toEqual(REPORT_DATA);
  expect(evidence.certificates).toEqual([vcek]);
});

test('nothing at all is no evidence', () => {
  const made = { report: NONE, certificateTable: NONE, manifest: NONE };
  expect(() => toTdxEvidence(made, REPORT_DATA)).toThrow(CollectError);
  expect(() => toSnpEvidence(made, REPORT_DATA, 0)).toThrow(CollectError);
});
