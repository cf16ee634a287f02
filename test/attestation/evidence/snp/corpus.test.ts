import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import type { CpuEvidence } from '../../../../attestation/evidence/evidence.ts';
import { AMD_ANCHORS, type SnpAnchor } from '../../../../attestation/evidence/snp/anchors.ts';
import { appraiseSnp } from '../../../../attestation/evidence/snp/appraise.ts';
import { readVekCertificate } from '../../../../attestation/evidence/snp/certificate.ts';
import { verifySnpChain } from '../../../../attestation/evidence/snp/chain.ts';
import { checkRevocation } from '../../../../attestation/evidence/snp/crl.ts';
import { parseSnpReport } from '../../../../attestation/evidence/snp/parse.ts';
import { splitTcb } from '../../../../attestation/evidence/snp/product.ts';
import { unwrapExtendedReport, unwrapReportResponse } from '../../../../attestation/evidence/snp/unwrap.ts';
import { verifySnp, type SnpVerifyOptions } from '../../../../attestation/evidence/snp/verify.ts';
import type { SnpPolicy } from '../../../../attestation/policy/policy.ts';
import { parseCertificate, parsePemChain } from '../../../../attestation/x509/certificate.ts';
import { describeCorpus } from '../../../support/corpus.ts';

interface Judgement {
  readonly at: string;
  readonly verdict: 'accept' | 'refuse';
  readonly reasons: readonly string[];
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
const POLICY: SnpPolicy = {
  products: ['milan', 'genoa', 'turin'],
  endorsementKeys: ['vcek', 'vlek'],
  debug: 'refused',
  migration: 'accepted',
  smt: 'accepted',
  vmpls: [0, 1, 2, 3],
  minimumTcb: 'any',
  chipIds: 'any',
  measurements: 'any',
  revocation: 'when-present',
};

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

function readEvidence(item: Case): CpuEvidence {
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
