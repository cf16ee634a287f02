import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { appraiseRuntimeClaims, checkUserData } from '../../../../attestation/evidence/azure/appraise.ts';
import { parseHclReport } from '../../../../attestation/evidence/azure/parse.ts';
import { verifyRuntimeClaims } from '../../../../attestation/evidence/azure/verify.ts';
import type { AzurePolicy } from '../../../../attestation/policy/azure.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { refusalOf } from '../../../support/refusal.ts';

interface HclFacts {
  readonly version: number;
  readonly reportType: 'SNP' | 'TDX';
  readonly hashType?: string;
  readonly reportSize?: number;
  readonly variableDataSize: number;
  readonly variableDataSha256: string;
  readonly akModulusSha256?: string;
  readonly vmConfiguration?: Readonly<Record<string, unknown>>;
  readonly userDataHex?: string;
}

interface Case {
  readonly id: string;
  readonly directory: string;
  readonly bytes: Uint8Array;
  readonly facts: HclFacts | undefined;
  readonly checks: Readonly<Record<string, boolean>>;
  readonly hasQuote: boolean;
}

/** The corpus' default policy: configuration, user data and identity as they come. */
const POLICY: AzurePolicy = {
  secureBoot: 'any',
  console: 'accepted',
  interactiveConsole: 'accepted',
  filteredVpciDevices: 'accepted',
  rootCertThumbprints: 'any',
  vmUniqueIds: 'any',
  userData: 'any',
  unknownClaims: 'refused',
};

function loadCases(root: string): readonly Case[] {
  return readdirSync(root).map((id) => {
    const directory = join(root, id);
    const json = JSON.parse(readFileSync(join(directory, 'case.json'), 'utf8')) as {
      facts: { hcl?: HclFacts };
      checks: Record<string, boolean>;
      files: readonly { path: string }[];
    };
    return {
      id,
      directory,
      bytes: new Uint8Array(readFileSync(join(directory, 'hcl_report.bin'))),
      facts: json.facts.hcl,
      checks: json.checks,
      hasQuote: json.files.some(({ path }) => path === 'td_quote.bin'),
    };
  });
}

/** Offset of report data in a TD quote of version 4: header 48, then 520 bytes of the TD body. */
const QUOTE_REPORT_DATA = 48 + 520;

/** Report data as the hardware states it: in the SNP report, or in the TD quote beside the HCL report. */
function hardwareReportData({ bytes, directory, hasQuote }: Case): Uint8Array {
  if (!hasQuote) return bytes.slice(0x20 + 0x50, 0x20 + 0x90);
  const quote = new Uint8Array(readFileSync(join(directory, 'td_quote.bin')));
  return quote.subarray(QUOTE_REPORT_DATA, QUOTE_REPORT_DATA + 64);
}

describeCorpus('Azure HCL corpus', 'evidence/cpu/azure', (root) => {
  const cases = loadCases(root);
  const providers = { nodeCrypto, portableCrypto };

  test('has every case', () => {
    expect(cases).toHaveLength(11);
    expect(cases.filter(({ facts }) => facts)).toHaveLength(9);
    expect(cases.filter(({ hasQuote }) => hasQuote)).toHaveLength(3);
  });

  for (const [name, crypto] of Object.entries(providers)) {
    for (const item of cases) {
      const tampered = item.id === 'snp-runtime-claims-tampered';
      test(`${item.id} with ${name}: claims ${tampered ? 'are not' : 'are'} those that the hardware commits to`, () => {
        const report = parseHclReport(item.bytes);
        const verify = () => verifyRuntimeClaims(report, hardwareReportData(item), crypto);
        if (tampered) {
          expect(refusalOf(verify)?.code).toBe('BINDING_MISMATCH');
          return;
        }
        const verified = verify();
        const failed = appraiseRuntimeClaims(verified, POLICY).filter(({ result }) => result === 'fail');
        expect(failed).toEqual([]);
      });
    }
  }

  for (const { id, bytes, facts } of cases) {
    if (!facts) continue;
    test(`${id}: fields are those that the case states`, () => {
      const report = parseHclReport(bytes);
      const sha256 = (value: Uint8Array) => toHex(nodeCrypto.hash('sha256', value));
      expect(report.version).toBe(facts.version);
      expect(report.platform).toBe(facts.reportType.toLowerCase());
      expect(report.hash).toBe(facts.hashType ?? 'sha256');
      expect(report.claimsBytes).toHaveLength(facts.variableDataSize);
      expect(0x4d4 + report.claimsBytes.length).toBe(facts.reportSize ?? 0x4d4 + facts.variableDataSize);
      expect(sha256(report.claimsBytes)).toBe(facts.variableDataSha256);
      expect(toHex(report.reportData)).toBe(facts.variableDataSha256 + '00'.repeat(32));
      if (facts.akModulusSha256) expect(sha256(report.claims.ak.n)).toBe(facts.akModulusSha256);
      expect(report.claims.ak.n).toHaveLength(256);
      expect(report.claims.userData && toHex(report.claims.userData)).toBe(facts.userDataHex?.toLowerCase());
      expect(report.claims.unknown).toEqual([]);
      if (facts.vmConfiguration) expect(configurationOf(report)).toEqual(facts.vmConfiguration);
    });
  }

  test('only the case that was asked for user data carries it', () => {
    const carrying = cases.filter(({ bytes }) => {
      const report = parseHclReport(bytes);
      if (report.claims.userData === undefined) return false;
      return report.claims.userData.some((byte) => byte !== 0);
    });
    expect(carrying.map(({ id }) => id)).toEqual(['snp-milan-v3-evidence-v2-user-data']);
    const [item] = carrying;
    const report = parseHclReport(item!.bytes);
    const verified = verifyRuntimeClaims(report, report.reportData, nodeCrypto);
    const policy = { ...POLICY, userData: 'required' as const };
    expect(checkUserData(verified, report.claims.userData!, policy).result).toBe('pass');
    expect(checkUserData(verified, new Uint8Array(64).fill(1), policy).code).toBe('BINDING_MISMATCH');
  });

  test('a policy that demands what a case lacks refuses it', () => {
    const refused = (policy: Partial<AzurePolicy>) =>
      cases
        .filter(({ id }) => id !== 'snp-runtime-claims-tampered')
        .filter(({ bytes }) => {
          const report = parseHclReport(bytes);
          const verified = verifyRuntimeClaims(report, report.reportData, nodeCrypto);
          const checks = appraiseRuntimeClaims(verified, { ...POLICY, ...policy });
          return checks.some(({ result }) => result === 'fail');
        })
        .map(({ id }) => id);
    expect(refused({ secureBoot: 'required' })).toEqual(['tdx-up-to-date-padded-ak-cert']);
    expect(refused({ console: 'refused' })).toHaveLength(10);
  });
});

/** The configuration by the names of its claims; what is not stated is left out. */
function configurationOf({ claims: { vm } }: ReturnType<typeof parseHclReport>): Record<string, unknown> {
  const claims = {
    'console-enabled': vm.consoleEnabled,
    'interactive-console-enabled': vm.interactiveConsoleEnabled,
    'root-cert-thumbprint': vm.rootCertThumbprint,
    'secure-boot': vm.secureBoot,
    'tpm-enabled': vm.tpmEnabled,
    'tpm-persisted': vm.tpmPersisted,
    'filtered-vpci-devices-allowed': vm.filteredVpciDevicesAllowed,
    vmUniqueId: expect.stringMatching(new RegExp(`^${vm.vmUniqueId}$`, 'i')) as unknown,
  };
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
}
