import type { Anchor } from '../../anchors.ts';
import { equalBytes, toHex } from '../../bytes/bytes.ts';
import type { CryptoProvider, SignatureScheme } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { atCheck } from '../../verdict/steps.ts';
import type { Certificate } from '../../x509/certificate.ts';
import type { ChainCache } from '../../x509/chainCache.ts';
import type { DeviceEvidence } from '../evidence.ts';
import { chipOf, firmwareIdOf, verifyPinnedChain, type ChipName } from './certificates.ts';
import { parseDeviceReport, type DeviceReport } from './parse.ts';

/** Leaf, boot ROM, provisioner, identity, root. */
const CHAIN_LENGTH = 5;
const REPORT_SIGNATURE: SignatureScheme = { kind: 'ecdsa', curve: 'P-384', hash: 'sha384' };

export interface VerifyOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  readonly anchors: readonly Anchor[];
  /** Remembers signatures of certificates that were found good; without it each is checked every time. */
  readonly chainCache?: ChainCache | undefined;
}

export interface VerifyDeviceOptions extends VerifyOptions {
  /** Nonce that the report must carry, 32 bytes. */
  readonly nonce: Uint8Array;
}

declare const verified: unique symbol;

/** A report that a genuine device signed for the nonce, with what its certificates say of the device. */
export interface VerifiedDevice {
  readonly [verified]: true;
  readonly kind: DeviceEvidence['kind'];
  readonly report: DeviceReport;
  readonly chip: ChipName;
  /** Leaf, boot ROM, provisioner, identity, root. */
  readonly chain: readonly Certificate[];
  /** Serial of the leaf; as a decimal number the UEID. */
  readonly serial: Uint8Array;
  /** Serial of the boot ROM certificate; without its first byte the PDI of the device. */
  readonly bootRomSerial: Uint8Array;
  /** Firmware that the leaf is for. */
  readonly certifiedFirmwareId: Uint8Array | undefined;
  readonly anchor: Anchor;
}

/**
 * Verifies one device: format, chain, signature, nonce, in this order. Each refusal names its check. The firmware id
 * and everything that a policy may decide is judged by `appraiseDevice`.
 */
export async function verifyDevice(
  { kind, report: bytes, certificates: encoded }: DeviceEvidence,
  options: VerifyDeviceOptions,
): Promise<VerifiedDevice> {
  const { crypto, nonce } = options;
  const report = await atCheck('device.format', () => parseDeviceReport(bytes, kind));
  const device = await atCheck('device.chain', async () => {
    const pinned = await verifyPinnedChain(encoded, 'nvidia-device', CHAIN_LENGTH, options);
    const { leaf, issuer, certificates: chain, anchor } = pinned;
    const chip = checkedChip(chipOf(leaf), report);
    return {
      leaf,
      chip,
      chain,
      bootRomSerial: issuer.serial,
      certifiedFirmwareId: firmwareIdOf(leaf),
      anchor,
    };
  });
  const { leaf, ...facts } = device;
  if (!(await crypto.verify(REPORT_SIGNATURE, leaf.spki, report.signed, report.signature))) {
    const reason = `the report is not signed by ${leaf.subject}`;
    throw new Refusal('SIGNATURE_INVALID', reason, 'device.signature');
  }
  if (!equalBytes(report.nonce, nonce)) {
    const reason = `the report is for nonce ${toHex(report.nonce)}, wanted ${toHex(nonce)}`;
    throw new Refusal('NONCE_MISMATCH', reason, 'device.nonce');
  }
  return { kind, report, serial: leaf.serial, ...facts } as VerifiedDevice;
}

/** A switch chain must not carry a GPU report, nor the chain of one chip the report of another. */
function checkedChip(certified: ChipName, report: DeviceReport): ChipName {
  const reported = report.kind === 'gpu' ? report.chip : 'LS10';
  if (certified !== reported) {
    throw new Refusal(
      'PRODUCT_MISMATCH',
      `the certificates are for ${certified}, the report is of ${reported}`,
    );
  }
  return certified;
}
