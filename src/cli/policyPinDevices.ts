import { gpuNonce, statementDigest } from '../../attestation/binding.ts';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { equalBytes, fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { Refusal } from '../../attestation/errors.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { verifyDevice, type VerifiedDevice } from '../../attestation/evidence/nvidia/verify.ts';
import { parseAttestation } from '../client/attestation.ts';
import { CliError, describeError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import {
  parseEitherKind,
  pemCertificates,
  readDeviceFile,
  type ReadDevice,
} from '../../attestation/recognition/deviceFile.ts';
import { splitReportAndChain } from '../../attestation/recognition/reportWithChain.ts';
import { recognise, type ShownKind } from '../../attestation/recognition/recognise.ts';

/** Devices of one file, not verified. */
export interface DevicesOfFile {
  readonly path: string;
  readonly devices: readonly (() => ReadDevice)[];
  /** To which a document binds its devices. */
  readonly nonce: Uint8Array | undefined;
  /** Whether the file is a report without its certificates. */
  readonly isBare: boolean;
}

type Found = Pick<DevicesOfFile, 'devices'> & Partial<DevicesOfFile>;

const FILES: Readonly<Partial<Record<ShownKind, (bytes: Uint8Array) => Found>>> = {
  document: ofDocument,
  attestation: (bytes) => ofDocument(parseAttestation(bytes).document),
  bundle: (bytes) => ofDocument(parseBundle(bytes).cited),
  'device-evidence': readDeviceFileOf,
  'nras-request': readDeviceFileOf,
  'device-report': (report) => ({
    devices: [() => ({ kind: undefined, report, certificates: [] })],
    isBare: true,
  }),
  'device-report-chain': (bytes) => {
    const { report, chain } = splitReportAndChain(bytes);
    return { devices: [() => ({ kind: undefined, report, certificates: pemCertificates(fromUtf8(chain)) })] };
  },
};

function ofDocument(encoded: Uint8Array): Found {
  const { devices, encodedStatement } = parseDocument(encoded);
  const nonce = gpuNonce(statementDigest(encodedStatement, nodeCrypto), nodeCrypto);
  return { devices: devices.map((device) => () => device), nonce };
}

function readDeviceFileOf(bytes: Uint8Array): Found {
  return { devices: readDeviceFile(bytes).devices };
}

/** The devices of a file of any kind that has some. */
export async function readDevices(path: string): Promise<DevicesOfFile> {
  const { kind, name, bytes } = recognise(await readInput(path));
  const found = FILES[kind] && readFound(FILES[kind], bytes, path);
  if (!found || found.devices.length === 0) {
    throw new CliError(
      kind === 'unknown' ? EXIT.unreadable : EXIT.misuse,
      `${path} holds no GPU or switch: ${name}`,
    );
  }
  return { nonce: undefined, isBare: false, ...found, path };
}

function readFound(read: (bytes: Uint8Array) => Found, bytes: Uint8Array, path: string): Found {
  try {
    return read(bytes);
  } catch (error) {
    const described = describeError(error);
    if (!described) throw error;
    throw new CliError(EXIT.unreadable, `${path}: ${described.message}`, described.advice);
  }
}

export interface DeviceVerification {
  /** Wanted in the report; undefined takes whatever nonce it has: then it may be old. */
  readonly nonce: Uint8Array | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Verifies against the published anchors; refuses firmware that is not certified and a switch that is not locked. */
export async function verifyForPinning(
  { kind, report, certificates }: ReadDevice,
  { nonce, now }: DeviceVerification,
): Promise<VerifiedDevice> {
  const parsed = parseEitherKind(report);
  const options = { crypto: nodeCrypto, now, anchors: DEFAULT_ANCHORS, nonce: nonce ?? parsed.nonce };
  const device = await verifyDevice({ kind: kind ?? parsed.kind, report, certificates }, options);
  const { certifiedFirmwareId: certified } = device;
  const reported = device.report.firmwareId;
  if (certified && reported && !equalBytes(certified, reported)) {
    throw new Refusal('FIRMWARE_ID_MISMATCH', 'the firmware is not the certified one', 'device.firmware-id');
  }
  if (device.report.kind === 'switch' && !device.report.locked) {
    throw new Refusal('DEVICE_MODE_FORBIDDEN', 'the switch is not locked', 'device.mode');
  }
  return device;
}
