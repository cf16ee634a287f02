import { beforeAll, describe, expect, test } from '@jest/globals';
import { concat, fromHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { adviseRelaunch } from '../../attestation/evidence/dcap/tcbStatus.ts';
import { appraiseTdx } from '../../attestation/evidence/tdx/appraise.ts';
import { verifyTdx } from '../../attestation/evidence/tdx/verify.ts';
import type { AzureSnpEvidence } from '../../attestation/evidence/evidence.ts';
import { verifyTpmChain, type TpmChainOptions } from '../../attestation/evidence/tpm/chain.ts';
import { parseCrl } from '../../attestation/x509/crl.ts';
import type { AzureSnpPolicy } from '../../attestation/policy/cpu.ts';
import type { TdxPolicy } from '../../attestation/policy/tdx.ts';
import {
  issueQuote,
  mintDcapAuthority,
  NOW,
  TD,
  tdReport,
  type CollateralOptions,
  type DcapAuthority,
  type Machine,
} from '../support/dcapAuthority.ts';
import { LAX_TDX } from '../support/dcapPolicies.ts';
import { contextFor, cpuFailures, judgeDocument, mintDocument } from '../support/evidenceDocument.ts';
import { isvLevel, level, moduleIdentity, PLATFORM_SVNS } from '../support/intelStatements.ts';
import { mintAzureSnp, mintTdx, type AzureMachine, type TdxMachine } from '../support/platforms.ts';
import { refusalOfAsync } from '../support/refusal.ts';
import * as tpm from '../support/tpmAuthority.ts';

// What a hostile reader of the CPU verifier found, each with the input that reached it.

describe('certificates that the bearer added', () => {
  /** Authorities A and B that certify each other, `count` certificates in all, and a leaf of A. */
  async function web(count: number) {
    const [a, b, key] = await Promise.all([tpm.generateRsa(), tpm.generateRsa(), tpm.generateRsa()]);
    const named = { A: a, B: b };
    const certify = (subject: 'A' | 'B', issuer: 'A' | 'B', i: number) =>
      tpm.issue({
        subject: `CN=${subject}`,
        issuer: `CN=${issuer}`,
        subjectKeys: named[subject],
        signer: named[issuer],
        extensions: tpm.CA_EXTENSIONS,
        serialNumber: (0x100 + i).toString(16),
        noKeyIds: true,
      });
    const numbers = Array.from({ length: count }, (_, i) => i);
    return {
      leaf: await tpm.issue({
        subject: 'CN=leaf',
        issuer: 'CN=A',
        subjectKeys: key,
        signer: a,
        extensions: tpm.AK_EXTENSIONS,
        noKeyIds: true,
      }),
      certificates: await Promise.all(
        numbers.map((i) => (i % 2 === 0 ? certify('A', 'B', i) : certify('B', 'A', i))),
      ),
    };
  }

  test('that certify each other do not make the search for a path check thousands of signatures', async () => {
    const { leaf, certificates } = await web(64);
    let verified = 0;
    const counting: CryptoProvider = {
      ...nodeCrypto,
      verify(...check) {
        verified += 1;
        return nodeCrypto.verify(...check);
      },
    };
    const options: TpmChainOptions = {
      crypto: counting,
      now: tpm.NOW,
      anchors: [],
      certificates,
      crls: [],
      revocation: 'when-present',
    };
    const refusal = await refusalOfAsync(() => verifyTpmChain([leaf], ['azure-vtpm'], options));
    expect(refusal?.code).toBe('CERT_CHAIN_INVALID');
    expect(verified).toBeLessThanOrEqual(64);
  });

  test('do not hide a path that is there', async () => {
    const [{ certificates }, authority, key] = await Promise.all([
      web(8),
      tpm.mintTpmAuthority('azure-vtpm'),
      tpm.generateRsa(),
    ]);
    const options: TpmChainOptions = {
      crypto: nodeCrypto,
      now: tpm.NOW,
      anchors: [authority.anchor],
      certificates: [...certificates, authority.ca, authority.root],
      crls: [],
      revocation: 'when-present',
    };
    const { path } = await verifyTpmChain([await authority.issueLeaf(key)], ['azure-vtpm'], options);
    expect(path).toHaveLength(3);
  });
});

describe('the TDX module that runs now', () => {
  type TcbPolicy = TdxPolicy['tcb'];
  let authority: DcapAuthority;
  let machine: Machine;

  beforeAll(async () => {
    authority = await mintDcapAuthority();
    machine = await authority.mintMachine();
  });

  async function tcbOf(
    changes: CollateralOptions,
    tcb: Partial<TcbPolicy>,
    edit: (report: DataView) => void = () => undefined,
  ) {
    const quote = await issueQuote(machine, { kind: 'td15', body: tdReport('td15', edit) });
    const collateral = await authority.issueCollateral('tdx', changes);
    const verified = await verifyTdx(quote, {
      crypto: nodeCrypto,
      now: NOW,
      anchors: [authority.anchor],
      collateral,
    });
    const policy = { ...LAX_TDX, tcb: { ...LAX_TDX.tcb, ...tcb } };
    const check = appraiseTdx(verified, policy).find(({ id }) => id === 'cpu.tcb')!;
    return { outcome: `${check.result} ${check.code}`, reason: check.reason };
  }

  /** A TD that was launched on module 6 and moved to a machine with module 4, which is out of date. */
  const movedBack = (report: DataView) => {
    report.setUint8(TD.teeTcbSvn, 6);
    report.setUint8(TD.teeTcbSvn2, 4);
  };

  test('counts where it is older than the one of the launch, as below a TD that was moved', async () => {
    const judged = async (tcb: Partial<TcbPolicy>) => (await tcbOf({}, tcb, movedBack)).outcome;
    expect(await judged({})).toBe('fail TCB_OUT_OF_DATE');
    const statuses: TcbPolicy['statuses'] = ['UpToDate', 'OutOfDate'];
    expect(await judged({ statuses })).toBe('skip NOT_REQUIRED');
    expect(await judged({ statuses, maximumDaysBehind: 30 })).toBe('fail TCB_OUT_OF_DATE');
    const { reason } = await tcbOf({}, {}, movedBack);
    expect(reason).toContain('now TDX module TDX_01 with ISVSVN 4: level of 2023-08-09, OutOfDate');
    expect(adviseRelaunch('ConfigurationNeeded', 'OutOfDate')).toBe('OutOfDateConfigurationNeeded');
    expect(adviseRelaunch('SWHardeningNeeded', 'OutOfDate')).toBe('OutOfDate');
  });

  test('is as far behind as its own newest level, though the platform has none as new', async () => {
    const own = level({ sgx: PLATFORM_SVNS, pce: 13, tdx: [5, 0, 2] }, 'UpToDate', '2024-01-10');
    const module = moduleIdentity('TDX_01', [
      isvLevel(9, 'UpToDate', '2026-05-01'),
      isvLevel(6, 'OutOfDate', '2025-05-01'),
    ]);
    const changes = { tcbInfo: { tcbLevels: [own], tdxModuleIdentities: [module] } };
    const statuses: TcbPolicy['statuses'] = ['UpToDate', 'OutOfDate'];
    const behind = async (maximumDaysBehind: number) =>
      (await tcbOf(changes, { statuses, maximumDaysBehind })).outcome;
    expect(await behind(364)).toBe('fail TCB_OUT_OF_DATE');
    expect(await behind(365)).toBe('skip NOT_REQUIRED');
  });
});

const TIME = element(0x17, utf8('260101000000Z'));
const ENTRY = element(0x30, element(0x02, Uint8Array.of(5)), TIME);
const NOBODY = element(
  0x30,
  element(0x31, element(0x30, fromHex('0603550403'), element(0x0c, utf8('Nobody')))),
);

interface ListParts {
  readonly version?: readonly Uint8Array[];
  readonly tail?: readonly Uint8Array[];
}

/** A list of certificates that are revoked, under a signature that is none. */
function encodeList(issuer: Uint8Array, entries: readonly Uint8Array[], parts: ListParts = {}): Uint8Array {
  const { version = [Uint8Array.of(2, 1, 1)], tail = [] } = parts;
  const algorithm = fromHex('300a06082a8648ce3d040302');
  const until = element(0x17, utf8('270101000000Z'));
  const revoked = element(0x30, concat(...entries));
  const tbs = element(0x30, ...version, algorithm, issuer, TIME, until, revoked, ...tail);
  return element(0x30, tbs, algorithm, element(0x03, new Uint8Array(9)));
}

/** The critical extension of a list that covers a part (issuingDistributionPoint). */
function criticalTail(): Uint8Array {
  const extension = element(0x30, fromHex('0603551d1c0101ff'), element(0x04, element(0x30)));
  return element(0xa0, element(0x30, extension));
}

describe('vendor statements that only make work', () => {
  let machine: TdxMachine;

  beforeAll(async () => {
    machine = await mintTdx();
  });

  async function failuresWith(changes: Partial<AppraisalContext['collateral']>) {
    const collateral = { ...machine.collateral, ...changes };
    const document = await mintDocument(machine.collectCpu);
    return cpuFailures(await judgeDocument(document, machine, { collateral }));
  }

  test('are not decoded by the megabyte before one is chosen', async () => {
    const [genuine] = machine.collateral.tcbInfos;
    const head =
      '"id":"TDX","version":3,"issueDate":"2026-06-10T08:00:00Z","nextUpdate":"2026-07-10T08:00:00Z","fmspc":"00906ED50000","pceId":"0000","tcbEvaluationDataNumber":1';
    const text = `{"tcbInfo":{${head},"more":[${'"\\"",'.repeat(25_000)}0]},"signature":"${'ab'.repeat(64)}"}`;
    const filler = { body: utf8(text), issuerChain: genuine!.issuerChain };
    const tcbInfos = [genuine!, ...Array.from({ length: 63 }, () => filler)];
    expect(await failuresWith({ tcbInfos })).toContain('cpu: cpu.collateral MALFORMED');
    expect(await failuresWith({ tcbInfos: tcbInfos.slice(0, 4) })).toEqual([]);
  });

  test('are not read by the ten megabytes', async () => {
    const root = parseCrl(machine.collateral.crls[0]!).issuerName;
    const list = encodeList(
      root,
      Array.from({ length: 47_000 }, () => ENTRY),
    );
    const crls = [...machine.collateral.crls, ...Array.from({ length: 30 }, () => list)];
    expect(await failuresWith({ crls })).toContain('cpu: cpu.revocation MALFORMED');
  });

  test.each([
    ['of version 1', encodeList(NOBODY, [ENTRY], { version: [] })],
    ['that covers a part', encodeList(NOBODY, [ENTRY], { tail: [criticalTail()] })],
    ['with entries of another form', encodeList(NOBODY, [element(0x05)])],
    [
      'of more than a megabyte',
      encodeList(
        NOBODY,
        Array.from({ length: 53_000 }, () => ENTRY),
      ),
    ],
  ])('of another issuer, %s, are passed over on every platform', async (_name, list) => {
    expect(await failuresWith({ crls: [...machine.collateral.crls, list] })).toEqual([]);
    const azure = await mintAzureSnp();
    const leaf = await azure.authority.issueLeaf(azure.keys);
    const certificates = [leaf, azure.authority.ca, azure.authority.root];
    const document = await mintDocument(azure.collectCpu, {
      change: (cpu) => ('tpm' in cpu ? { ...cpu, tpm: { ...cpu.tpm, certificates } } : cpu),
    });
    const collateral = { ...azure.collateral, crls: [...azure.collateral.crls, list] };
    expect(cpuFailures(await judgeDocument(document, azure, { collateral }))).toEqual([]);
  });

  test('whose issuer cannot be read are refused: they may be damaged ones that count', async () => {
    const crls = [...machine.collateral.crls, Uint8Array.of(0x30, 0)];
    expect(await failuresWith({ crls })).toContain('cpu: cpu.revocation MALFORMED');
  });
});

/** DER of tag, length and content of less than 16 MiB. */
function element(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concat(...content);
  const { length } = body;
  const octets = [length >> 16, length >> 8, length].map((octet) => octet & 0xff);
  const long = octets.slice(octets.findIndex((octet) => octet > 0));
  return concat(Uint8Array.of(tag, ...(length < 0x80 ? [length] : [0x80 + long.length, ...long])), body);
}

describe('an Azure machine whose policy demands lists for the key of its virtual TPM', () => {
  test('is told that none was looked at where the certificate of the key was left out', async () => {
    const machine: AzureMachine<AzureSnpEvidence> = await mintAzureSnp();
    const { policy } = contextFor(machine);
    const own = policy.cpu['azure-snp'] as AzureSnpPolicy;
    const strict = { ...own, tpm: { ...own.tpm, revocation: 'required' as const } };
    const cpu = { ...policy.cpu, 'azure-snp': strict };
    const document = await mintDocument(machine.collectCpu);
    const verdict = await judgeDocument(document, machine, { policy: { ...policy, cpu } });
    const said = verdict.checks.find(({ id, subject }) => id === 'cpu.revocation' && subject === 'cpu vtpm');
    expect(said).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
    expect(said?.reason).toContain('no certificate of the key');
  });
});
