import { equalBytes, isZero, toHex } from '../../bytes/bytes.ts';
import { pass, skip, type Check } from '../../checks.ts';
import { Refusal } from '../../errors.ts';
import { atCheck } from '../../verdict/steps.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { isoTime } from '../../x509/time.ts';
import type { SnpEvidence } from '../evidence.ts';
import type { SnpAnchor } from './anchors.ts';
import { readVekCertificate, type VekCertificate } from './certificate.ts';
import {
  parsePinnedSnpChain,
  verifyPinnedSnpChain,
  type SnpChainOptions,
  type VerifiedSnpChain,
} from './chain.ts';
import type { Revocation } from './crl.ts';
import { parseSnpReport, type SnpReport } from './parse.ts';
import { formatTcb, productOfCpuid, splitTcb, type SnpProduct, type SnpTcb } from './product.ts';

export type SnpVerifyOptions = SnpChainOptions;

declare const verified: unique symbol;

/** A report that a genuine chip signed, up to the trust in `anchor`. Only `verifySnp` makes one. */
export interface VerifiedSnp {
  readonly [verified]: true;
  readonly report: SnpReport;
  readonly product: SnpProduct;
  readonly vek: VekCertificate;
  readonly anchor: SnpAnchor;
  readonly revocation: Revocation;
  readonly tcb: {
    readonly current: SnpTcb;
    readonly reported: SnpTcb;
    readonly committed: SnpTcb;
    readonly launch: SnpTcb;
  };
  /** The checks that this verification made, in their order, with the values compared. */
  readonly checks: readonly Check[];
}

/**
 * Verifies a report and its three certificates (VEK, ASK or ASVK, ARK; DER). Throws a `Refusal` that names the
 * first check broken. What the guest may be trusted with is a policy's to say: see `appraiseSnp`.
 */
export async function verifySnp(
  evidence: Pick<SnpEvidence, 'report' | 'certificates'>,
  options: SnpVerifyOptions,
): Promise<VerifiedSnp> {
  const report = await atCheck('cpu.format', () => parseSnpReport(evidence.report));
  const pinned = await parsePinnedSnpChain(evidence.certificates, options);
  // Takes as long as all the rest: begun here, judged in its turn, and worth nothing before the chain is verified.
  const signed = isSignedBy(report, pinned.vek, options);
  signed.catch(() => undefined);
  const chain = await verifyPinnedSnpChain(pinned, options);
  const vek = await atCheck('cpu.endorsement', () => checkEndorsement(report, chain));
  await atCheck('cpu.signature', async () => {
    if (await signed) return;
    throw new Refusal('SIGNATURE_INVALID', 'the report does not verify under the key of its VEK certificate');
  });
  const { product } = vek;
  const tcb = {
    current: splitTcb(report.currentTcb, product),
    reported: splitTcb(report.reportedTcb, product),
    committed: splitTcb(report.committedTcb, product),
    launch: splitTcb(report.launchTcb, product),
  };
  const { anchor, revocation } = chain;
  const checks = describe(report, vek, chain);
  return { report, product, vek, anchor, revocation, tcb, checks } as unknown as VerifiedSnp;
}

/** Whether the certificate is for the key, product, firmware level and chip that the report names. */
function checkEndorsement(report: SnpReport, chain: VerifiedSnpChain): VekCertificate {
  const vek = readVekCertificate(chain.vek);
  checkProduct(report, vek, chain.anchor);
  checkKeyKind(report, vek);
  checkTcb(report, vek);
  checkChip(report, vek);
  return vek;
}

function checkProduct(report: SnpReport, vek: VekCertificate, anchor: SnpAnchor): void {
  if (vek.product !== anchor.product) {
    throw new Refusal(
      'PRODUCT_MISMATCH',
      `a certificate for ${vek.product} under the root of ${anchor.product}`,
    );
  }
  if (!report.cpuid) return;
  const product = productOfCpuid(report.cpuid);
  if (product !== vek.product) {
    throw new Refusal('PRODUCT_MISMATCH', `the report is of ${product}, the certificate for ${vek.product}`);
  }
}

/** A VCEK names one chip, a VLEK a whole provider: neither may stand in for the other. */
function checkKeyKind({ keyInfo }: SnpReport, vek: VekCertificate): void {
  if (keyInfo.signingKey !== vek.kind) {
    throw new Refusal(
      'ALGORITHM_MISMATCH',
      `the report names signing key ${keyInfo.signingKey}, the certificate is of a ${vek.kind}`,
    );
  }
}

/** The VEK is derived from the reported TCB: another one is another key. */
function checkTcb(report: SnpReport, vek: VekCertificate): void {
  if (equalBytes(report.reportedTcb, vek.tcb)) return;
  const [reported, endorsed] = [report.reportedTcb, vek.tcb].map(
    (raw) => `${formatTcb(splitTcb(raw, vek.product))} (${toHex(raw)})`,
  );
  throw new Refusal('TCB_MISMATCH', `the report states ${reported ?? ''}, the certificate ${endorsed ?? ''}`);
}

/** A VCEK certificate names the chip, on Turin by the first 8 bytes; a VLEK report names none. */
function checkChip(report: SnpReport, { hwid }: VekCertificate): void {
  if (hwid && !equalBytes(report.chipId.subarray(0, hwid.length), hwid)) {
    throw new Refusal(
      'CHIP_ID_MISMATCH',
      `the report is of chip ${toHex(report.chipId)}, the certificate for ${toHex(hwid)}`,
    );
  }
  const rest = report.chipId.subarray(hwid?.length ?? 0);
  if (!isZero(rest)) {
    throw new Refusal(
      'CHIP_ID_MISMATCH',
      `the chip id has bytes that the certificate does not endorse: ${toHex(rest)}`,
    );
  }
}

function isSignedBy(report: SnpReport, vek: Certificate, { crypto }: SnpVerifyOptions): Promise<boolean> {
  const scheme = { kind: 'ecdsa', curve: 'P-384', hash: 'sha384' } as const;
  return crypto.verify(scheme, vek.spki, report.signedBytes, report.signature);
}

function describe(report: SnpReport, vek: VekCertificate, chain: VerifiedSnpChain): readonly Check[] {
  const holder = vek.hwid ? `chip ${toHex(vek.hwid)}` : `provider ${vek.cspId ?? ''}`;
  const tcb = formatTcb(splitTcb(vek.tcb, vek.product));
  return [
    pass('cpu.format', 'cpu', `SNP report of version ${report.version}`),
    pass('cpu.chain', 'cpu', `leads to the pinned key ${chain.anchor.name}`),
    describeRevocation(chain.revocation),
    pass('cpu.endorsement', 'cpu', `${vek.kind} of ${vek.product}, ${holder}, at ${tcb}`),
    pass('cpu.signature', 'cpu', 'ECDSA P-384 with SHA-384 over bytes 0x000 to 0x29f'),
  ];
}

function describeRevocation(revocation: Revocation): Check {
  if (revocation.status === 'not-supplied') {
    const reason = 'no CRL of the root was supplied and the policy requires none';
    return skip('cpu.revocation', 'cpu', 'NOT_REQUIRED', reason);
  }
  const until = isoTime(revocation.nextUpdate);
  return pass('cpu.revocation', 'cpu', `not in the CRL that is in date until ${until}`);
}
