import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Anchor } from '../../../attestation/anchors.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { verifyDevice } from '../../../attestation/evidence/nvidia/verify.ts';
import type { DeviceCollector, Way } from '../../../enclave/collect/collector.ts';
import type { Finding } from '../../../enclave/collect/finding.ts';

export interface EvidenceCheck {
  readonly finding: Finding;
  /** Devices as their evidence names them; none where the way is not usable. */
  readonly devices: readonly string[];
  /** Milliseconds of each collection from all devices, in the order in which they were made. */
  readonly milliseconds: readonly number[];
}

/**
 * Collects evidence for nonces of its own and verifies chain, signature and nonce of each report. What is judged by
 * manifests is not: it needs the network. The GPUs are not admitted to work.
 */
export async function checkEvidence(
  way: Way<DeviceCollector>,
  anchors: readonly Anchor[],
  collections: number,
): Promise<EvidenceCheck> {
  const finding = await way.find();
  if (finding.state !== 'usable') return { finding, devices: [], milliseconds: [] };
  const collector = await way.open();
  const milliseconds: number[] = [];
  let devices: readonly string[] = [];
  try {
    for (let i = 0; i < collections; i++) {
      const nonce = randomBytes(32);
      const start = performance.now();
      const evidence = await collector.collect(nonce);
      milliseconds.push(performance.now() - start);
      const options = { crypto: nodeCrypto, now: Date.now(), anchors, nonce };
      const verified = await Promise.all(evidence.map((device) => verifyDevice(device, options)));
      devices = verified.map(
        ({ kind, chip, serial }) => `${kind} ${chip} ${Buffer.from(serial).toString('hex')}`,
      );
    }
  } finally {
    await collector.close();
  }
  return { finding, devices, milliseconds };
}
