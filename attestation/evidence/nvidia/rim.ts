import type { Anchor } from '../../anchors.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { verifyPinnedChain } from './certificates.ts';
import type { DeviceReport } from './parse.ts';
import type { SignedManifest } from './signedManifest.ts';
import type { Manifest } from './swid.ts';
import type { VerifyOptions } from './verify.ts';

/** Signer, L3, CA, root. */
const CHAIN_LENGTH = 4;

declare const verified: unique symbol;

/** A reference integrity manifest that NVIDIA signed. Whether it is for a device is judged by `appraiseDevice`. */
export interface VerifiedRim extends Manifest {
  readonly [verified]: true;
  /** Signer, L3, CA, root. */
  readonly chain: readonly Certificate[];
  readonly anchor: Anchor;
}

/**
 * Verifies a manifest: layout, chain to the pinned manifest root, and signature under the key of the very
 * certificate that the chain judged. Its data is read from the bytes that were digested and from nowhere else.
 */
export async function verifyRim(xml: Uint8Array, options: VerifyOptions): Promise<VerifiedRim> {
  // The XML parser is a sixth of the verifier's code: a page that splits its code loads it with the first manifest.
  const reader = await loadManifestReader();
  const signed = new reader.SignedManifest(xml);
  const { leaf, certificates, anchor } = await verifyPinnedChain(
    signed.certificates,
    'nvidia-rim',
    CHAIN_LENGTH,
    options,
  );
  const manifest = await signed.verify(leaf.spki, options.crypto);
  return { ...manifest, chain: certificates, anchor } as VerifiedRim;
}

/** Board of every LS10: its report names none. */
const LS10_BOARD = '5612_0002_890';

/** Id of the driver manifest; undefined for a switch, which has none. */
export function driverRimId(report: DeviceReport): string | undefined {
  if (report.kind === 'switch') return undefined;
  const { chip, chipInfo = 'GB100', driverVersion } = report;
  const name = chip === 'GH100' ? 'DRIVER_GH100' : `CC_DRIVER_${chipInfo}`;
  return `NV_GPU_${name}_${driverVersion}`.toUpperCase();
}

/** Id of the VBIOS manifest, for a switch of the BIOS manifest. */
export function vbiosRimId(report: DeviceReport): string {
  const id =
    report.kind === 'gpu'
      ? `NV_GPU_VBIOS_${report.project}_${report.projectSku}_${report.chipSku}_${withoutDots(report.vbiosVersion)}`
      : `NV_SWITCH_BIOS_${LS10_BOARD}_${withoutDots(report.biosVersion)}`;
  return id.toUpperCase();
}

function withoutDots(version: string): string {
  return version.replaceAll('.', '');
}

/** The reader of signed XML, which is large: whoever is about to judge devices may have it loaded before. */
export function loadManifestReader(): Promise<{ readonly SignedManifest: typeof SignedManifest }> {
  return import('./signedManifest.ts');
}
