import { fromHex, fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../attestation/collateral.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { forOneAppraisal } from '../../attestation/evidence/context.ts';
import { appraiseDevices } from '../../attestation/evidence/devices.ts';
import type { DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import { ReferenceLibrary } from '../../attestation/evidence/nvidia/references.ts';
import { judgeDeviceRevocation } from '../../attestation/evidence/nvidia/revocation.ts';
import type { ChainCache } from '../../attestation/x509/chainCache.ts';
import { OcspLibrary } from '../../attestation/x509/ocspLibrary.ts';
import { certificatesIn } from '../corpus/files.ts';
import type { GpuCase } from '../corpus/gpu/case.ts';
import { devicePolicy, revocationPolicy } from '../corpus/gpu/policy.ts';

/** All that one GPU is verified by. */
export interface GpuEvidence {
  readonly device: DeviceEvidence;
  readonly nonce: Uint8Array;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Manifests by id. */
  readonly rims: ReadonlyMap<string, Uint8Array>;
  /** OCSP responses about the signers of manifests. */
  readonly referenceResponses: readonly Uint8Array[];
  /** Those about the device, which are of another day. */
  readonly deviceResponses: readonly Uint8Array[];
  readonly deviceResponsesAt: number;
}

/** Reads a case of one GPU that has all of it. Pure: the same function runs in a page. */
export function gpuEvidence(gpuCase: GpuCase): GpuEvidence {
  const { files, facts, verifyAt, deviceOcspVerifyAt, expectedNonceHex } = gpuCase;
  const need = (path: string) => {
    const file = files.find((candidate) => candidate.path === path);
    if (!file) throw new Error(`the case has no ${path}`);
    return file.bytes;
  };
  const responses = (subject: RegExp) =>
    files.filter(({ role }) => subject.test(role)).map(({ bytes }) => bytes);
  return {
    device: {
      kind: 'gpu',
      report: fromHex(fromUtf8(need('report.hex')).trim()),
      certificates: certificatesIn(need('certchain.pem')),
    },
    nonce: fromHex(expectedNonceHex ?? ''),
    now: Date.parse(verifyAt ?? ''),
    rims: new Map([
      [String(facts['driverRimId']), need('driver.rim.xml')],
      [String(facts['vbiosRimId']), need('vbios.rim.xml')],
    ]),
    referenceResponses: responses(/^ocsp-response for .*RIM chain/),
    deviceResponses: responses(/^ocsp-response for chain/),
    deviceResponsesAt: Date.parse(deviceOcspVerifyAt ?? ''),
  };
}

const POLICY = devicePolicy({
  topology: 'when-ppcie',
  revocation: revocationPolicy({ deviceOcsp: false, referenceOcsp: true }),
});
const DEVICE_REVOCATION = revocationPolicy({ deviceOcsp: true, referenceOcsp: true });

/** Verifies the GPU as that of a document is verified. Throws where a check fails: then nothing was measured. */
export async function verifyGpu(
  evidence: GpuEvidence,
  crypto: CryptoProvider,
  chainCache?: ChainCache,
): Promise<void> {
  const { device, nonce, now } = evidence;
  const given = {
    crypto,
    now,
    anchors: DEFAULT_ANCHORS,
    policy: POLICY,
    collateral: NO_COLLATERAL,
    chainCache,
  };
  const context = forOneAppraisal(given);
  const library = new ReferenceLibrary(evidence.rims, context, evidence.referenceResponses);
  const { checks, verified } = await appraiseDevices([device], nonce, '', context, library);
  const [gpu] = verified;
  if (!gpu) throw new Error('the GPU does not verify');
  const revocation = await judgeDeviceRevocation(gpu, {
    crypto: context.crypto,
    now: evidence.deviceResponsesAt,
    ocspResponses: new OcspLibrary(evidence.deviceResponses),
    policy: { revocation: DEVICE_REVOCATION },
    subject: 'gpu 0',
  });
  const failed = [...checks, revocation].find(({ result }) => result === 'fail');
  if (failed) throw new Error(`${failed.id} ${failed.code}: ${failed.reason}`);
}
