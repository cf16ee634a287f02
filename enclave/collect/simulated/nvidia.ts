import { type KeyObject, randomBytes } from 'node:crypto';
import { concat, toHex } from '../../../attestation/bytes/bytes.ts';
import {
  authorityExtensions,
  extension,
  issueCertificate,
  keyIdentifierExtensions,
  readAuthority,
  signerExtension,
  simulatedName,
} from './certificate.ts';
import * as der from './der.ts';
import { CHIP, FIRMWARE_ID } from './reference.ts';
import { SIMULATED_ROOTS } from './roots.ts';
import { generateP384, type KeyPair, signP384 } from './signing.ts';
import { encodeTranscript, type DeviceMode } from './transcript.ts';

const NONCE_BYTES = 32;
/** As on real devices: from before any deployment, without a well-defined end. */
const NOT_BEFORE = new Date('2020-10-17T00:00:00Z');
const NOT_AFTER = new Date('9999-12-31T23:59:59Z');
/** First byte of the serial of a GPU's boot ROM; the other eight are the device's PDI. */
const GPU_SERIAL_PREFIX = Uint8Array.of(0x41);

export interface SimulatedGpu {
  /** Leaf, boot ROM, provisioner, identity, root. */
  readonly certificates: readonly Uint8Array[];
  /** An SPDM measurement report for a 32-byte nonce. */
  report(nonce: Uint8Array): Promise<Uint8Array>;
}

/** A Hopper GPU of our own: fresh boot ROM and firmware keys below the published provisioner. */
export async function createSimulatedGpu(mode: DeviceMode): Promise<SimulatedGpu> {
  const [bootRom, firmware] = await Promise.all([generateP384(), generateP384()]);
  return {
    certificates: issueChain(bootRom, firmware),
    async report(nonce) {
      if (nonce.length !== NONCE_BYTES) throw new RangeError(`a nonce has ${NONCE_BYTES} bytes`);
      const transcript = encodeTranscript({ nonce, responderNonce: randomBytes(NONCE_BYTES), mode });
      return concat(transcript, await signP384(transcript, firmware.privateKey));
    },
  };
}

function issueChain(bootRom: KeyPair, firmware: KeyPair): readonly Uint8Array[] {
  const provisioner = readAuthority(SIMULATED_ROOTS.deviceProvisioner);
  const bootRomSerial = concat(GPU_SERIAL_PREFIX, randomBytes(8));
  const bootRomName = simulatedName(`${CHIP} A01 GSP BROM`, upperHex(bootRomSerial));
  const bootRomCertificate = issueCertificate(
    {
      subject: bootRomName,
      serial: bootRomSerial,
      notBefore: NOT_BEFORE,
      notAfter: NOT_AFTER,
      publicKey: bootRom.publicKey,
      extensions: [
        ...authorityExtensions(undefined, 'certificates'),
        ...keyIdentifierExtensions(bootRom.publicKey, provisioner.key),
      ],
    },
    provisioner,
  );
  const leaf = issueCertificate(leafTemplate(bootRom.publicKey, firmware.publicKey), {
    name: bootRomName,
    key: bootRom.privateKey,
  });
  const above = [SIMULATED_ROOTS.deviceIdentity, SIMULATED_ROOTS.deviceRoot];
  return [
    leaf,
    bootRomCertificate,
    provisioner.certificate,
    ...above.map((root) => readAuthority(root).certificate),
  ];
}

function leafTemplate(bootRomKey: KeyObject, firmwareKey: KeyObject) {
  const serial = concat(Uint8Array.of(0x53), randomBytes(19));
  return {
    subject: simulatedName(`${CHIP} A01 GSP FMC LF`, upperHex(serial)),
    serial,
    notBefore: NOT_BEFORE,
    notAfter: NOT_AFTER,
    publicKey: firmwareKey,
    extensions: [
      signerExtension(),
      ...keyIdentifierExtensions(firmwareKey, bootRomKey),
      deviceInfoExtension(`NVIDIA:${CHIP}:${upperHex(randomBytes(8))}`),
      compositeDeviceIdExtension(bootRomKey),
    ],
  };
}

/** Subject alternative name: otherName of DMTF device information (DSP0274, id-DMTF-device-info). */
function deviceInfoExtension(text: string): Uint8Array {
  const otherName = der.tagged(0, der.oid('1.3.6.1.4.1.412.274.1'), der.tagged(0, der.utf8String(text)));
  return extension('2.5.29.17', der.sequence(otherName));
}

/** DICE CompositeDeviceID: version 1, key of the boot ROM, and the firmware id (FWID). */
function compositeDeviceIdExtension(bootRomKey: KeyObject): Uint8Array {
  const firmwareId = der.sequence(der.oid('2.16.840.1.101.3.4.2.2'), der.octetString(FIRMWARE_ID));
  const spki = bootRomKey.export({ format: 'der', type: 'spki' });
  return extension('2.23.133.5.4.1', der.sequence(der.smallInteger(1), spki, firmwareId));
}

function upperHex(bytes: Uint8Array): string {
  return toHex(bytes).toUpperCase();
}
