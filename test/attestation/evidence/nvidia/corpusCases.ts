import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromBase64, fromHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import type { CryptoProvider } from '../../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import type { DeviceEvidence } from '../../../../attestation/evidence/evidence.ts';
import { NVIDIA_ANCHORS } from '../../../../attestation/evidence/nvidia/anchors.ts';
import type { NvidiaPolicy } from '../../../../attestation/policy/policy.ts';

export const CORPUS = 'evidence/gpu';

/** A policy that accepts what the corpus holds, so that each refusal has the one reason of its test. */
export const PERMISSIVE: NvidiaPolicy = {
  architectures: ['hopper', 'blackwell', 'ls10'],
  chips: 'any',
  modes: ['spt', 'mpt', 'ppcie'],
  minimumOpaqueVersion: 0,
  topology: 'when-ppcie',
  minimumDriver: 'any',
  minimumVbios: 'any',
  serials: 'any',
  firmwareId: 'when-present',
  pinnedMeasurements: [],
  revocation: 'not-checked',
};

/** A change of a file with several devices: entries left out, copied over others, chains exchanged. */
export interface FileChange {
  readonly drop?: readonly number[];
  readonly replace?: Readonly<Record<string, number>>;
  readonly swapCertificate?: readonly [number, number];
}

export interface Change {
  readonly file?: string;
  readonly xor?: { readonly offset: number; readonly mask: number };
  readonly truncate?: number;
  readonly append?: string;
  readonly keep?: readonly number[];
  readonly verifyAt?: string;
  readonly expectedNonceHex?: string;
}

export interface Case {
  readonly verifyAt: string;
  readonly expectedNonceHex: string;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly checks: Readonly<Record<string, never>>;
  readonly expected: { readonly files?: Readonly<Record<string, { verdict?: string; parse?: string }>> };
  readonly deviceFacts?: readonly Readonly<Record<string, unknown>>[];
  readonly variants?: readonly { readonly id: string; readonly change: Change }[];
}

/** One folder of the corpus. */
export class CaseFolder {
  readonly data: Case;
  readonly #path: string;

  constructor(corpus: string, id: string) {
    this.#path = join(corpus, id);
    this.data = JSON.parse(this.text('case.json')) as Case;
  }

  text(file: string): string {
    return readFileSync(join(this.#path, file), 'utf8');
  }

  bytes(file: string): Uint8Array {
    return new Uint8Array(readFileSync(join(this.#path, file)));
  }

  change(id: string): Change {
    const variant = this.data.variants?.find((candidate) => candidate.id === id);
    if (!variant) throw new Error(`no variant ${id}`);
    return variant.change;
  }

  /** What a variant changes in a file with several devices. */
  fileChange(id: string, file: string): FileChange {
    const change = (this.change(id) as Readonly<Record<string, FileChange | undefined>>)[file];
    if (!change) throw new Error(`variant ${id} does not change ${file}`);
    return change;
  }

  /** Evidence of a case with one device, changed as a variant says. */
  device(kind: DeviceEvidence['kind'], change: Change = {}, chain = 'certchain.pem'): DeviceEvidence {
    const report = fromHex(this.text('report.hex').trim());
    const certificates = pemCertificates(this.text(chain));
    return {
      kind,
      report: change.file === 'report.hex' ? changeReport(report, change) : report,
      certificates: change.keep ? change.keep.map((i) => certificates[i]!) : certificates,
    };
  }

  /** Evidence of a file with several devices, changed as a variant says. */
  devices(
    file: string,
    kind: DeviceEvidence['kind'],
    { drop = [], replace = {}, swapCertificate }: FileChange = {},
  ): readonly DeviceEvidence[] {
    const entries = JSON.parse(this.text(file)) as { evidence: string; certificate: string }[];
    const devices = entries.map(({ evidence, certificate }) => ({
      kind,
      report: fromBase64(evidence),
      certificates: pemCertificates(new TextDecoder().decode(fromBase64(certificate))),
    }));
    const certificatesAt = (i: number) => {
      const [a, b] = swapCertificate ?? [i, i];
      return devices[i === a ? b : i === b ? a : i]!.certificates;
    };
    return devices
      .map((device, i) => ({ ...device, certificates: certificatesAt(i) }))
      .map((device, i, all) => all[replace[String(i)] ?? i] ?? device)
      .filter((_, i) => !drop.includes(i));
  }

  options(change: Change = {}, crypto: CryptoProvider = nodeCrypto) {
    return {
      crypto,
      now: Date.parse(change.verifyAt ?? this.data.verifyAt),
      anchors: NVIDIA_ANCHORS,
      nonce: fromHex(change.expectedNonceHex ?? this.data.expectedNonceHex),
    };
  }
}

function changeReport(report: Uint8Array, { xor, truncate = 0, append = '' }: Change): Uint8Array {
  const changed = Uint8Array.from([...report.subarray(0, report.length - truncate), ...fromHex(append)]);
  if (xor) changed[xor.offset]! ^= xor.mask;
  return changed;
}

export function pemCertificates(text: string): readonly Uint8Array[] {
  return [...text.matchAll(/-----BEGIN CERTIFICATE-----([^-]*)-----END/g)].map(([, body]) =>
    fromBase64(body!.replaceAll(/\s/g, '')),
  );
}

/** `check: code` of the refusal that a promise ends in; anything else that is thrown fails the test. */
export async function refusalOf(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.check ? `${error.check}: ${error.code}` : error.code;
  }
  return 'accepted';
}

/** The same for a function that does not wait. */
export function refusalCode(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.code;
  }
  return 'accepted';
}
