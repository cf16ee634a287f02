import { toHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { parseCertificate } from '../../x509/certificate.ts';
import { subjectCommonName } from '../../x509/name.ts';
import type { DeviceEvidence } from '../evidence.ts';
import type { DeviceKind } from './claims.ts';

/** RFC 5280 section 4.1.2.2. */
const MAX_SERIAL_BYTES = 20;
const MAX_CERTIFICATES = 10;

/** A device that was sent to the service: its kind and chain, leaf first, in DER. */
export type SentDevice = Pick<DeviceEvidence, 'kind' | 'certificates'>;

/**
 * What the chain that was sent says of its device. The chain is compared here, not verified: whoever wants to know
 * that it is genuine has the device judged by its own room.
 */
export interface ExpectedDevice {
  readonly kind: DeviceKind;
  /** Serial of the leaf, lower-case hex. */
  readonly serial: string;
  /** The same as the service writes it, decimal. */
  readonly ueid: string;
  /** Common name of the certificate above the leaf, such as `GH100 A01 GSP BROM`. */
  readonly model: string;
}

export function readSentDevice({ kind, certificates }: SentDevice): ExpectedDevice {
  const [leaf, bootRom] = certificates;
  if (!leaf || !bootRom) {
    throw new Refusal('CERT_MISSING', `a ${kind} was sent with ${certificates.length} certificates`);
  }
  if (certificates.length > MAX_CERTIFICATES) {
    throw new Refusal('CERT_CHAIN_INVALID', `a ${kind} was sent with ${certificates.length} certificates`);
  }
  const { serial } = parseCertificate(leaf);
  if (serial.length === 0 || serial.length > MAX_SERIAL_BYTES) {
    throw new Refusal('MALFORMED', `a leaf serial of ${serial.length} bytes`);
  }
  const hex = toHex(serial);
  const model = subjectCommonName(parseCertificate(bootRom));
  return { kind, serial: hex, ueid: BigInt(`0x${hex}`).toString(), model };
}
