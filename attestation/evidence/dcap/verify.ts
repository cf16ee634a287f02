import type { Anchor } from '../../anchors.ts';
import type { Check, CheckId } from '../../checks.ts';
import type { Collateral } from '../../collateral.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal, type RefusalCode } from '../../errors.ts';
import { atCheck } from '../../verdict/steps.ts';
import { verifyChain } from '../../x509/chain.ts';
import { createChainCache, type ChainCache } from '../../x509/chainCache.ts';
import { verifyDcapCollateral, type VerifiedDcapCollateral } from './collateral.ts';
import { readPckCertificate, type PckIdentity } from './pck.ts';
import { pinPckChain } from './pckChain.ts';
import type { Quote } from './quote.ts';
import { checkQuotingEnclave } from './quotingEnclave.ts';
import type { PckChain } from './revocation.ts';
import { verifyQuoteSignatures } from './signatures.ts';
import { describeSteps, QuoteRefusal } from './steps.ts';

export interface QuoteVerifyOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  /** Keys that the caller trusts; those of other roles are passed over. */
  readonly anchors: readonly Anchor[];
  /** Its certificates are used only where the quote carries none. */
  readonly collateral: Collateral;
  /** Remembers signatures of certificates that were found good, from one verification to the next. */
  readonly chainCache?: ChainCache | undefined;
}

declare const verified: unique symbol;

/** A quote that a genuine platform signed, up to the trust in `anchor`. Only `verifyQuote` makes one. */
export interface VerifiedQuote {
  readonly [verified]: true;
  readonly quote: Quote;
  readonly pck: PckIdentity;
  readonly anchor: Anchor;
  /** Intel's statements on the platform, or for want of what its firmware cannot be judged. */
  readonly collateral: VerifiedDcapCollateral | Refusal;
  /** The checks that this verification made, in their order, with the values compared. */
  readonly checks: readonly Check[];
}

/** Signatures of certificates in one verification: PCK, CA, root and a signer of statements, with room to spare. */
const ONE_VERIFICATION = 8;

/** Failures of the collateral that say nothing against the quote: what can be judged without it is judged. */
const WANTING: readonly RefusalCode[] = [
  'COLLATERAL_MISSING',
  'COLLATERAL_EXPIRED',
  'COLLATERAL_NOT_YET_VALID',
  'CRL_EXPIRED',
];

/**
 * Verifies a parsed quote: PCK chain to a pinned root, revocation, Intel's statements, endorsement, both signatures
 * and the quoting enclave. Throws a `Refusal` that names the first check broken. Collateral that is absent or out of
 * date refuses nothing here: it stands in the value, where no appraisal passes it, and hides no other failure.
 */
export async function verifyQuote(quote: Quote, options: QuoteVerifyOptions): Promise<VerifiedQuote> {
  const { chain, anchor } = await atCheck('cpu.chain', () =>
    pinPckChain(quote.signature.certification, { ...options, supplied: options.collateral.certificates }),
  );
  // The root signs itself and two signers of statements are one: each of their signatures is checked once.
  const chainCache = options.chainCache ?? createChainCache(ONE_VERIFICATION);
  const crypto = options.crypto.forOneVerification?.() ?? options.crypto;
  const results = await checkAll(quote, chain, { ...options, crypto, anchors: [anchor], chainCache });
  const { pck, collateral } = results;
  const wanting = isWanting(collateral) ? collateral : undefined;
  const refusal = firstRefusal(results, wanting);
  const reasons = describe(quote, results, anchor);
  const checks = describeSteps({ refusal, wanting, unmade: unmadeSteps(collateral), reasons });
  if (refusal) throw new QuoteRefusal(refusal, checks);
  return { quote, pck, anchor, collateral, checks } as unknown as VerifiedQuote;
}

/** What each step came to: its value or nothing, or why it refuses. */
interface Results {
  readonly pck: PckIdentity | Refusal;
  readonly links: Refusal | undefined;
  /** Undefined where the platform is not known, so that nothing can be said of it. */
  readonly collateral: VerifiedDcapCollateral | Refusal | undefined;
  readonly endorsement: Refusal | undefined;
  readonly signatures: Refusal | undefined;
  readonly enclave: Refusal | undefined;
}

/** Makes all checks, whatever becomes of those before: each result counts only together with them. */
async function checkAll(quote: Quote, chain: PckChain, options: QuoteVerifyOptions): Promise<Results> {
  const { crypto } = options;
  const pck = await settle(() => atCheck('cpu.endorsement', () => readPckCertificate(chain.pck)));
  const links = await refusalAt('cpu.chain', () => verifyChain([chain.pck, chain.ca, chain.root], options));
  const [collateral, signatures] = await Promise.all([
    pck instanceof Refusal ? undefined : settle(() => verifyDcapCollateral(chain, quote.tee, options)),
    refusalAt('cpu.signature', () => verifyQuoteSignatures(quote, chain.pck, crypto)),
  ]);
  const known = collateral instanceof Refusal ? undefined : collateral;
  const endorsement =
    pck instanceof Refusal ? pck : await refusalAt('cpu.endorsement', () => checkEndorsement(pck, known));
  const enclave = await refusalAt('cpu.quoting-enclave', () =>
    checkQuotingEnclave(quote.signature, known?.qeIdentity, crypto),
  );
  return { pck, links, collateral, endorsement, signatures, enclave };
}

async function settle<T>(step: () => Promise<T>): Promise<T | Refusal> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

async function refusalAt(check: CheckId, step: () => Promise<void> | void): Promise<Refusal | undefined> {
  const result = await settle(() => atCheck(check, step));
  return result instanceof Refusal ? result : undefined;
}

/** The first in the list of checks: which failure is named depends on nothing else. */
function firstRefusal(results: Results, wanting: Refusal | undefined): Refusal | undefined {
  const { links, collateral, endorsement, signatures, enclave } = results;
  const statements = collateral instanceof Refusal && !wanting ? collateral : undefined;
  return links ?? statements ?? endorsement ?? signatures ?? enclave;
}

function isWanting(collateral: Results['collateral']): collateral is Refusal {
  if (!(collateral instanceof Refusal) || !WANTING.includes(collateral.code)) return false;
  return collateral.check === 'cpu.revocation' || collateral.check === 'cpu.collateral';
}

/** Whether Intel's statements are on the platform that the certificate names. */
function checkEndorsement(pck: PckIdentity, collateral: VerifiedDcapCollateral | undefined): void {
  if (!collateral) return;
  const { fmspc, pceId } = collateral.tcbInfo;
  if (fmspc === pck.fmspc && pceId === pck.pceId) return;
  throw new Refusal(
    'COLLATERAL_MISMATCH',
    `the PCK certificate is for FMSPC ${pck.fmspc} and PCE ${pck.pceId}, TCB info for ${fmspc} and ${pceId}`,
  );
}

/** Steps that are not whole without what the collateral would have brought. */
function unmadeSteps(collateral: Results['collateral']): readonly CheckId[] {
  if (!collateral) return ['cpu.revocation', 'cpu.collateral'];
  if (!(collateral instanceof Refusal)) return [];
  const unmade: readonly CheckId[] = ['cpu.endorsement', 'cpu.quoting-enclave'];
  return collateral.check === 'cpu.revocation' ? ['cpu.collateral', ...unmade] : unmade;
}

const BODY_NAMES: Readonly<Record<Quote['bodyKind'], string>> = {
  sgx: 'an SGX enclave',
  td10: 'a TD 1.0',
  td15: 'a TD 1.5',
};

function describe(
  { version, bodyKind }: Quote,
  { pck, collateral }: Results,
  anchor: Anchor,
): Partial<Record<CheckId, string>> {
  const made = collateral && !(collateral instanceof Refusal) ? collateral.checks : [];
  return {
    'cpu.format': `quote of version ${version} of ${BODY_NAMES[bodyKind]}`,
    'cpu.chain': `leads to the pinned key ${anchor.name}`,
    'cpu.endorsement':
      pck instanceof Refusal ? '' : `PCK of FMSPC ${pck.fmspc}, PCE ${pck.pceId}, PPID ${pck.ppid}`,
    'cpu.signature': 'ECDSA P-256 with SHA-256 under the attestation key, and of the QE report under the PCK',
    'cpu.quoting-enclave': 'vouches for the attestation key and is the quoting enclave that Intel names',
    ...Object.fromEntries(made.map(({ id, reason }) => [id, reason])),
  };
}
