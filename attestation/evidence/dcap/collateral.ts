import { findAnchor, type Anchor } from '../../anchors.ts';
import { equalBytes } from '../../bytes/bytes.ts';
import { pass, type Check } from '../../checks.ts';
import type { Collateral, SignedJson } from '../../collateral.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { atCheck } from '../../verdict/steps.ts';
import { parseCertificate, type Certificate } from '../../x509/certificate.ts';
import type { ChainCache } from '../../x509/chainCache.ts';
import { spkiSha256, verifyChain } from '../../x509/chain.ts';
import { refuseRevoked } from '../../x509/revocation.ts';
import { isoTime } from '../../x509/time.ts';
import { commonNameOf } from './distinguishedName.ts';
import { readPckCertificate, type PckIdentity } from './pck.ts';
import { parseQeIdentity, parseQeIdentityHead, type QeIdentity, type QeIdentityHead } from './qeIdentity.ts';
import { checkPckRevocation, type PckChain, type PckRevocation } from './revocation.ts';
import { parseSignedJson, verifySignedJson, type SignedMember, type SignedObject } from './signedJson.ts';
import { selectInDate } from './statement.ts';
import { parseTcbInfo, parseTcbInfoHead, type Tee, type TcbInfo, type TcbInfoHead } from './tcbInfo.ts';

/** More statements of one kind than any machine needs, or longer ones, would only serve to make the verifier work. */
const MAX_STATEMENTS = 64;
const MAX_STATEMENTS_BYTES = 1024 * 1024;
/** The role that Intel's root gives a certificate is in its name: it also issues those of PCK CAs. */
const TCB_SIGNING_NAME = 'Intel SGX TCB Signing';
const ENCLAVE_OF_TEE = { sgx: 'QE', tdx: 'TD_QE' } as const;

export interface DcapCollateralOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  /** Keys that the caller trusts; those of other roles are passed over. */
  readonly anchors: readonly Anchor[];
  readonly collateral: Pick<Collateral, 'tcbInfos' | 'qeIdentities' | 'crls'>;
  /** Remembers signatures of certificates that were found good. */
  readonly chainCache?: ChainCache | undefined;
}

declare const verified: unique symbol;

/** What Intel says of one platform at one time, up to the trust in its root. Only `verifyDcapCollateral` makes one. */
export interface VerifiedDcapCollateral {
  readonly [verified]: true;
  readonly pck: PckIdentity;
  readonly tcbInfo: TcbInfo;
  readonly qeIdentity: QeIdentity;
  readonly revocation: PckRevocation;
  /** Until when all of it is in date, milliseconds since 1970. */
  readonly validUntil: number;
  /** `cpu.revocation` and `cpu.collateral`, with the values compared. */
  readonly checks: readonly Check[];
}

/**
 * Verifies Intel's lists and statements for the platform of a PCK chain, which the caller has verified up to a pinned
 * root. Throws a `Refusal` that names the first check broken. Whether the firmware is good is `judgeTcb`'s to say.
 */
export async function verifyDcapCollateral(
  chain: PckChain,
  tee: Tee,
  options: DcapCollateralOptions,
): Promise<VerifiedDcapCollateral> {
  const { crypto, now, collateral } = options;
  const pck = await atCheck('cpu.chain', () => readPckCertificate(chain.pck));
  const revocation = await atCheck('cpu.revocation', () =>
    checkPckRevocation(chain, { crypto, now, crls: collateral.crls }),
  );
  const context = { ...options, root: chain.root, revocation };
  const tcbInfo = await atCheck('cpu.collateral', () => verifyTcbInfo(pck, tee, context));
  const qeIdentity = await atCheck('cpu.collateral', () => verifyQeIdentity(tee, context));
  const ends = [tcbInfo, qeIdentity, revocation.root, revocation.ca].map(({ nextUpdate }) => nextUpdate);
  const validUntil = Math.min(...ends);
  const checks = describe(tcbInfo, qeIdentity, revocation);
  return {
    pck,
    tcbInfo,
    qeIdentity,
    revocation,
    validUntil,
    checks,
  } as unknown as VerifiedDcapCollateral;
}

interface Context extends DcapCollateralOptions {
  readonly root: Certificate;
  readonly revocation: PckRevocation;
}

/** A statement as supplied, with what it is for. */
interface Candidate<Head> {
  readonly head: Head;
  readonly object: SignedObject;
  readonly issuerChain: readonly Uint8Array[];
}

function readCandidates<Head>(
  statements: readonly SignedJson[],
  member: SignedMember,
  parseHead: (value: unknown) => Head,
): readonly Candidate<Head>[] {
  const bytes = statements.reduce((sum, { body }) => sum + body.length, 0);
  if (statements.length > MAX_STATEMENTS || bytes > MAX_STATEMENTS_BYTES) {
    throw new Refusal(
      'MALFORMED',
      `${statements.length} statements of ${member} of ${bytes} bytes; at most ${MAX_STATEMENTS} of ${MAX_STATEMENTS_BYTES} are read`,
    );
  }
  return statements.map(({ body, issuerChain }) => {
    const object = parseSignedJson(body, member);
    return { head: parseHead(object.value), object, issuerChain };
  });
}

async function verifyTcbInfo(pck: PckIdentity, tee: Tee, context: Context): Promise<TcbInfo> {
  const candidates = readCandidates(context.collateral.tcbInfos, 'tcbInfo', parseTcbInfoHead);
  const wanted = `TCB info of ${tee.toUpperCase()} for FMSPC ${pck.fmspc} and PCE ${pck.pceId}`;
  const fits = ({ head }: Candidate<TcbInfoHead>) =>
    head.tee === tee && head.fmspc === pck.fmspc && head.pceId === pck.pceId;
  const [other] = candidates;
  const fitting = candidates.filter(fits);
  if (fitting.length === 0 && other) {
    const { head } = other;
    throw new Refusal(
      'COLLATERAL_MISMATCH',
      `${wanted} is needed; that supplied is of ${head.tee.toUpperCase()} for FMSPC ${head.fmspc} and PCE ${head.pceId}`,
    );
  }
  return parseTcbInfo(await verifySelected(fitting, wanted, context));
}

async function verifyQeIdentity(tee: Tee, context: Context): Promise<QeIdentity> {
  const candidates = readCandidates(context.collateral.qeIdentities, 'enclaveIdentity', parseQeIdentityHead);
  const id = ENCLAVE_OF_TEE[tee];
  const fitting = candidates.filter(({ head }: Candidate<QeIdentityHead>) => head.id === id);
  const other = candidates.find(({ head }) => head.id !== 'QVE');
  if (fitting.length === 0 && other) {
    throw new Refusal(
      'QE_IDENTITY_MISMATCH',
      `the identity of enclave ${id} is needed; that supplied is of ${other.head.id}`,
    );
  }
  return parseQeIdentity(await verifySelected(fitting, `QE identity ${id}`, context));
}

/** Value of the best candidate in date, once its signature and its signer are verified. */
async function verifySelected(
  fitting: readonly Candidate<TcbInfoHead | QeIdentityHead>[],
  what: string,
  context: Context,
): Promise<unknown> {
  const byHead = new Map(fitting.map((candidate) => [candidate.head, candidate]));
  const selected = byHead.get(selectInDate([...byHead.keys()], context.now, what));
  if (!selected) throw new Refusal('COLLATERAL_MISSING', `no ${what} was supplied`);
  const signer = await verifySigner(selected.issuerChain, what, context);
  await verifySignedJson(selected.object, signer.spki, context.crypto, what);
  return selected.object.value;
}

/**
 * The TCB signing certificate of a statement: issued by the root of the PCK chain itself, so that a root pinned for
 * one purpose, such as simulation, cannot vouch for platforms of another. Two such certificates of Intel have one
 * serial and one key: a revocation of either is of both.
 */
async function verifySigner(
  issuerChain: readonly Uint8Array[],
  what: string,
  { crypto, now, anchors, root, revocation, chainCache }: Context,
): Promise<Certificate> {
  const [signer, issuer] = parseTwo(issuerChain, what);
  const spki = spkiSha256(issuer, crypto);
  if (!findAnchor(anchors, 'intel-sgx-root', spki) || !equalBytes(issuer.spki, root.spki)) {
    throw new Refusal(
      'UNTRUSTED_ROOT',
      `the issuer chain of ${what} ends in ${issuer.subject} with key ${spki}, which is not the pinned root of the PCK chain`,
    );
  }
  await verifyChain([signer, issuer], { crypto, now, chainCache });
  if (signer.isCa || commonNameOf(signer.subjectName) !== TCB_SIGNING_NAME) {
    throw new Refusal('CERT_CHAIN_INVALID', `${signer.subject} is no TCB signing certificate`);
  }
  refuseRevoked(revocation.rootCrls, [signer], now);
  return signer;
}

function parseTwo(
  certificates: readonly Uint8Array[],
  what: string,
): readonly [signer: Certificate, root: Certificate] {
  const [signer, root, ...rest] = certificates;
  if (!signer || !root) {
    throw new Refusal(
      'CERT_MISSING',
      `${what} needs its TCB signing certificate and the root, ${certificates.length} given`,
    );
  }
  if (rest.length > 0)
    throw new Refusal('MALFORMED', `${rest.length} certificates follow the root of ${what}`);
  return [parseCertificate(signer), parseCertificate(root)];
}

function describe(tcbInfo: TcbInfo, qe: QeIdentity, { root, ca }: PckRevocation): readonly Check[] {
  const revocation = `not in the CRLs of the root and of the PCK CA, in date until ${isoTime(root.nextUpdate)} and ${isoTime(ca.nextUpdate)}`;
  const info = `TCB info of ${tcbInfo.tee.toUpperCase()} for FMSPC ${tcbInfo.fmspc}, evaluation ${tcbInfo.tcbEvaluationDataNumber}, in date until ${isoTime(tcbInfo.nextUpdate)}`;
  const identity = `identity of ${qe.id}, evaluation ${qe.tcbEvaluationDataNumber}, in date until ${isoTime(qe.nextUpdate)}`;
  return [pass('cpu.revocation', 'cpu', revocation), pass('cpu.collateral', 'cpu', `${info}; ${identity}`)];
}
