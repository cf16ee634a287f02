import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Anchor } from '../../../../attestation/anchors.ts';
import { fromHex } from '../../../../attestation/bytes/bytes.ts';
import type { Collateral, SignedJson } from '../../../../attestation/collateral.ts';
import type { TcbReport } from '../../../../attestation/evidence/dcap/tcbLevel.ts';
import { parsePemChain, type Certificate } from '../../../../attestation/x509/certificate.ts';

/** Intel's root key as the corpus states it. */
export const INTEL_ROOT: Anchor = {
  role: 'intel-sgx-root',
  name: 'Intel SGX Root CA',
  spkiSha256: 'a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e',
  simulated: false,
};

export interface Judgement {
  readonly at: string;
  readonly verdict: 'accept' | 'refuse';
  readonly reasons: readonly string[];
}

export interface TcbFacts {
  readonly platformStatus?: string;
  readonly platformTcbDate?: string | null;
  readonly advisoryIds?: readonly string[] | null;
  readonly tdxModuleStatus?: string | null;
  readonly tdxModuleId?: string | null;
  readonly tdxModuleIsvSvn?: number | null;
  readonly tdxModuleDate?: string | null;
  readonly qeStatus?: string;
  readonly qeIsvSvn?: number;
  readonly tcbEvaluationDataNumber?: { readonly tcbInfo: number; readonly qeIdentity: number };
  readonly convergedStatus: string;
}

interface Facts {
  readonly [name: string]: unknown;
  readonly teeType?: string;
  readonly teeTcbSvn?: string;
  readonly teeTcbSvn2?: string;
  readonly mrSignerSeam?: string;
  readonly seamAttributes?: string;
  readonly qe?: {
    readonly miscSelect: string;
    readonly attributes: string;
    readonly mrSigner: string;
    readonly isvProdId: number;
    readonly isvSvn: number;
  };
  readonly pck?: Readonly<Record<string, unknown>>;
  readonly tcb?: TcbFacts;
  readonly trustAnchor?: { readonly spkiSha256: string };
}

export interface DcapCase {
  readonly id: string;
  readonly directory: string;
  readonly kind: string;
  readonly facts: Facts;
  readonly judgements: readonly Judgement[];
}

/** Cases below `root` that carry TCB info in the form of Intel's service. */
export function loadDcapCases(root: string): readonly DcapCase[] {
  return readdirSync(root)
    .filter((id) => existsSync(join(root, id, 'tcb_info.json')))
    .map((id) => {
      const directory = join(root, id);
      const json = JSON.parse(readFileSync(join(directory, 'case.json'), 'utf8')) as {
        kind: string;
        verifyAt: string;
        expected: Omit<Judgement, 'at'>;
        alsoAt?: readonly Judgement[];
        facts: Facts;
      };
      const judgements = [{ ...json.expected, at: json.verifyAt }, ...(json.alsoAt ?? [])];
      return { id, directory, kind: json.kind, facts: json.facts, judgements };
    });
}

export function readCaseFile(item: DcapCase, name: string): Uint8Array | undefined {
  const path = join(item.directory, name);
  return existsSync(path) ? new Uint8Array(readFileSync(path)) : undefined;
}

function readPem(item: DcapCase, name: string): readonly Uint8Array[] {
  const pem = readCaseFile(item, name);
  return pem ? parsePemChain(Buffer.from(pem).toString('latin1')).map(({ der }) => der) : [];
}

export function readTcbInfo(item: DcapCase): SignedJson {
  const issuerChain = readPem(item, 'tcb_info_issuer_chain.pem');
  return { body: readCaseFile(item, 'tcb_info.json')!, issuerChain };
}

/** Where the case has no chain of its own for the identity, that of the TCB info is both's. */
export function readQeIdentity(item: DcapCase): SignedJson {
  const own = readPem(item, 'qe_identity_issuer_chain.pem');
  const issuerChain = own.length > 0 ? own : readPem(item, 'tcb_info_issuer_chain.pem');
  return { body: readCaseFile(item, 'qe_identity.json')!, issuerChain };
}

export function readCollateral(item: DcapCase): Pick<Collateral, 'tcbInfos' | 'qeIdentities' | 'crls'> {
  const crls = ['root_ca_crl.der', 'pck_crl.der'].flatMap((name) => readCaseFile(item, name) ?? []);
  return { tcbInfos: [readTcbInfo(item)], qeIdentities: [readQeIdentity(item)], crls };
}

/** PCK, CA and root as the quote carries them: certification data of type 5 is PEM. */
export function readPckChain(item: DcapCase): { pck: Certificate; ca: Certificate; root: Certificate } {
  const quote = readCaseFile(item, 'quote.bin') ?? readCaseFile(item, 'td_quote.bin')!;
  const [pck, ca, root] = parsePemChain(Buffer.from(quote).toString('latin1'));
  return { pck: pck!, ca: ca!, root: root! };
}

/** The synthetic cases bring their own root. */
export function readAnchors({ facts }: DcapCase): readonly Anchor[] {
  if (!facts.trustAnchor) return [INTEL_ROOT];
  const { spkiSha256 } = facts.trustAnchor;
  return [{ role: 'intel-sgx-root', name: 'synthetic', spkiSha256, simulated: true }];
}

export function teeOf({ id, facts }: DcapCase): 'sgx' | 'tdx' {
  return facts.teeType === '00000000' || id.startsWith('sgx') ? 'sgx' : 'tdx';
}

/** What the quote of the case states of firmware, from the facts of the case. */
export function readReport({ facts }: DcapCase): TcbReport {
  const { teeTcbSvn, teeTcbSvn2, mrSignerSeam, seamAttributes, qe } = facts;
  const qeIsvSvn = qe?.isvSvn ?? -1;
  if (!teeTcbSvn) return { qeIsvSvn };
  const tdxModule = {
    teeTcbSvn: fromHex(teeTcbSvn),
    teeTcbSvn2: teeTcbSvn2 === undefined ? undefined : fromHex(teeTcbSvn2),
    mrSignerSeam: fromHex(mrSignerSeam!),
    seamAttributes: fromHex(seamAttributes!),
  };
  return { qeIsvSvn, tdxModule };
}
