import { equalBytes } from '../../../attestation/bytes/bytes.ts';
import type { NitroEvidence } from '../../../attestation/evidence/evidence.ts';
import { parseNitroDocument, type NitroDocument } from '../../../attestation/evidence/nitro/parse.ts';
import type { CpuCollector, Way } from '../collector.ts';
import { CollectError } from '../errors.ts';
import { GuestDevice } from '../guestDevice/device.ts';
import { findDevice } from '../guestDevice/findDevice.ts';
import { readEvidence } from '../reading.ts';
import { DeviceGate } from '../deviceGate.ts';
import type { NsmDescription } from './messages.ts';
import { describeModule, requestDocument } from './module.ts';

const NAME = 'nsm';
const REPORT_DATA_BYTES = 64;
/** AWS's CDDL: `public_key` has 1 to 1024 bytes. */
const MAX_PUBLIC_KEY_BYTES = 1024;
/** The module answers within milliseconds. */
const DEFAULT_DEADLINE_MS = 10_000;
const LOOK_MS = 3000;
/** How long `close` waits for a request that is out. */
const PATIENCE_MS = 1000;
const FIX = {
  absent:
    'In a Nitro enclave the device comes with the driver `nsm` (built into the kernels of nitro-cli, in Linux since ' +
    '6.8). It is there in an enclave only, not in the instance that runs the enclave.',
  denied: 'Run the service as root, or give its user read and write access to the device.',
  silent: 'The security module does not answer: look at the log of the kernel, and start the enclave again.',
};

export interface NsmOptions {
  readonly path?: string;
  /** C library that has `ioctl`; by default the one that this process runs on. */
  readonly cLibrary?: string;
  /** For one document; 10 seconds by default. */
  readonly deadlineMs?: number;
}

/** Attestation documents of an AWS Nitro enclave. */
export function nsmWay(options: NsmOptions = {}): Way<CpuCollector> {
  const { path = '/dev/nsm', cLibrary } = options;
  const ask = async (device: GuestDevice) => describe(await look(device));
  return {
    name: NAME,
    find: () => findDevice({ way: NAME, path, cLibrary, fix: FIX, ask }),
    async open() {
      return new NsmCollector(await openDevice(options), options.deadlineMs ?? DEFAULT_DEADLINE_MS);
    },
  };
}

/**
 * A document that carries a public key, for a service that encrypts to it after judging the document, as AWS KMS does.
 * It commits to nothing else and is never evidence of this service: that has neither key nor nonce, and a verifier
 * refuses one that has.
 *
 * `publicKey` is a SubjectPublicKeyInfo in DER.
 */
export async function documentForPublicKey(
  publicKey: Uint8Array,
  options: NsmOptions = {},
): Promise<Uint8Array> {
  if (publicKey.length === 0 || publicKey.length > MAX_PUBLIC_KEY_BYTES) {
    throw new RangeError(`a public key in a document has 1 to ${MAX_PUBLIC_KEY_BYTES} bytes`);
  }
  const asked = publicKey.slice();
  const device = await openDevice(options);
  try {
    const document = await new DeviceGate(device.path).run(options.deadlineMs ?? DEFAULT_DEADLINE_MS, () =>
      requestDocument(device, { publicKey: asked }),
    );
    const parsed = readDocument(document);
    if (!isExactly(parsed.publicKey, asked) || parsed.userData !== undefined || parsed.nonce !== undefined) {
      throw new CollectError('EVIDENCE_MISMATCH', 'the document carries something else than the public key');
    }
    return document;
  } finally {
    await device.close();
  }
}

function openDevice({ path = '/dev/nsm', cLibrary }: NsmOptions): Promise<GuestDevice> {
  return GuestDevice.open(path, cLibrary);
}

function look(device: GuestDevice): Promise<NsmDescription> {
  return new DeviceGate(device.path).run(LOOK_MS, () => describeModule(device));
}

function describe({ moduleId, version, digest, lockedPcrs }: NsmDescription): string {
  return `module ${moduleId}, version ${version}, ${digest}, locked registers ${lockedPcrs.join(' ') || 'none'}`;
}

class NsmCollector implements CpuCollector {
  readonly name = NAME;
  readonly platform = 'nitro';
  readonly #device: GuestDevice;
  readonly #gate: DeviceGate;
  readonly #deadlineMs: number;
  #closed = false;

  constructor(device: GuestDevice, deadlineMs: number) {
    this.#device = device;
    this.#gate = new DeviceGate(device.path);
    this.#deadlineMs = deadlineMs;
  }

  async collect(reportData: Uint8Array): Promise<NitroEvidence> {
    if (this.#closed) throw new CollectError('STOPPED', `${this.#device.path} is closed`);
    if (reportData.length !== REPORT_DATA_BYTES) throw new RangeError('report data has 64 bytes');
    const asked = reportData.slice();
    const report = await this.#gate.run(this.#deadlineMs, () =>
      requestDocument(this.#device, { userData: asked }),
    );
    const { userData, nonce, publicKey } = readDocument(report);
    if (!isExactly(userData, asked) || nonce !== undefined || publicKey !== undefined) {
      throw new CollectError('EVIDENCE_MISMATCH', 'the document is over other data than was asked for');
    }
    return { platform: 'nitro', report };
  }

  /** What booted is in the registers; the enclave keeps no log of it. */
  bootLog(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#gate.stop(PATIENCE_MS);
    await this.#device.close();
  }
}

/** A document of an enclave: NitroTPM's look the same and say nothing of an enclave. */
function readDocument(bytes: Uint8Array): NitroDocument {
  const document = readEvidence('the attestation document', () => parseNitroDocument(bytes));
  if (document.kind === 'enclave') return document;
  throw new CollectError(
    'EVIDENCE_MALFORMED',
    'the attestation document is one of NitroTPM, not of an enclave',
  );
}

function isExactly(found: Uint8Array | undefined, wanted: Uint8Array): boolean {
  return found !== undefined && equalBytes(found, wanted);
}
