import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import type { SnpEvidence } from '../../../../attestation/evidence/evidence.ts';
import { AMD_ANCHORS, type SnpAnchor } from '../../../../attestation/evidence/snp/anchors.ts';
import { appraiseSnp } from '../../../../attestation/evidence/snp/appraise.ts';
import { readVekCertificate } from '../../../../attestation/evidence/snp/certificate.ts';
import { verifySnpChain } from '../../../../attestation/evidence/snp/chain.ts';
import { checkRevocation } from '../../../../attestation/evidence/snp/crl.ts';
import { parseSnpReport } from '../../../../attestation/evidence/snp/parse.ts';
import { splitTcb, type SnpTcb } from '../../../../attestation/evidence/snp/product.ts';
import { parseThimCertificates } from '../../../../attestation/evidence/snp/thim.ts';
import { unwrapExtendedReport, unwrapReportResponse } from '../../../../attestation/evidence/snp/unwrap.ts';
import {
  verifySnp,
  type SnpVerifyOptions,
  type VerifiedSnp,
} from '../../../../attestation/evidence/snp/verify.ts';
import { DEFAULT_POLICY } from '../../../../attestation/policy/defaults.ts';
import type { SnpPolicy, SnpTcbMinimum } from '../../../../attestation/policy/snp.ts';
import { parseCertificate, parsePemChain } from '../../../../attestation/x509/certificate.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { LAX_SNP_POLICY } from '../../../support/snpPolicy.ts';

interface Judgement {
  readonly at: string;
  readonly verdict: 'accept' | 'refuse';
  readonly reasons: readonly string[];
  readonly cryptographicallyValid?: boolean;
}

interface Facts {
  readonly [name: string]: unknown;
  readonly vek?: { readonly product: string; readonly hwid: string | null; readonly csp: string | null };
  readonly trustAnchor?: { readonly spkiSha256: string };
}

interface Case {
  readonly id: string;
  readonly directory: string;
  readonly facts: Facts;
  readonly files: readonly string[];
  readonly judgements: readonly Judgement[];
}

/** The corpus' default policy: debug off, everything else as it comes. */
const POLICY: SnpPolicy = { ...LAX_SNP_POLICY, debug: 'refused' };

/** Certificates without a report: judged by `verifySnpChain` alone. */
const WITHOUT_REPORT = new Set(['vcek-turin-chain-only', 'crl-genoa-revokes-old-ask']);

function loadCases(root: string): readonly Case[] {
  return readdirSync(root).map((id) => {
    const directory = join(root, id);
    const json = JSON.parse(readFileSync(join(directory, 'case.json'), 'utf8')) as {
      verifyAt: string | null;
      expected: Omit<Judgement, 'at'>;
      alsoAt?: readonly Judgement[];
      facts: Facts;
      files: readonly { path: string }[];
    };
    const first = { ...json.expected, at: json.verifyAt ?? '2026-01-01T00:00:00Z' };
    const files = json.files.map(({ path }) => path);
    return { id, directory, facts: json.facts, files, judgements: [first, ...(json.alsoAt ?? [])] };
  });
}

function read(item: Case, file: string): Uint8Array | undefined {
  return item.files.includes(file) ? new Uint8Array(readFileSync(join(item.directory, file))) : undefined;
}

function readPem(item: Case, file: string): readonly Uint8Array[] {
  const pem = read(item, file);
  return pem ? parsePemChain(Buffer.from(pem).toString('latin1')).map(({ der }) => der) : [];
}

function readEvidence(item: Case): SnpEvidence {
  const extended = read(item, 'extended_report.bin');
  if (extended) return unwrapExtendedReport(extended);
  const response = read(item, 'msg_report_rsp.bin');
  const report = response ? unwrapReportResponse(response) : (read(item, 'report.bin') ?? new Uint8Array());
  const der = read(item, 'vcek.der') ?? read(item, 'vlek.der');
  const vek = der ? [der] : readPem(item, 'vcek.pem');
  return { platform: 'snp', report, certificates: [...vek, ...readPem(item, 'ask_ark.pem')] };
}

/** The synthetic cases bring their own root, shaped as Milan's. */
function readAnchors({ facts }: Case): readonly SnpAnchor[] {
  if (!facts.trustAnchor) return AMD_ANCHORS;
  const { spkiSha256 } = facts.trustAnchor;
  return [{ role: 'amd-ark', name: 'synthetic', product: 'milan', spkiSha256, simulated: true }];
}

function readOptions(item: Case, at: string, crypto: CryptoProvider): SnpVerifyOptions {
  const crls = item.files.filter((file) => file.endsWith('.crl')).flatMap((file) => read(item, file) ?? []);
  return { crypto, now: Date.parse(at), anchors: readAnchors(item), crls, revocation: 'when-present' };
}

/** Codes of the refusal or of the failed checks; none is accepted. */
async function judge(item: Case, options: SnpVerifyOptions): Promise<readonly string[]> {
  try {
    const evidence = readEvidence(item);
    if (item.id === 'crl-genoa-revokes-old-ask') {
      const [ask, ark] = evidence.certificates.map(parseCertificate);
      await checkRevocation([ask!, ark!], ark!, options);
      return [];
    }
    if (item.id === 'vcek-turin-chain-only') {
      readVekCertificate((await verifySnpChain(evidence.certificates, options)).vek);
      return [];
    }
    const checks = appraiseSnp(await verifySnp(evidence, options), POLICY);
    return checks.filter(({ result }) => result === 'fail').map(({ code }) => code);
  } catch (error) {
    if (error instanceof Refusal) return [error.code];
    throw error;
  }
}

describeCorpus('SEV-SNP corpus', 'evidence/cpu/amd', (root) => {
  const cases = loadCases(root);
  const providers = { nodeCrypto, portableCrypto };

  test('has every case', () => {
    expect(cases).toHaveLength(28);
  });

  for (const [name, crypto] of Object.entries(providers)) {
    for (const item of cases) {
      for (const { at, verdict, reasons } of item.judgements) {
        test(`${item.id} at ${at} with ${name}: ${verdict} ${reasons.join(' or ')}`, async () => {
          const codes = await judge(item, readOptions(item, at, crypto));
          if (verdict === 'accept') expect(codes).toEqual([]);
          else expect(reasons).toContain(codes[0]);
        });
      }
    }
  }

  for (const item of cases.filter(({ facts }) => facts['policyHex'] !== undefined)) {
    test(`${item.id}: fields are those that the case states`, () => {
      const { facts } = item;
      const report = parseOrUndefined(item);
      if (!report) return;
      expect({
        version: report.version,
        guestSvn: report.guestSvn,
        policyHex: report.policy.raw.toString(16).padStart(16, '0'),
        platformInfoHex: report.platformInfo.raw.toString(16).padStart(16, '0'),
        vmpl: report.vmpl,
        signingKey: report.keyInfo.signingKey,
        familyId: toHex(report.familyId),
        imageId: toHex(report.imageId),
        reportData: toHex(report.reportData),
        measurement: toHex(report.measurement),
        hostData: toHex(report.hostData),
        idKeyDigest: toHex(report.idKeyDigest),
        authorKeyDigest: toHex(report.authorKeyDigest),
        reportId: toHex(report.reportId),
        reportIdMa: toHex(report.reportIdMa),
        chipId: toHex(report.chipId),
        currentVersion: versionText(report.currentVersion),
        committedVersion: versionText(report.committedVersion),
        ...(report.cpuid && { cpuidFamily: report.cpuid.family, cpuidModel: report.cpuid.model }),
        ...(report.launchMitigations !== undefined && {
          launchMitVector: report.launchMitigations.toString(16).padStart(16, '0'),
        }),
      }).toEqual(expect.objectContaining(pick(facts, report.version)));
      const product = readVek(item)?.product;
      for (const tcb of ['currentTcb', 'reportedTcb', 'committedTcb', 'launchTcb'] as const) {
        const stated = facts[tcb] as Record<string, unknown>;
        expect(toHex(report[tcb])).toBe(stated['raw']);
        if (product) expect({ raw: stated['raw'], ...splitTcb(report[tcb], product) }).toEqual({ ...stated });
      }
    });

    test(`${item.id}: the VEK certificate states what the case states`, () => {
      const vek = readVek(item);
      if (!vek || !item.facts.vek) return;
      // One certificate wraps it in an OCTET STRING of 64 bytes (04 40); the case states the whole value.
      expect(vek.hwid ? toHex(vek.hwid) : null).toBe(
        item.facts.vek.hwid?.replace(/^0440(?=.{128}$)/, '') ?? null,
      );
      expect(vek.cspId ?? null).toBe(item.facts.vek.csp);
      expect(item.facts.vek.product.toLowerCase().startsWith(vek.product)).toBe(true);
    });
  }

  for (const item of cases.filter(({ id, facts }) => !facts.trustAnchor && !WITHOUT_REPORT.has(id))) {
    test(`${item.id}: without a pinned root it is refused`, async () => {
      const options = { ...readOptions(item, item.judgements[0]!.at, nodeCrypto), anchors: [] };
      const [code] = await judge(item, options);
      expect(['UNTRUSTED_ROOT', 'MALFORMED', 'CERT_MISSING']).toContain(code);
    });
  }

  /** Genuine reports whose signatures hold, debugged ones included. */
  const genuine = cases.filter(
    ({ id, facts, judgements: [first] }) =>
      !facts.trustAnchor && !WITHOUT_REPORT.has(id) && first?.cryptographicallyValid === true,
  );
  const verifyGenuine = (item: Case) =>
    verifySnp(readEvidence(item), readOptions(item, item.judgements[0]!.at, nodeCrypto));

  test('the published default demands only what current hardware has', async () => {
    const { snp } = DEFAULT_POLICY.cpu;
    if (snp === 'refused') throw new Error('the default takes SNP');
    const found: Record<string, readonly string[]> = {};
    for (const item of genuine) {
      const checks = appraiseSnp(await verifyGenuine(item), { ...snp, measurements: 'any' });
      found[item.id] = checks
        .filter(({ result }) => result === 'fail')
        .map(({ id, code }) => `${id} ${code}`);
    }
    const aliased = 'cpu.guest-policy GUEST_POLICY_VIOLATED';
    const vmpl = 'cpu.privilege PRIVILEGE_LEVEL_MISMATCH';
    expect(found).toEqual({
      'snp-genoa-v3-azure-aci': [],
      'snp-genoa-v5-family19-model-a0': [],
      // Firmware before the check for aliased memory.
      'snp-milan-v2-azure-thim': [aliased],
      'snp-milan-v2-debug-policy': ['cpu.debug DEBUG_ENABLED', aliased],
      'snp-milan-v2-extended-report': [aliased],
      'snp-milan-v2-vcek': [aliased],
      'snp-milan-v2-vcek-trustee': [aliased],
      'snp-milan-v3-azure-aci': [],
      'snp-milan-v3-vlek-aws': [vmpl],
      'snp-milan-v3-with-crl': [],
      'snp-milan-v5-gcp': [],
      'snp-milan-v5-gcp-vmpl1-report-data': [vmpl],
      'snp-milan-v5-gcp-x25519-binding': [vmpl],
      'snp-turin-v5-azure-aci': [],
    });
  });

  for (const item of genuine) {
    test(`${item.id}: a policy of exactly its values accepts it, each value above or beside them refuses`, async () => {
      const verified = await verifyGenuine(item);
      const own = ownPolicy(verified);
      const failed = (policy: SnpPolicy) =>
        appraiseSnp(verified, policy).filter(({ result }) => result === 'fail');
      expect(failed(own)).toEqual([]);
      for (const policy of stricterPolicies(own)) expect(failed(policy)).toHaveLength(1);
    });
  }

  test('the cache of an Azure host gives the certificates that verify the report', async () => {
    const item = cases.find(({ id }) => id === 'snp-milan-v2-azure-thim')!;
    const { certificates, tcb } = parseThimCertificates(read(item, 'thim_certification.json')!);
    expect(certificates).toEqual(readEvidence(item).certificates);
    const { report } = readEvidence(item);
    const verified = await verifySnp(
      { report, certificates },
      readOptions(item, item.judgements[0]!.at, nodeCrypto),
    );
    expect(verified.report.reportedTcb).toEqual(tcb);
  });

  test('the synthetic cases are refused under the genuine roots', async () => {
    for (const item of cases.filter(({ facts }) => facts.trustAnchor)) {
      const options = { ...readOptions(item, item.judgements[0]!.at, nodeCrypto), anchors: AMD_ANCHORS };
      expect(await judge(item, options)).toEqual(['UNTRUSTED_ROOT']);
    }
  });
});

function parseOrUndefined(item: Case) {
  try {
    return parseSnpReport(readEvidence(item).report);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

function readVek(item: Case) {
  const [vek] = readEvidence(item).certificates;
  return vek && readVekCertificate(parseCertificate(vek));
}

function versionText({ major, minor, build }: { major: number; minor: number; build: number }): string {
  return `${major}.${minor}.${build}`;
}

const COMPARED = [
  'version guestSvn policyHex platformInfoHex vmpl signingKey familyId imageId reportData measurement hostData',
  'idKeyDigest authorKeyDigest reportId reportIdMa chipId currentVersion committedVersion',
]
  .join(' ')
  .split(' ');

/** The facts that every report of the version has. */
function pick(facts: Facts, version: number): Record<string, unknown> {
  const names = [...COMPARED];
  if (version >= 3) names.push('cpuidFamily', 'cpuidModel');
  if (version >= 5) names.push('launchMitVector');
  return Object.fromEntries(names.map((name) => [name, facts[name]]));
}

/** The policy that names every value of the report and sets every minimum to it. */
function ownPolicy({ report, product, vek, tcb }: VerifiedSnp): SnpPolicy {
  const { policy, platformInfo } = report;
  const named = (value: Uint8Array) => [{ name: 'own', value: toHex(value) }];
  const hasBlock = report.idKeyDigest.some((byte) => byte !== 0);
  const cpuid = report.cpuid ? { model: report.cpuid.model, stepping: report.cpuid.stepping } : 'any';
  const floor = ({ fmc, ...rest }: SnpTcb): SnpTcbMinimum[] => [
    product === 'turin' ? { product, cpuid, fmc: fmc ?? 0, ...rest } : { product, cpuid, ...rest },
  ];
  const bits = (vector: bigint | undefined) => {
    const set = Array.from({ length: 64 }, (_, bit) => bit).filter(
      (bit) => ((vector ?? 0n) >> BigInt(bit)) & 1n,
    );
    return set.length > 0 ? set : 'any';
  };
  return {
    ...LAX_SNP_POLICY,
    products: [product],
    endorsementKeys: [vek.kind],
    chipIds: vek.kind === 'vcek' ? [toHex(report.chipId)] : 'any',
    cspIds: vek.cspId === undefined ? 'any' : [vek.cspId],
    debug: policy.debug ? 'accepted' : 'refused',
    migration: 'refused',
    migrationAgents: 'none',
    minimumAbi: { major: policy.abiMajor, minor: policy.abiMinor },
    cxl: 'refused',
    platformInfo: {
      smt: platformInfo.smtEnabled ? 'any' : 'disabled',
      tsme: platformInfo.tsmeEnabled ? 'required' : 'any',
      ecc: platformInfo.eccEnabled ? 'required' : 'any',
      aliasCheckComplete: platformInfo.aliasCheckComplete ? 'required' : 'any',
      iommuWriteSafe: platformInfo.iommuWriteSafe ? 'required' : 'any',
      tio: 'disabled',
    },
    vmpls: [report.vmpl],
    minimumTcb: { reported: floor(tcb.reported), committed: floor(tcb.committed), launch: floor(tcb.launch) },
    minimumFirmware: [{ product, ...report.committedVersion }],
    requiredMitigations: { launch: bits(report.launchMitigations), current: bits(report.currentMitigations) },
    measurements: named(report.measurement),
    hostData: named(report.hostData),
    idBlock: hasBlock ? { idKeyDigests: named(report.idKeyDigest), authorKeyDigests: 'any' } : 'any',
    familyIds: named(report.familyId),
    imageIds: named(report.imageId),
    minimumGuestSvn: report.guestSvn,
  };
}

/** Each demands one thing that the report does not have. */
function stricterPolicies(own: SnpPolicy): readonly SnpPolicy[] {
  const other = (bytes: number) => [{ name: 'other', value: 'ee'.repeat(bytes) }];
  const above = (floors: SnpPolicy['minimumTcb']['reported']) =>
    floors === 'any' ? floors : floors.map((floor) => ({ ...floor, microcode: floor.microcode + 1 }));
  const { minimumTcb, minimumFirmware, minimumAbi, minimumGuestSvn, requiredMitigations } = own;
  if (minimumFirmware === 'any' || minimumAbi === 'any' || minimumGuestSvn === 'any') return [];
  return [
    { ...own, products: own.products[0] === 'turin' ? ['milan'] : ['turin'] },
    { ...own, endorsementKeys: own.endorsementKeys[0] === 'vlek' ? ['vcek'] : ['vlek'] },
    { ...own, chipIds: ['ee'.repeat(64)] },
    { ...own, cspIds: ['CN=other.example'] },
    { ...own, vmpls: [own.vmpls[0] === 0 ? 1 : 0] },
    { ...own, smt: 'refused' },
    { ...own, singleSocket: 'required' },
    { ...own, memoryAes256Xts: 'required' },
    { ...own, rapl: 'disabled' },
    { ...own, ciphertextHiding: 'required' },
    { ...own, pageSwap: 'disabled' },
    { ...own, platformInfo: { ...own.platformInfo, tio: 'required' } },
    { ...own, minimumAbi: { ...minimumAbi, minor: minimumAbi.minor + 1 } },
    { ...own, minimumTcb: { ...minimumTcb, reported: above(minimumTcb.reported) } },
    { ...own, minimumTcb: { ...minimumTcb, committed: above(minimumTcb.committed) } },
    { ...own, minimumTcb: { ...minimumTcb, launch: above(minimumTcb.launch) } },
    { ...own, minimumFirmware: minimumFirmware.map((floor) => ({ ...floor, build: floor.build + 1 })) },
    { ...own, requiredMitigations: { ...requiredMitigations, launch: [63] } },
    { ...own, requiredMitigations: { ...requiredMitigations, current: [63] } },
    { ...own, measurements: other(48) },
    { ...own, hostData: other(32) },
    { ...own, idBlock: { idKeyDigests: other(48), authorKeyDigests: 'any' } },
    { ...own, idBlock: { idKeyDigests: 'any', authorKeyDigests: other(48) } },
    { ...own, familyIds: other(16) },
    { ...own, imageIds: other(16) },
    { ...own, minimumGuestSvn: minimumGuestSvn + 1 },
  ];
}
