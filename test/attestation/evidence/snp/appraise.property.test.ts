import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { appraiseSnp } from '../../../../attestation/evidence/snp/appraise.ts';
import { parseSnpReport } from '../../../../attestation/evidence/snp/parse.ts';
import { splitTcb, type SnpProduct } from '../../../../attestation/evidence/snp/product.ts';
import type { VerifiedSnp } from '../../../../attestation/evidence/snp/verify.ts';
import { snpPolicySchema, type SnpPolicy } from '../../../../attestation/policy/snp.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { genoaReport } from '../../../support/snpAuthority.ts';
import { LAX_SNP_POLICY } from '../../../support/snpPolicy.ts';

const PRODUCTS = ['milan', 'genoa', 'turin'] as const;
const CPUID = { milan: [0x19, 1, 1], genoa: [0x19, 0x11, 1], turin: [0x1a, 2, 1] } as const;

interface ReportChoices {
  readonly product: SnpProduct;
  readonly kind: 'vcek' | 'vlek';
  readonly version: number;
  readonly policy: bigint;
  readonly platform: bigint;
  readonly vmpl: number;
  readonly keyInfo: number;
  readonly mitigations: bigint;
  readonly tcb: readonly number[];
  /** One byte for each field that a policy compares with named values. */
  readonly fields: readonly number[];
}

/** Few values for each field, so that a policy meets them often. */
const small = fc.integer({ min: 0, max: 2 });
const bits = (...positions: readonly number[]) =>
  fc.subarray([...positions]).map((set) => set.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n));

const REPORT: fc.Arbitrary<ReportChoices> = fc.record({
  product: fc.constantFrom(...PRODUCTS),
  kind: fc.constantFrom('vcek', 'vlek'),
  version: fc.integer({ min: 2, max: 5 }),
  policy: bits(0, 8, 16, 18, 19, 20, 21, 22, 23, 24, 25),
  platform: bits(0, 1, 2, 3, 4, 5, 6, 7, 8),
  vmpl: fc.integer({ min: 0, max: 3 }),
  keyInfo: fc.integer({ min: 0, max: 3 }),
  mitigations: bits(0, 1, 63),
  tcb: fc.array(small, { minLength: 4, maxLength: 4 }),
  fields: fc.array(small, { minLength: 8, maxLength: 8 }),
});

/** Places of the fields: family id, image id, host data, id key, author key, migration agent, measurement, chip. */
const FIELDS = [
  [0x010, 0x020],
  [0x020, 0x030],
  [0x0c0, 0x0e0],
  [0x0e0, 0x110],
  [0x110, 0x140],
  [0x160, 0x180],
  [0x090, 0x0c0],
  [0x1a0, 0x1e0],
] as const;

/** What verification would return for a genuine report with these contents. */
function verifiedReport(choices: ReportChoices): VerifiedSnp {
  const { product, kind, version } = choices;
  const bytes = genoaReport();
  const view = new DataView(bytes.buffer);
  view.setUint32(0x000, version, true);
  view.setUint32(0x004, choices.fields[0] ?? 0, true);
  view.setBigUint64(0x008, choices.policy | (1n << 17n), true);
  view.setUint32(0x030, choices.vmpl, true);
  view.setBigUint64(0x040, choices.platform, true);
  view.setUint32(0x048, choices.keyInfo | (kind === 'vlek' ? 4 : 0), true);
  for (const [i, [start, end]] of FIELDS.entries()) bytes.fill(choices.fields[i] ?? 0, start, end);
  for (const [i, offset] of [0x038, 0x180, 0x1e0, 0x1f0].entries()) {
    bytes.fill(choices.tcb[i] ?? 0, offset, offset + 8);
  }
  bytes.set([choices.tcb[0] ?? 0, choices.tcb[1] ?? 0, choices.tcb[2] ?? 0], 0x1ec);
  bytes.set(version < 3 ? [0, 0, 0] : CPUID[product], 0x188);
  view.setBigUint64(0x1f8, version < 5 ? 0n : choices.mitigations, true);
  view.setBigUint64(0x200, version < 5 ? 0n : choices.mitigations >> 1n, true);
  const report = parseSnpReport(bytes);
  const tcb = {
    current: splitTcb(report.currentTcb, product),
    reported: splitTcb(report.reportedTcb, product),
    committed: splitTcb(report.committedTcb, product),
    launch: splitTcb(report.launchTcb, product),
  };
  const vek = { kind, product, cspId: kind === 'vlek' ? 'CN=cloud.example' : undefined };
  return { report, product, vek, tcb } as unknown as VerifiedSnp;
}

const hexOf = (length: number) => small.map((byte) => byte.toString(16).padStart(2, '0').repeat(length));
const references = (length: number) =>
  fc.array(fc.record({ name: fc.constantFrom('a', 'b'), value: hexOf(length) }), { maxLength: 2 });
const orAny = <T>(value: fc.Arbitrary<T>) => fc.oneof(fc.constant('any' as const), value);
const distinct = <T>(...values: readonly T[]) => fc.subarray([...values], { minLength: 1 });
const either = <A, B>(a: A, b: B) => fc.constantFrom<A | B>(a, b);
const protection = either('required' as const, 'any' as const);
const weakness = either('refused' as const, 'accepted' as const);

const components = { bootloader: small, tee: small, snp: small, microcode: small };
const cpuid = orAny(fc.record({ model: fc.constantFrom(1, 2, 0x11), stepping: fc.constant(1) }));
const minimums = orAny(
  fc.array(
    fc.oneof(
      fc.record({ product: fc.constantFrom('milan', 'genoa'), cpuid, ...components }),
      fc.record({ product: fc.constant('turin' as const), cpuid, fmc: small, ...components }),
    ),
    { minLength: 1, maxLength: 4 },
  ),
);
const firmwares = orAny(
  distinct(...PRODUCTS).chain((products) =>
    fc.tuple(
      ...products.map((product) =>
        fc.record({ product: fc.constant(product), major: small, minor: small, build: small }),
      ),
    ),
  ),
);

const POLICY: fc.Arbitrary<SnpPolicy> = fc
  .record({
    products: distinct(...PRODUCTS),
    endorsementKeys: distinct('vcek' as const, 'vlek' as const),
    chipIds: orAny(fc.uniqueArray(hexOf(64), { minLength: 1, maxLength: 2 })),
    cspIds: orAny(distinct('CN=cloud.example', 'CN=other.example')),
    debug: weakness,
    migration: weakness,
    migrationAgents: fc.oneof(
      fc.constantFrom('any' as const, 'none' as const),
      references(32).filter(({ length }) => length > 0),
    ),
    minimumAbi: orAny(fc.record({ major: small, minor: small })),
    smt: weakness,
    singleSocket: protection,
    cxl: weakness,
    memoryAes256Xts: protection,
    rapl: either('disabled' as const, 'any' as const),
    ciphertextHiding: protection,
    pageSwap: either('disabled' as const, 'any' as const),
    platformInfo: fc.record({
      smt: either('disabled' as const, 'any' as const),
      tsme: protection,
      ecc: protection,
      aliasCheckComplete: protection,
      iommuWriteSafe: protection,
      tio: fc.constantFrom('required', 'disabled', 'any'),
    }),
    vmpls: distinct(0, 1, 2, 3),
    minimumTcb: fc.record({ reported: minimums, committed: minimums, launch: minimums }),
    minimumFirmware: firmwares,
    requiredMitigations: fc.record({ launch: orAny(distinct(0, 1, 63)), current: orAny(distinct(0, 62)) }),
    measurements: orAny(references(48)),
    hostData: orAny(references(32)),
    idBlock: orAny(
      fc
        .record({ idKeyDigests: orAny(references(48)), authorKeyDigests: orAny(references(48)) })
        .filter((block) => block.idKeyDigests !== 'any' || block.authorKeyDigests !== 'any'),
    ),
    familyIds: orAny(references(16)),
    imageIds: orAny(references(16)),
    minimumGuestSvn: orAny(small),
    revocation: either('required' as const, 'when-present' as const),
  })
  .map((policy) => (policy.chipIds === 'any' ? policy : { ...policy, cspIds: 'any' as const }))
  .map((policy) =>
    policy.idBlock === 'any'
      ? { ...policy, familyIds: 'any' as const, imageIds: 'any' as const, minimumGuestSvn: 'any' as const }
      : policy,
  );

function accepts(verified: VerifiedSnp, policy: SnpPolicy): boolean {
  return appraiseSnp(verified, policy).every(({ result }) => result !== 'fail');
}

type Json = string | number | readonly Json[] | { readonly [member: string]: Json };

/** Lists of what is accepted; in all others, entries are demands. */
const ALLOWED = new Set([
  'products',
  'endorsementKeys',
  'chipIds',
  'cspIds',
  'vmpls',
  'migrationAgents',
  'measurements',
  'hostData',
  'idKeyDigests',
  'authorKeyDigests',
  'familyIds',
  'imageIds',
]);

/** Demands an ID block and no more; the schema refuses it as a policy. */
const ANY_SIGNER: Readonly<Record<string, Json>> = { idKeyDigests: 'any', authorKeyDigests: 'any' };

/** Every value that is one step looser than the given one. */
function looser(member: string, value: Json, lax: Json | undefined): readonly Json[] {
  const whole = lax === undefined || member === 'cpuid' ? [] : [lax];
  if (typeof value === 'number') return member === 'stepping' || value === 0 ? whole : [...whole, value - 1];
  if (typeof value === 'string') return whole;
  if (isList(value)) return [...whole, ...looserLists(member, value)];
  const inner = typeof lax === 'object' && !isList(lax) ? lax : member === 'idBlock' ? ANY_SIGNER : {};
  if (member === 'cpuid') return [];
  return [
    ...whole,
    ...Object.entries(value).flatMap(([name, item]) =>
      looser(name, item, inner[name]).map((changed) => ({ ...value, [name]: changed })),
    ),
  ];
}

function looserLists(member: string, list: readonly Json[]): readonly Json[] {
  if (member === 'launch' || member === 'current') {
    const bitsOnly = list.every((item) => typeof item === 'number');
    if (bitsOnly) return list.length > 1 ? list.map((_, i) => list.toSpliced(i, 1)) : [];
  }
  if (ALLOWED.has(member)) {
    // An empty list of references is «not judged»: any entry is more.
    return typeof list[0] === 'object' ? [[...list, { name: 'more', value: '00' }]] : [];
  }
  return list.flatMap((item, i) => looser('item', item, undefined).map((changed) => list.with(i, changed)));
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

describe('a policy for SNP', () => {
  test(
    'that is loosened refuses nothing that it accepted',
    () => {
      let accepted = 0;
      fc.assert(
        fc.property(REPORT, POLICY, (choices, drawn) => {
          const verified = verifiedReport(choices);
          for (const policy of [drawn, ...mostlyLax(drawn)]) {
            if (!accepts(verified, policy)) continue;
            accepted++;
            const loosened = looser('policy', policy, LAX_SNP_POLICY) as unknown as readonly SnpPolicy[];
            expect(loosened.filter((candidate) => !accepts(verified, candidate))).toEqual([]);
          }
        }),
        propertyRuns(60),
      );
      expect(accepted).toBeGreaterThan(300);
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'is one that the schema takes, and accepts what the loosest does not refuse',
    () => {
      fc.assert(
        fc.property(REPORT, POLICY, (choices, policy) => {
          expect(snpPolicySchema.parse(policy)).toEqual(policy);
          const verified = verifiedReport(choices);
          const checks = appraiseSnp(verified, LAX_SNP_POLICY);
          const masked = choices.kind === 'vcek' && verified.report.keyInfo.maskChipKey;
          expect(checks.every(({ result }) => result !== 'fail')).toBe(!masked);
          if (masked) expect(accepts(verified, policy)).toBe(false);
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

/** The loosest policy with one member of the drawn one: it accepts often enough to be loosened. */
function mostlyLax(drawn: SnpPolicy): readonly SnpPolicy[] {
  return Object.entries(drawn).map(([member, value]) => ({ ...LAX_SNP_POLICY, [member]: value }));
}

/** A report with every weakness and no protection, which the loosest policy accepts. */
const WEAK = verifiedReport({
  product: 'genoa',
  kind: 'vcek',
  version: 5,
  policy: (1n << 16n) | (1n << 18n) | (1n << 19n) | (1n << 21n),
  platform: 1n,
  vmpl: 1,
  keyInfo: 0,
  mitigations: 0n,
  tcb: [1, 1, 1, 1],
  fields: [1, 1, 1, 1, 1, 1, 1, 1],
});
const OTHER = (length: number) => [{ name: 'other', value: '02'.repeat(length) }];
const SIGNED: SnpPolicy['idBlock'] = {
  idKeyDigests: [{ name: 'id key', value: '01'.repeat(48) }],
  authorKeyDigests: 'any',
};
const FLOOR = { product: 'genoa', cpuid: 'any', bootloader: 1, tee: 1, snp: 2, microcode: 1 } as const;
const { platformInfo, minimumTcb, requiredMitigations } = LAX_SNP_POLICY;

/** For each member, a policy that is loose but for it and refuses the weak report. */
const STRICT_MEMBERS: Readonly<Record<string, Partial<SnpPolicy>>> = {
  products: { products: ['milan'] },
  endorsementKeys: { endorsementKeys: ['vlek'] },
  chipIds: { chipIds: ['02'.repeat(64)] },
  cspIds: { cspIds: ['CN=cloud.example'] },
  debug: { debug: 'refused' },
  migration: { migration: 'refused' },
  migrationAgents: { migrationAgents: 'none' },
  minimumAbi: { minimumAbi: { major: 1, minor: 0 } },
  smt: { smt: 'refused' },
  singleSocket: { singleSocket: 'required' },
  cxl: { cxl: 'refused' },
  memoryAes256Xts: { memoryAes256Xts: 'required' },
  rapl: { rapl: 'disabled' },
  ciphertextHiding: { ciphertextHiding: 'required' },
  pageSwap: { pageSwap: 'disabled' },
  'platformInfo.smt': { platformInfo: { ...platformInfo, smt: 'disabled' } },
  'platformInfo.tsme': { platformInfo: { ...platformInfo, tsme: 'required' } },
  'platformInfo.ecc': { platformInfo: { ...platformInfo, ecc: 'required' } },
  'platformInfo.aliasCheckComplete': { platformInfo: { ...platformInfo, aliasCheckComplete: 'required' } },
  'platformInfo.iommuWriteSafe': { platformInfo: { ...platformInfo, iommuWriteSafe: 'required' } },
  'platformInfo.tio': { platformInfo: { ...platformInfo, tio: 'required' } },
  vmpls: { vmpls: [0] },
  'minimumTcb.reported': { minimumTcb: { ...minimumTcb, reported: [FLOOR] } },
  'minimumTcb.committed': { minimumTcb: { ...minimumTcb, committed: [FLOOR] } },
  'minimumTcb.launch': { minimumTcb: { ...minimumTcb, launch: [FLOOR] } },
  minimumFirmware: { minimumFirmware: [{ product: 'genoa', major: 1, minor: 1, build: 2 }] },
  'requiredMitigations.launch': { requiredMitigations: { ...requiredMitigations, launch: [0] } },
  'requiredMitigations.current': { requiredMitigations: { ...requiredMitigations, current: [0] } },
  measurements: { measurements: OTHER(48) },
  hostData: { hostData: OTHER(32) },
  idBlock: { idBlock: { idKeyDigests: OTHER(48), authorKeyDigests: 'any' } },
  familyIds: { idBlock: SIGNED, familyIds: OTHER(16) },
  imageIds: { idBlock: SIGNED, imageIds: OTHER(16) },
  minimumGuestSvn: { idBlock: SIGNED, minimumGuestSvn: 2 },
};

describe('every member of a policy for SNP matters', () => {
  test('and is among these; revocation is judged where collateral is', () => {
    const members = Object.entries(LAX_SNP_POLICY).flatMap(([member, value]) =>
      typeof value === 'object' && !Array.isArray(value)
        ? Object.keys(value).map((inner) => `${member}.${inner}`)
        : [member],
    );
    expect(Object.keys(STRICT_MEMBERS).sort()).toEqual(
      members.filter((member) => member !== 'revocation').sort(),
    );
  });

  test.each(Object.entries(STRICT_MEMBERS))('%s', (member, strict) => {
    const policy = { ...LAX_SNP_POLICY, ...strict };
    expect(snpPolicySchema.parse(policy)).toEqual(policy);
    expect(accepts(WEAK, LAX_SNP_POLICY)).toBe(true);
    expect(accepts(WEAK, { ...LAX_SNP_POLICY, idBlock: policy.idBlock })).toBe(member !== 'idBlock');
    expect(accepts(WEAK, policy)).toBe(false);
  });
});
