import { toHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { decodeBoolean, decodeOid, decodeUint, DerReader, TAG, type DerElement } from '../../x509/der.ts';

/** SGX extension of «Intel SGX PCK Certificate and Certificate Revocation List Profile Specification», section 1.3.5. */
export const SGX_EXTENSION = '1.2.840.113741.1.13.1';
const PPID = 1;
const TCB = 2;
const PCE_ID = 3;
const FMSPC = 4;
const SGX_TYPE = 5;
const PLATFORM_INSTANCE_ID = 6;
const CONFIGURATION = 7;
const REQUIRED = [PPID, TCB, PCE_ID, FMSPC, SGX_TYPE];
/** Arcs below TCB: 1 to 16 are the components, these follow. */
const COMPONENTS = 16;
const PCE_SVN = 17;
const CPU_SVN = 18;
/** X.690 tag of ENUMERATED. */
const ENUMERATED = 0x0a;
const MAX_COMPONENT_SVN = 0xff;
const MAX_PCE_SVN = 0xffff;
const SGX_TYPES = ['standard', 'scalable', 'scalable-with-integrity'] as const;

export type SgxType = (typeof SGX_TYPES)[number];

/** What the platform's owner may set, in certificates of the Platform CA. */
export interface PckConfiguration {
  /** Packages may be added to the platform. */
  readonly dynamicPlatform: boolean | undefined;
  /** Intel keeps the platform root keys. */
  readonly cachedKeys: boolean | undefined;
  readonly smtEnabled: boolean | undefined;
}

/** What a provisioning certification key certificate says of its platform. Bytes are lower-case hex. */
export interface PckIdentity {
  /** Platform provisioning id, 16 bytes: one for each platform (first package). */
  readonly ppid: string;
  /** 16 bytes. */
  readonly cpuSvn: string;
  /** Security versions of the 16 SGX components for which the key was certified. */
  readonly tcbComponents: readonly number[];
  readonly pceSvn: number;
  /** 2 bytes. */
  readonly pceId: string;
  /** Family, model, stepping, platform type and custom SKU, 6 bytes. */
  readonly fmspc: string;
  readonly sgxType: SgxType;
  /** 16 bytes; Platform CA only. */
  readonly platformInstanceId?: string;
  /** Platform CA only. */
  readonly configuration?: PckConfiguration;
}

/**
 * Reads Intel's SGX extension of a PCK certificate, which is trusted only as far as its chain is. An arc that is
 * unknown is refused: it could bound what the key vouches for.
 */
export function readPckCertificate(certificate: Certificate): PckIdentity {
  const extension = certificate.extensions.get(SGX_EXTENSION);
  if (!extension) throw new Refusal('MALFORMED', `the PCK certificate lacks extension ${SGX_EXTENSION}`);
  const fields = readArcs(extension.value, SGX_EXTENSION, CONFIGURATION);
  const missing = REQUIRED.find((arc) => !fields.has(arc));
  if (missing !== undefined) {
    throw new Refusal('MALFORMED', `the PCK certificate lacks ${SGX_EXTENSION}.${missing}`);
  }
  const instance = fields.get(PLATFORM_INSTANCE_ID);
  const configuration = fields.get(CONFIGURATION);
  return {
    ppid: octets(fields.get(PPID), 16, 'PPID'),
    ...readTcb(fields.get(TCB)),
    pceId: octets(fields.get(PCE_ID), 2, 'PCE id'),
    fmspc: octets(fields.get(FMSPC), 6, 'FMSPC'),
    sgxType: readSgxType(fields.get(SGX_TYPE)),
    ...(instance && { platformInstanceId: octets(instance, 16, 'platform instance id') }),
    ...(configuration && { configuration: readConfiguration(configuration) }),
  };
}

/** SEQUENCE OF SEQUENCE { OBJECT IDENTIFIER base.arc, value }: values by arc, 1 to `lastArc`, none twice. */
function readArcs(encoded: Uint8Array, base: string, lastArc: number): ReadonlyMap<number, DerElement> {
  const values = new Map<number, DerElement>();
  const whole = new DerReader(encoded, `PCK extension ${base}`);
  const entries = whole.enter(TAG.sequence);
  whole.end();
  while (!entries.done) {
    const entry = entries.enter(TAG.sequence);
    const name = decodeOid(entry.take(TAG.oid).content);
    const arc = name.startsWith(`${base}.`) ? Number(name.slice(base.length + 1)) : Number.NaN;
    if (!(Number.isInteger(arc) && arc >= 1 && arc <= lastArc)) {
      throw new Refusal('UNSUPPORTED', `the PCK certificate has unknown field ${name}`);
    }
    if (values.has(arc)) throw new Refusal('MALFORMED', `the PCK certificate has field ${name} twice`);
    values.set(arc, entry.take());
    entry.end();
  }
  return values;
}

function readTcb(element: DerElement | undefined): Pick<PckIdentity, 'tcbComponents' | 'pceSvn' | 'cpuSvn'> {
  const base = `${SGX_EXTENSION}.${TCB}`;
  const fields = readArcs(element?.encoded ?? new Uint8Array(), base, CPU_SVN);
  const svn = (arc: number, most: number) => readSvn(fields.get(arc), `${base}.${arc}`, most);
  return {
    tcbComponents: Array.from({ length: COMPONENTS }, (_, i) => svn(i + 1, MAX_COMPONENT_SVN)),
    pceSvn: svn(PCE_SVN, MAX_PCE_SVN),
    cpuSvn: octets(fields.get(CPU_SVN), 16, 'CPUSVN'),
  };
}

function readSvn(element: DerElement | undefined, what: string, most: number): number {
  if (!element) throw new Refusal('MALFORMED', `the PCK certificate lacks ${what}`);
  const svn = decodeUint(element, what);
  if (svn > most) throw new Refusal('MALFORMED', `PCK field ${what} is ${svn}, above ${most}`);
  return svn;
}

function readSgxType(element: DerElement | undefined): SgxType {
  const content = element?.tag === ENUMERATED && element.content.length === 1 ? element.content : [];
  const [value] = content;
  const type = value === undefined ? undefined : SGX_TYPES[value];
  if (!type) throw new Refusal('UNSUPPORTED', `SGX type ${value ?? 'of another form'} is not known`);
  return type;
}

function readConfiguration(element: DerElement): PckConfiguration {
  const base = `${SGX_EXTENSION}.${CONFIGURATION}`;
  const fields = readArcs(element.encoded, base, 3);
  const flag = (arc: number) => {
    const element = fields.get(arc);
    return element && decodeBoolean(element, `${base}.${arc}`);
  };
  return { dynamicPlatform: flag(1), cachedKeys: flag(2), smtEnabled: flag(3) };
}

function octets(element: DerElement | undefined, length: number, what: string): string {
  if (element?.tag !== TAG.octetString || element.content.length !== length) {
    throw new Refusal('MALFORMED', `${what} of the PCK certificate is no OCTET STRING of ${length} bytes`);
  }
  return toHex(element.content);
}
