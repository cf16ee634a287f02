import { beforeAll, describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import type { AzureSnpEvidence, AzureTdxEvidence } from '../../../../attestation/evidence/evidence.ts';
import type { AppraisalContext } from '../../../../attestation/evidence/context.ts';
import type { AzureSnpPolicy, AzureTdxPolicy } from '../../../../attestation/policy/cpu.ts';
import * as dcap from '../../../support/dcapAuthority.ts';
import { contextFor, cpuFailures, judgeDocument, mintDocument } from '../../../support/evidenceDocument.ts';
import { CONFIGURATION } from '../../../support/hclReport.ts';
import { mintAzureSnp, mintAzureTdx, quotePcrs, SNP, type AzureMachine } from '../../../support/platforms.ts';
import * as tpm from '../../../support/tpmAuthority.ts';

type Evidence = AzureSnpEvidence | AzureTdxEvidence;
type Name = 'azure-snp' | 'azure-tdx';
type Change = (cpu: Evidence, reportData: Uint8Array) => Evidence | Promise<Evidence>;

const MINTS: Readonly<Record<Name, () => Promise<AzureMachine<Evidence>>>> = {
  'azure-snp': mintAzureSnp,
  'azure-tdx': () => mintAzureTdx(),
};

describe.each<Name>(['azure-snp', 'azure-tdx'])('%s', (name) => {
  let machine: AzureMachine<Evidence>;
  /** Another VM on another machine of the same vendors. */
  let other: AzureMachine<Evidence>;

  beforeAll(async () => {
    [machine, other] = await Promise.all([MINTS[name](), MINTS[name]()]);
  });

  /** Judges evidence that was collected for the statement and then changed. */
  async function judge(change: Change, changes: Partial<AppraisalContext> = {}) {
    const document = await mintDocument(async (reportData) =>
      change(await machine.collectCpu(reportData), reportData),
    );
    return judgeDocument(document, machine, changes);
  }

  async function failuresOf(change: Change, changes: Partial<AppraisalContext> = {}) {
    return cpuFailures(await judge(change, changes));
  }

  function policyWith(changes: Partial<AzureSnpPolicy & AzureTdxPolicy>): Pick<AppraisalContext, 'policy'> {
    const { policy } = contextFor(machine);
    const cpu = { ...policy.cpu, [name]: { ...(policy.cpu[name] as object), ...changes } };
    return { policy: { ...policy, cpu } };
  }

  const claimsPolicy = () => (machine.cpu[name] as AzureSnpPolicy).claims;
  const vtpmPolicy = () => (machine.cpu[name] as AzureSnpPolicy).tpm;

  describe('the binding', () => {
    test('user-data of another statement is refused, whatever the policy', async () => {
      const stale: Change = async (cpu) => ({ ...(await machine.collect(OTHER)), tpm: cpu.tpm });
      const lax = policyWith({ claims: { ...claimsPolicy(), userData: 'any' } });
      for (const changes of [{}, lax]) {
        expect(await failuresOf(stale, changes)).toEqual(['cpu paravisor: cpu.binding BINDING_MISMATCH']);
      }
    });

    test('a quote for another statement is refused', async () => {
      const stale: Change = async (cpu) => ({ ...cpu, tpm: await quotePcrs(machine.keys, OTHER) });
      expect(await failuresOf(stale)).toEqual(['cpu vtpm: cpu.binding BINDING_MISMATCH']);
    });

    test.each([
      ['absent', undefined],
      ['zero', '00'.repeat(64)],
    ])('user-data that is %s is refused unless the policy takes the quote alone', async (_name, userData) => {
      const unset: Change = async (cpu) => ({
        ...(await machine.collect(OTHER, { claims: { 'user-data': userData } })),
        tpm: cpu.tpm,
      });
      expect(await failuresOf(unset)).toEqual(['cpu paravisor: cpu.binding BINDING_MISMATCH']);
      const lax = policyWith({ claims: { ...claimsPolicy(), userData: 'any' } });
      const { decision, checks } = await judge(unset, lax);
      expect(decision).toBe('accepted');
      expect(checks.find(({ subject, id }) => subject === 'cpu paravisor' && id === 'cpu.binding')).toEqual(
        expect.objectContaining({ result: 'skip', reason: expect.stringContaining('only the quote') }),
      );
    });
  });

  describe('the virtual TPM', () => {
    test('a quote by a key that the claims do not name is refused', async () => {
      const foreign: Change = async (cpu, reportData) => ({
        ...cpu,
        tpm: await quotePcrs(other.keys, reportData),
      });
      expect(await failuresOf(foreign)).toEqual(['cpu vtpm: cpu.vtpm-quote SIGNATURE_INVALID']);
    });

    test('so it is with a genuine certificate for that key', async () => {
      const leaf = await machine.authority.issueLeaf(other.keys);
      const certificates = [leaf, machine.authority.ca, machine.authority.root];
      const foreign: Change = async (cpu, reportData) => ({
        ...cpu,
        tpm: await quotePcrs(other.keys, reportData, { certificates }),
      });
      expect(await failuresOf(foreign)).toEqual(['cpu vtpm: cpu.vtpm-key UNTRUSTED_KEY']);
    });

    test('its own certificate is taken, one of another cloud is not', async () => {
      const certified =
        (authority: tpm.TpmAuthority): Change =>
        async (cpu, reportData) => {
          const certificates = [await authority.issueLeaf(machine.keys), authority.ca, authority.root];
          return { ...cpu, tpm: await quotePcrs(machine.keys, reportData, { certificates }) };
        };
      expect(await failuresOf(certified(machine.authority))).toEqual([]);
      const google = await tpm.mintTpmAuthority('gcp-vtpm');
      const anchors = [...machine.anchors, google.anchor];
      expect(await failuresOf(certified(google), { anchors })).toEqual([
        'cpu vtpm: cpu.vtpm-key UNTRUSTED_ROOT',
      ]);
    });

    test('a signature that cannot be read is a fault of the quote, not of the key', async () => {
      const broken: Change = (cpu) => ({
        ...cpu,
        tpm: { ...cpu.tpm, signature: cpu.tpm.signature.subarray(0, 9) },
      });
      const { checks } = await judge(broken);
      const vtpm = checks.filter(({ subject }) => subject === 'cpu vtpm');
      expect(vtpm.map(({ id, result, code }) => `${id} ${result} ${code}`).slice(0, 2)).toEqual([
        'cpu.vtpm-key pass OK',
        'cpu.vtpm-quote fail MALFORMED',
      ]);
    });

    test('registers besides those that were signed are refused', async () => {
      const values = new Map(quoted(await machine.collectCpu(OTHER))).set(4, new Uint8Array(32).fill(1));
      const changed: Change = (cpu) => ({ ...cpu, tpm: { ...cpu.tpm, pcrs: { hash: 'sha256', values } } });
      expect(await failuresOf(changed)).toEqual(['cpu vtpm: cpu.vtpm-quote PCR_MISMATCH']);
    });

    test('registers of another image are refused', async () => {
      const values = new Map(quoted(await machine.collectCpu(OTHER))).set(4, new Uint8Array(32).fill(1));
      const changed: Change = async (cpu, reportData) => ({
        ...cpu,
        tpm: await quotePcrs(machine.keys, reportData, { values }),
      });
      expect(await failuresOf(changed)).toEqual(['cpu vtpm: cpu.measurement MEASUREMENT_MISMATCH']);
    });

    test('a quote that leaves out the registers of the policy is refused', async () => {
      const partial: Change = async (cpu, reportData) => ({
        ...cpu,
        tpm: await quotePcrs(machine.keys, reportData, { pcrs: [0, 7] }),
      });
      expect(await failuresOf(partial)).toEqual(['cpu vtpm: cpu.measurement EVIDENCE_INCOMPLETE']);
    });

    test('a list that the policy demands of its certificate is demanded', async () => {
      const { authority, keys } = machine;
      const listed = { extensions: [...tpm.AK_EXTENSIONS, DISTRIBUTION_POINTS] };
      const certificates = [await authority.issueLeaf(keys, listed), authority.ca, authority.root];
      const certified: Change = async (cpu, reportData) => ({
        ...cpu,
        tpm: await quotePcrs(keys, reportData, { certificates }),
      });
      const required = policyWith({ tpm: { ...vtpmPolicy(), revocation: 'required' } });
      const withheld = await judge(certified, required);
      expect(withheld.decision).toBe('not-judged');
      expect(cpuFailures(withheld)).toEqual(['cpu vtpm: cpu.revocation COLLATERAL_MISSING']);
      const lists = async (options: tpm.CrlOptions) => {
        const crls = [...machine.collateral.crls, await authority.issueCrl(options)];
        return { collateral: { ...machine.collateral, crls } };
      };
      expect(await failuresOf(certified, { ...required, ...(await lists({})) })).toEqual([]);
      const revoked = await lists({ revoked: ['0a'] });
      expect(await failuresOf(certified, { ...required, ...revoked })).toEqual([
        'cpu vtpm: cpu.vtpm-key CERT_REVOKED',
      ]);
    });

    test('where no certificate names a list, the demand is said to be empty', async () => {
      const required = policyWith({ tpm: { ...vtpmPolicy(), revocation: 'required' } });
      const certificates = [await machine.authority.issueLeaf(machine.keys), machine.authority.ca];
      const collateral = { ...machine.collateral, certificates: [machine.authority.root] };
      const certified: Change = async (cpu, reportData) => ({
        ...cpu,
        tpm: await quotePcrs(machine.keys, reportData, { certificates }),
      });
      const { decision, checks } = await judge(certified, { ...required, collateral });
      expect(decision).toBe('accepted');
      const revocation = checks.find(({ id, subject }) => id === 'cpu.revocation' && subject === 'cpu vtpm');
      expect(revocation).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
      expect(await failuresOf((cpu) => cpu, required)).toEqual([]);
    });
  });

  describe('the paravisor', () => {
    test('claims of another VM are refused', async () => {
      const swapped: Change = async (_cpu, reportData) => {
        const { report } = await other.collect(reportData);
        return { ...(await machine.collect(reportData)), report };
      };
      const expected =
        name === 'azure-snp'
          ? // The SNP report lies inside the HCL report, its certificates do not.
            /^cpu: cpu\.(?:chain|endorsement|signature) /
          : /^cpu paravisor: cpu\.runtime-claims BINDING_MISMATCH$/;
      expect((await failuresOf(swapped))[0]).toMatch(expected);
    });

    test.each([
      ['Secure Boot off', { 'secure-boot': false }],
      ['a console', { 'console-enabled': true }],
    ])('%s is refused', async (_name, configuration) => {
      const claims = { 'vm-configuration': { ...CONFIGURATION, ...configuration } };
      const weak: Change = (_cpu, reportData) => machine.collect(reportData, { claims });
      expect(await failuresOf(weak)).toEqual(['cpu paravisor: cpu.guest-policy GUEST_POLICY_VIOLATED']);
    });

    test('a report that cannot be read reaches no other layer', async () => {
      const { checks } = await judge((cpu) => ({ ...cpu, report: cpu.report.subarray(1) }));
      const cpu = checks.filter(({ subject, id }) => subject.startsWith('cpu') && id !== 'cpu.platform');
      const failed = cpu.filter(({ result }) => result === 'fail');
      expect(failed.map(({ id, subject, code }) => `${subject} ${id} ${code}`)).toEqual([
        'cpu paravisor cpu.format MALFORMED',
      ]);
      expect(cpu.filter(({ result }) => result === 'pass')).toEqual([]);
    });
  });

  describe('the hardware', () => {
    test('debugging is refused', async () => {
      const edit = (report: DataView) => {
        if (name === 'azure-snp') report.setBigUint64(SNP.policy, 0xb0000n, true);
        else report.setBigUint64(dcap.TD.tdAttributes, (1n << 28n) | 1n, true);
      };
      const debug: Change = (_cpu, reportData) => machine.collect(reportData, { edit });
      expect(await failuresOf(debug)).toEqual(['cpu: cpu.debug DEBUG_ENABLED']);
    });

    test('of the other CPU under this label is refused as such', async () => {
      const twin = await MINTS[name === 'azure-snp' ? 'azure-tdx' : 'azure-snp']();
      const mislabelled: Change = async (cpu, reportData) => ({
        ...cpu,
        report: (await twin.collect(reportData)).report,
      });
      expect(await failuresOf(mislabelled)).toEqual(['cpu: cpu.format PRODUCT_MISMATCH']);
    });

    test('with certificates or a quote of another machine is refused', async () => {
      const theirs = await other.collectCpu(OTHER);
      const swapped: Change = (cpu) =>
        cpu.platform === 'azure-snp'
          ? { ...cpu, certificates: (theirs as AzureSnpEvidence).certificates }
          : { ...cpu, quote: (theirs as AzureTdxEvidence).quote };
      expect(await failuresOf(swapped)).toEqual([
        name === 'azure-snp'
          ? 'cpu: cpu.signature SIGNATURE_INVALID'
          : 'cpu paravisor: cpu.runtime-claims BINDING_MISMATCH',
      ]);
    });

    test('that signed nothing vouches for no claims', async () => {
      const { checks } = await judge((cpu) => cpu, { anchors: [] });
      const reached = checks.filter(({ id, code }) => /runtime|vtpm/.test(id) && code !== 'NOT_REACHED');
      expect(reached).toEqual([]);
    });

    test('that only lacks collateral leaves the rest to be judged', async () => {
      const collateral = { ...machine.collateral, crls: [] };
      const verdict = await judge((cpu) => cpu, { collateral });
      expect(verdict.decision).toBe('not-judged');
      const stale: Change = async (cpu) => ({ ...cpu, tpm: await quotePcrs(machine.keys, OTHER) });
      expect((await judge(stale, { collateral })).decision).toBe('refused');
    });
  });
});

function quoted({ tpm: { pcrs } }: Evidence): ReadonlyMap<number, Uint8Array> {
  return pcrs.values;
}

const OTHER = nodeCrypto.hash('sha512', new Uint8Array());

/** cRLDistributionPoints (RFC 5280 section 4.2.1.13) with one URI. */
const DISTRIBUTION_POINTS = tpm.raw(
  '2.5.29.31',
  tpm.der(
    0x30,
    tpm.der(
      0x30,
      tpm.der(0xa0, tpm.der(0xa0, tpm.der(0x86, new TextEncoder().encode('http://minted.example/crl')))),
    ),
  ),
);
