import { X509Certificate } from 'node:crypto';
import {
  devicesDigest,
  encodeDevices,
  encodeStatement,
  gpuNonce,
  nonceLeaf,
  reportData,
  statementDigest,
  type Statement,
} from '../../attestation/binding.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { documentDigest, encodeDocument } from '../../attestation/evidence/document.ts';
import type { CpuEvidence, DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import { MemoryTree } from '../../attestation/log/memoryTree.ts';
import { type HardwareFacts, readHardware } from './hardwareFacts.ts';

/** The hardware as this room sees it: `enclave/collect` has the ways to it. Calls are serial. */
export interface EvidenceSource {
  collectDevices(nonce: Uint8Array): Promise<readonly DeviceEvidence[]>;
  collectCpu(reportData: Uint8Array): Promise<CpuEvidence>;
  /** Log of measured boot as the platform has it; undefined, or left out, where it has none. */
  bootLog?(): Promise<Uint8Array | undefined>;
  collateral(): Promise<Collateral>;
}

/** The evidence document that receipts cite. */
export interface EvidenceHead {
  readonly seq: number;
  readonly digest: Uint8Array;
  readonly encoded: Uint8Array;
  readonly logSize: number;
  /** Leaf serials of its devices, in document order. */
  readonly serials: readonly Uint8Array[];
}

export interface DocumentRequest {
  readonly keyset: Keyset;
  readonly keysetDigest: Uint8Array;
  readonly seq: number;
  readonly final: boolean;
  /** Nonces that this document answers, in arrival order. */
  readonly nonces: readonly Uint8Array[];
  readonly log: { readonly size: number; readonly root: Uint8Array };
  /** Digest of the document before; undefined at seq 0. */
  readonly previous: Uint8Array | undefined;
  /** Token or cosigned note that the document carries: it is made after it. */
  readonly timeAnchor?: Uint8Array | undefined;
  /** Statement of whoever answers for the instance; the hardware has no part in it. */
  readonly operator?: Uint8Array | undefined;
}

export interface CollectedDocument {
  readonly head: EvidenceHead;
  /** Tree over the nonces, for the askers' paths. */
  readonly nonceTree: MemoryTree;
  /** What must be as it was in the document before. */
  readonly hardware: HardwareFacts;
  readonly times: CollectionTimes;
}

/** How long the hardware took, milliseconds. */
export interface CollectionTimes {
  readonly devicesMs: number;
  readonly cpuMs: number;
}

const sha256 = sha256With(nodeCrypto);

/** Has the hardware commit to the request, both ways: devices through the nonce, the CPU through report data. */
export async function collectDocument(
  source: EvidenceSource,
  request: DocumentRequest,
): Promise<CollectedDocument> {
  const nonceTree = new MemoryTree(
    sha256,
    request.nonces.map((nonce) => nonceLeaf(nonce, nodeCrypto)),
  );
  const statement: Statement = {
    seq: request.seq,
    final: request.final,
    keysetDigest: request.keysetDigest,
    nonceCount: request.nonces.length,
    nonceRoot: nonceTree.root,
    logSize: request.log.size,
    logRoot: request.log.root,
    previous: request.previous,
    timeAnchor: request.timeAnchor && nodeCrypto.hash('sha256', request.timeAnchor),
  };
  const b = statementDigest(encodeStatement(statement), nodeCrypto);
  const began = performance.now();
  const devices = await source.collectDevices(gpuNonce(b, nodeCrypto));
  const devicesEnd = performance.now();
  const g = devicesDigest(encodeDevices(devices), nodeCrypto);
  const cpuBegin = performance.now();
  const cpu = await source.collectCpu(reportData(b, g, nodeCrypto));
  const times = { devicesMs: devicesEnd - began, cpuMs: performance.now() - cpuBegin };
  // After the report: registers may grow meanwhile, and a log that is longer than they say is refused.
  const bootLog = await source.bootLog?.();
  const { keyset, timeAnchor, operator } = request;
  const hardware = readHardware(cpu, devices);
  const encoded = encodeDocument({ keyset, statement, cpu, devices, bootLog, timeAnchor, operator });
  const head = {
    seq: request.seq,
    digest: documentDigest(encoded, nodeCrypto),
    encoded,
    logSize: request.log.size,
    serials: devices.map(leafSerial),
  };
  return { head, nonceTree, hardware, times };
}

/** Content of the leaf's serial INTEGER without a leading zero. */
function leafSerial({ certificates: [leaf] }: DeviceEvidence): Uint8Array {
  if (!leaf) throw new Error('a device gave no certificates');
  return Buffer.from(new X509Certificate(leaf).serialNumber, 'hex');
}
