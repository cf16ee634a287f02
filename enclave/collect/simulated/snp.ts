import { type KeyObject, randomBytes } from 'node:crypto';
import { fromHex } from '../../../attestation/bytes/bytes.ts';
import { SIMULATED_MEASUREMENT } from '../../../attestation/evidence/simulatedAnchors.ts';
import { extension, issueCertificate, readAuthority, simulatedName } from './certificate.ts';
import * as der from './der.ts';
import { SIMULATED_ROOTS } from './roots.ts';
import { generateP384, signP384 } from './signing.ts';

const REPORT_BYTES = 1184;
const SIGNED_BYTES = 0x2a0;
const REPORT_DATA_BYTES = 64;
const CHIP_ID_BYTES = 64;
/** Each of R and S: 48 bytes little endian, then 24 zero bytes. */
const SCALAR_FIELD_BYTES = 72;

/** Guest policy (SNP ABI, table «Guest policy»): bit 17 is reserved and must be one. */
const POLICY = { smt: 1n << 16n, reservedOne: 1n << 17n, debug: 1n << 19n } as const;
/** Security version numbers of each firmware component, in the certificate and in the report alike. */
const TCB = { bootloader: 10, tee: 0, snp: 27, microcode: 84 } as const;
/** Family 0x19, model 0x11, stepping 1: Genoa. */
const CPUID = Uint8Array.of(0x19, 0x11, 0x01);
/** Firmware 1.55.49 as build, minor, major. */
const FIRMWARE_VERSION = Uint8Array.of(49, 55, 1);
/** Clients whose clock is behind must not find the certificate in the future. */
const CLOCK_SLACK_MS = 24 * 3600 * 1000;

export interface SimulatedSnpOptions {
  /** When the certificate is issued. */
  readonly now: Date;
  /** Sets policy bit 19, which a production policy refuses. */
  readonly debug?: boolean;
  /** Privilege level of the request, 0 by default. */
  readonly vmpl?: number;
  /** 64 bytes; random by default. */
  readonly chipId?: Uint8Array;
}

export interface SimulatedSnp {
  /** VCEK, ASK, ARK. */
  readonly certificates: readonly Uint8Array[];
  /** A version 5 report over 64 bytes of report data. */
  report(reportData: Uint8Array): Promise<Uint8Array>;
}

/** An SEV-SNP chip of our own: a fresh chip key below the published ASK, and reports in AMD's layout. */
export async function createSimulatedSnp(options: SimulatedSnpOptions): Promise<SimulatedSnp> {
  const { publicKey, privateKey } = await generateP384();
  const chipId = options.chipId ?? randomBytes(CHIP_ID_BYTES);
  if (chipId.length !== CHIP_ID_BYTES) throw new RangeError(`a chip id has ${CHIP_ID_BYTES} bytes`);
  if (![0, 1, 2, 3].includes(options.vmpl ?? 0)) throw new RangeError('a privilege level is 0 to 3');
  const template = encodeTemplate(options, chipId, randomBytes(32));
  const ask = readAuthority(SIMULATED_ROOTS.ask);
  const ark = readAuthority(SIMULATED_ROOTS.ark);
  const vcek = issueCertificate(vcekTemplate(publicKey, chipId, options.now), ask);
  return {
    certificates: [vcek, ask.certificate, ark.certificate],
    async report(reportData) {
      if (reportData.length !== REPORT_DATA_BYTES) {
        throw new RangeError(`report data has ${REPORT_DATA_BYTES} bytes`);
      }
      const report = template.slice();
      report.set(reportData, 0x050);
      const signature = await signP384(report.subarray(0, SIGNED_BYTES), privateKey);
      report.set(signature.slice(0, 48).reverse(), SIGNED_BYTES);
      report.set(signature.slice(48).reverse(), SIGNED_BYTES + SCALAR_FIELD_BYTES);
      return report;
    },
  };
}

/** AMD gives every VCEK serial number 0 and seven years. */
function vcekTemplate(publicKey: KeyObject, chipId: Uint8Array, now: Date) {
  const notBefore = new Date(now.getTime() - CLOCK_SLACK_MS);
  const notAfter = new Date(notBefore);
  notAfter.setUTCFullYear(notBefore.getUTCFullYear() + 7);
  return {
    subject: simulatedName('SEV-VCEK'),
    serial: Uint8Array.of(0),
    notBefore,
    notAfter,
    publicKey,
    extensions: vcekExtensions(chipId),
  };
}

/** Arcs below 1.3.6.1.4.1.3704.1 in AMD's order; 3.4 to 3.7 are reserved components, always 0. */
function vcekExtensions(chipId: Uint8Array): readonly Uint8Array[] {
  const amd = (arc: string, value: Uint8Array) => extension(`1.3.6.1.4.1.3704.1.${arc}`, value);
  const svn = (arc: string, value: number) => amd(`3.${arc}`, der.smallInteger(value));
  return [
    amd('1', der.smallInteger(0)),
    amd('2', der.ia5String('Genoa')),
    svn('1', TCB.bootloader),
    svn('2', TCB.tee),
    ...['4', '5', '6', '7'].map((arc) => svn(arc, 0)),
    svn('3', TCB.snp),
    svn('8', TCB.microcode),
    amd('4', chipId),
  ];
}

/** The report without report data and signature; all that is not set is zero. */
function encodeTemplate(options: SimulatedSnpOptions, chipId: Uint8Array, reportId: Uint8Array): Uint8Array {
  const report = new Uint8Array(REPORT_BYTES);
  const view = new DataView(report.buffer);
  const debug = options.debug === true ? POLICY.debug : 0n;
  view.setUint32(0x000, 5, true); // version
  view.setBigUint64(0x008, POLICY.smt | POLICY.reservedOne | debug, true);
  view.setUint32(0x030, options.vmpl ?? 0, true);
  view.setUint32(0x034, 1, true); // ECDSA P-384 with SHA-384
  view.setUint32(0x040, 0x25, true); // platform: SMT, ECC, alias check complete
  report.set(fromHex(SIMULATED_MEASUREMENT), 0x090);
  report.set(reportId, 0x140);
  report.fill(0xff, 0x160, 0x180); // no migration agent
  report.set(CPUID, 0x188);
  report.set(chipId, 0x1a0);
  for (const offset of [0x038, 0x180, 0x1e0, 0x1f0]) report.set(encodeTcb(), offset);
  for (const offset of [0x1e8, 0x1ec]) report.set(FIRMWARE_VERSION, offset);
  return report;
}

/** TCB_VERSION of Milan and Genoa: bootloader, TEE, four reserved bytes, SNP, microcode. */
function encodeTcb(): Uint8Array {
  return Uint8Array.of(TCB.bootloader, TCB.tee, 0, 0, 0, 0, TCB.snp, TCB.microcode);
}
