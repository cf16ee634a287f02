import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { Anchor } from '../../../../attestation/anchors.ts';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import type { Check } from '../../../../attestation/checks.ts';
import { NO_COLLATERAL, type Collateral } from '../../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../../../attestation/crypto/provider.ts';
import { INTEL_ANCHORS } from '../../../../attestation/evidence/dcap/anchors.ts';
import { hasFlag } from '../../../../attestation/evidence/dcap/enclaveReport.ts';
import type { Quote } from '../../../../attestation/evidence/dcap/quote.ts';
import { runQuoteSteps } from '../../../../attestation/evidence/dcap/steps.ts';
import type { QuoteVerifyOptions } from '../../../../attestation/evidence/dcap/verify.ts';
import { appraiseSgx } from '../../../../attestation/evidence/sgx/appraise.ts';
import { parseSgxQuote } from '../../../../attestation/evidence/sgx/parse.ts';
import { verifySgx } from '../../../../attestation/evidence/sgx/verify.ts';
import { appraiseTdx } from '../../../../attestation/evidence/tdx/appraise.ts';
import { hasAttribute } from '../../../../attestation/evidence/tdx/attributes.ts';
import { parseTdxQuote } from '../../../../attestation/evidence/tdx/parse.ts';
import { verifyTdx } from '../../../../attestation/evidence/tdx/verify.ts';
import { parsePemChain } from '../../../../attestation/x509/certificate.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { LAX_SGX, LAX_TDX } from '../../../support/dcapPolicies.ts';

interface Judgement {
  readonly at: string;
  readonly verdict: 'accept' | 'refuse';
  readonly reasons: readonly string[];
}

interface Case {
  readonly id: string;
  readonly directory: string;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly judgements: readonly Judgement[];
}

/** Judged by the room of boot logs; the quote beside the log says nothing of it. */
const ABOUT_THE_LOG = 'EVENT_LOG_MISMATCH';

function loadCases(root: string): readonly Case[] {
  return readdirSync(root)
    .map((id) => readCase(id, join(root, id)))
    .filter((item) => readQuote(item) !== undefined);
}

function readCase(id: string, directory: string): Case {
  const json = JSON.parse(readFileSync(join(directory, 'case.json'), 'utf8')) as {
    verifyAt: string;
    expected: Omit<Judgement, 'at'>;
    alsoAt?: readonly Judgement[];
    facts: Record<string, unknown>;
  };
  const judgements = [{ ...json.expected, at: json.verifyAt }, ...(json.alsoAt ?? [])];
  return { id, directory, facts: json.facts, judgements };
}

function read({ directory }: Case, ...names: readonly string[]): Uint8Array | undefined {
  const name = names.find((file) => existsSync(join(directory, file)));
  return name === undefined ? undefined : new Uint8Array(readFileSync(join(directory, name)));
}

function readQuote(item: Case): Uint8Array | undefined {
  return read(item, 'quote.bin', 'quote.dat', 'td_quote.bin');
}

function readPem(item: Case, ...names: readonly string[]): readonly Uint8Array[] {
  const pem = read(item, ...names);
  return pem ? parsePemChain(Buffer.from(pem).toString('latin1')).map(({ der }) => der) : [];
}

function readStatement(item: Case, body: Uint8Array | undefined, ...chain: readonly string[]) {
  return body
    ? [{ body, issuerChain: readPem(item, ...chain, 'tcb_info_issuer_chain.pem', 'tcbSignChain.pem') }]
    : [];
}

function readCollateral(item: Case): Collateral {
  const crls = [
    read(item, 'pck_crl.der', 'intermediateCaCrl.der'),
    read(item, 'root_ca_crl.der', 'rootCaCrl.der'),
  ];
  return {
    ...NO_COLLATERAL,
    certificates: [...readPem(item, 'pckCert.pem'), ...readPem(item, 'pckSignChain.pem')],
    crls: crls.filter((crl) => crl !== undefined),
    tcbInfos: readStatement(item, read(item, 'tcb_info.json', 'tcbInfo.json')),
    qeIdentities: readStatement(
      item,
      read(item, 'qe_identity.json', 'qeIdentity.json'),
      'qe_identity_issuer_chain.pem',
    ),
  };
}

/** The synthetic cases bring their own root. */
function readAnchors({ facts }: Case): readonly Anchor[] {
  const own = facts['trustAnchor'] as { spkiSha256: string } | undefined;
  if (!own) return INTEL_ANCHORS;
  return [{ role: 'intel-sgx-root', name: 'synthetic', spkiSha256: own.spkiSha256, simulated: true }];
}

function readOptions(item: Case, at: string, crypto: CryptoProvider): QuoteVerifyOptions {
  return { crypto, now: Date.parse(at), anchors: readAnchors(item), collateral: readCollateral(item) };
}

/** Every check of the quote. */
async function judge(item: Case, options: QuoteVerifyOptions): Promise<readonly Check[]> {
  const quote = readQuote(item)!;
  if (item.id.startsWith('sgx')) {
    const { value, checks } = await runQuoteSteps('cpu', () => verifySgx(quote, options));
    return value ? [...checks, ...appraiseSgx(value, LAX_SGX)] : checks;
  }
  const { value, checks } = await runQuoteSteps('cpu', () => verifyTdx(quote, options));
  return value ? [...checks, ...appraiseTdx(value, LAX_TDX)] : checks;
}

async function failuresOf(item: Case, options: QuoteVerifyOptions): Promise<readonly string[]> {
  return (await judge(item, options)).filter(({ result }) => result === 'fail').map(({ code }) => code);
}

/** What is to be said of the quote alone: without collateral no verdict on a log accepts it. */
function expectationOf({ reasons }: Judgement, item: Case): readonly string[] {
  const ofQuote = reasons.filter((reason) => reason !== ABOUT_THE_LOG);
  const withoutCollateral = read(item, 'tcb_info.json', 'tcbInfo.json') === undefined;
  return withoutCollateral ? ['COLLATERAL_MISSING'] : ofQuote;
}

/** A verifier may name any of the reasons, and no other. */
function testJudgements(cases: readonly Case[]): void {
  for (const [name, crypto] of Object.entries({ nodeCrypto, portableCrypto })) {
    for (const item of cases) {
      for (const judgement of item.judgements) {
        test(`${item.id} at ${judgement.at} with ${name}`, async () => {
          const codes = await failuresOf(item, readOptions(item, judgement.at, crypto));
          const reasons = expectationOf(judgement, item);
          if (reasons.length === 0) expect(codes).toEqual([]);
          else expect(reasons).toContain(codes[0]);
          for (const code of codes) expect(reasons).toContain(code);
        });
      }
    }
  }
}

function testFields(cases: readonly Case[]): void {
  for (const item of cases.filter(({ facts }) => facts['reportData'] && facts['version'])) {
    test(`${item.id}: fields are those that the case states`, () => {
      const bytes = readQuote(item)!;
      const { qe, signedLength, ...fields } =
        item.facts['kind'] === 'SGX' ? sgxFields(bytes) : tdxFields(bytes);
      // Those of the vendor's samples are not stated.
      const ofSignature = item.facts['qe'] ? { qe, signedLength } : {};
      expect({ ...item.facts }).toEqual(expect.objectContaining({ ...fields, ...ofSignature }));
    });
  }
}

function quoteFields({ version, userData, signature, signedBytes }: Quote, facts: Record<string, unknown>) {
  const { qeReport } = signature;
  return {
    version,
    userData: toHex(userData),
    signedLength: signedBytes.length,
    certDataType: signature.certification.type,
    qe: {
      mrEnclave: toHex(qeReport.mrEnclave),
      mrSigner: toHex(qeReport.mrSigner),
      isvProdId: qeReport.isvProdId,
      isvSvn: qeReport.isvSvn,
      attributes: toHex(qeReport.attributes),
      miscSelect: qeReport.miscSelect.toString(16).padStart(8, '0'),
    },
    ...facts,
  };
}

function sgxFields(bytes: Uint8Array) {
  const { quote, report } = parseSgxQuote(bytes);
  return quoteFields(quote, {
    kind: 'SGX',
    cpuSvn: toHex(report.cpuSvn),
    attributes: toHex(report.attributes),
    debug: hasFlag(report, 'DEBUG'),
    mrEnclave: toHex(report.mrEnclave),
    mrSigner: toHex(report.mrSigner),
    isvProdId: report.isvProdId,
    isvSvn: report.isvSvn,
    reportData: toHex(report.reportData),
  });
}

function tdxFields(bytes: Uint8Array) {
  const { quote, report } = parseTdxQuote(bytes);
  return quoteFields(quote, {
    kind: report.kind === 'td10' ? 'TD10' : 'TD15',
    teeTcbSvn: toHex(report.teeTcbSvn),
    mrSeam: toHex(report.mrSeam),
    mrSignerSeam: toHex(report.mrSignerSeam),
    seamAttributes: toHex(report.seamAttributes),
    tdAttributes: littleEndian(report.tdAttributes),
    debug: hasAttribute(report.tdAttributes, 'DEBUG'),
    xfam: littleEndian(report.xfam),
    mrTd: toHex(report.mrTd),
    mrConfigId: toHex(report.mrConfigId),
    mrOwner: toHex(report.mrOwner),
    mrOwnerConfig: toHex(report.mrOwnerConfig),
    ...Object.fromEntries(report.rtmrs.map((rtmr, i) => [`rtmr${i}`, toHex(rtmr)])),
    reportData: toHex(report.reportData),
    ...(report.teeTcbSvn2 && { teeTcbSvn2: toHex(report.teeTcbSvn2) }),
    ...(report.mrServiceTd && { mrServiceTd: toHex(report.mrServiceTd) }),
  });
}

function littleEndian(value: bigint): string {
  return Buffer.from(value.toString(16).padStart(16, '0'), 'hex').reverse().toString('hex');
}

interface StatedTcb {
  readonly convergedStatus: string;
  readonly advisoryIds: readonly string[] | null;
}

function testFirmware(cases: readonly Case[]): void {
  for (const item of cases.filter(({ facts }) => facts['tcb'] && facts['pck'])) {
    test(`${item.id}: platform and firmware are those that the case states`, async () => {
      const stated = item.facts['tcb'] as StatedTcb;
      const pck = item.facts['pck'] as { fmspc: string; ppid: string };
      const checks = await judge(item, readOptions(item, item.judgements[0]!.at, nodeCrypto));
      const reasonOf = (id: string) => checks.find((check) => check.id === id)!.reason;
      expect(reasonOf('cpu.endorsement')).toContain(`FMSPC ${pck.fmspc}`);
      expect(reasonOf('cpu.identity')).toContain(pck.ppid);
      expect(reasonOf('cpu.tcb')).toMatch(new RegExp(`(?:^|: )${stated.convergedStatus};`));
      for (const advisory of stated.advisoryIds ?? []) expect(reasonOf('cpu.tcb')).toContain(advisory);
    });
  }
}

function testAnchors(cases: readonly Case[]): void {
  test.each(cases.map((item) => [item.id, item] as const))(
    '%s: without a pinned root it is refused',
    async (id, item) => {
      const options = { ...readOptions(item, item.judgements[0]!.at, nodeCrypto), anchors: [] };
      expect(await failuresOf(item, options)).toEqual([
        id === 'tdx-v4-truncated' ? 'MALFORMED' : 'UNTRUSTED_ROOT',
      ]);
    },
  );

  test('the synthetic cases are refused under the genuine root', async () => {
    for (const item of cases.filter(({ facts }) => facts['trustAnchor'])) {
      const options = { ...readOptions(item, item.judgements[0]!.at, nodeCrypto), anchors: INTEL_ANCHORS };
      expect(await failuresOf(item, options)).toEqual(['UNTRUSTED_ROOT']);
    }
  });
}

describeCorpus('Intel corpus', 'evidence/cpu/intel', (root) => {
  const cases = loadCases(root);

  test('has every quote', () => {
    expect(cases).toHaveLength(33);
  });

  testJudgements(cases);
  testFields(cases);
  testFirmware(cases);
  testAnchors(cases);

  test('collateral withheld hides no other failure', async () => {
    const tampered = cases.filter(({ id }) => id.startsWith('tdx-v4-tampered'));
    expect(tampered).toHaveLength(5);
    for (const item of tampered) {
      const { collateral, ...options } = readOptions(item, item.judgements[0]!.at, nodeCrypto);
      const codes = await failuresOf(item, { ...options, collateral: { ...collateral, crls: [] } });
      const [, definite, ...more] = codes;
      expect(codes[0]).toBe('COLLATERAL_MISSING');
      expect(more).toEqual([]);
      expect(item.judgements[0]!.reasons).toContain(definite);
    }
  });
});

describeCorpus('TD quotes of Azure', 'evidence/cpu/azure', (root) => {
  const cases = loadCases(root);

  test('has every quote', () => {
    expect(cases).toHaveLength(3);
  });

  testJudgements(cases);
  testFields(cases);
  testFirmware(cases);
});
