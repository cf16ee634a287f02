import { fromUtf8 } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { decodeUint, readElements, readOnly, TAG, type DerElement } from '../../x509/der.ts';

/** Google's extension that names a Compute Engine instance. */
const INSTANCE = '1.3.6.1.4.1.11129.2.1.21';
/** Explicit context tag [0]: securityProperties, and within it securityVersion. */
const FIRST_TAG = 0xa0;
const MAX_NUMBER_BYTES = 9;

/** The instance to which Google gave the key, by Google's word. */
export interface GoogleInstance {
  readonly zone: string;
  /** Decimal digits: numbers of instances exceed 2^53. */
  readonly projectNumber: string;
  readonly projectId: string;
  readonly instanceId: string;
  readonly instanceName: string;
  readonly security: GoogleSecurity | undefined;
}

/** What Google says of the host's virtual TPM; an absent member is false or 0. */
export interface GoogleSecurity {
  readonly version: number;
  readonly production: boolean;
  readonly tpmDataAlwaysEncrypted: boolean;
  readonly suspendResumeAlwaysDisabled: boolean;
  readonly vmtdAlwaysDisabled: boolean;
  readonly alwaysInYarn: boolean;
}

/** Reads Google's instance extension, which is trusted only as far as the certificate's chain is. */
export function readGoogleInstance(certificate: Certificate): GoogleInstance | undefined {
  const value = certificate.extensions.get(INSTANCE)?.value;
  if (!value) return undefined;
  const elements = readElements(readOnly(value, TAG.sequence, 'instance').content, 'instance');
  const [zone, projectNumber, projectId, instanceId, instanceName, security, extra] = elements;
  if (!zone || !projectNumber || !projectId || !instanceId || !instanceName || extra) {
    throw new Refusal('MALFORMED', `the instance extension has ${elements.length} members, not 5 or 6`);
  }
  return {
    zone: readText(zone, 'zone'),
    projectNumber: readNumber(projectNumber, 'project number'),
    projectId: readText(projectId, 'project id'),
    instanceId: readNumber(instanceId, 'instance id'),
    instanceName: readText(instanceName, 'instance name'),
    security: security && readSecurity(security),
  };
}

/** [0] holds a SEQUENCE of explicitly tagged members: [0] an INTEGER, [1] to [5] BOOLEANs. */
function readSecurity({ tag, content }: DerElement): GoogleSecurity {
  if (tag !== FIRST_TAG) throw new Refusal('MALFORMED', `security properties have tag ${tag}`);
  const members = new Map<number, Uint8Array>();
  for (const member of readElements(
    readOnly(content, TAG.sequence, 'security properties').content,
    'member',
  )) {
    const number = member.tag - FIRST_TAG;
    if (number < 0 || number > 5 || members.has(number)) {
      throw new Refusal(
        'UNSUPPORTED',
        `security properties have an unknown or repeated member ${member.tag}`,
      );
    }
    members.set(number, member.content);
  }
  const version = members.get(0);
  const flag = (number: number) => readFlag(members.get(number));
  return {
    version: version ? decodeUint(readOnly(version, TAG.integer, 'security version'), 'security version') : 0,
    production: flag(1),
    tpmDataAlwaysEncrypted: flag(2),
    suspendResumeAlwaysDisabled: flag(3),
    vmtdAlwaysDisabled: flag(4),
    alwaysInYarn: flag(5),
  };
}

function readFlag(member: Uint8Array | undefined): boolean {
  if (!member) return false;
  const { content } = readOnly(member, TAG.boolean, 'security property');
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) {
    throw new Refusal('MALFORMED', 'a security property is no BOOLEAN in DER');
  }
  return content[0] === 0xff;
}

function readText({ tag, content }: DerElement, what: string): string {
  if (tag !== TAG.utf8String) throw new Refusal('MALFORMED', `${what} of the instance is no UTF8String`);
  return fromUtf8(content);
}

/** A non-negative INTEGER of up to 64 bits. */
function readNumber({ tag, content }: DerElement, what: string): string {
  const negative = ((content[0] ?? 0x80) & 0x80) !== 0;
  if (tag !== TAG.integer || negative || content.length > MAX_NUMBER_BYTES) {
    throw new Refusal('MALFORMED', `${what} of the instance is no INTEGER of 64 bits`);
  }
  return content.reduce((value, byte) => value * 256n + BigInt(byte), 0n).toString();
}
