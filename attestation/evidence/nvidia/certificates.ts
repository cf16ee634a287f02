import { findAnchor, type Anchor } from '../../anchors.ts';
import { Refusal } from '../../errors.ts';
import { parseCertificate, type Certificate } from '../../x509/certificate.ts';
import { spkiSha256, verifyChain, type ChainOptions } from '../../x509/chain.ts';
import { decodeOid, decodeString, decodeUint, readElements, readOnly, TAG } from '../../x509/der.ts';
import { EXTENDED_KEY_USAGE } from '../../x509/extensions.ts';
import { subjectCommonName } from '../../x509/name.ts';

export interface PinnedChainOptions extends ChainOptions {
  readonly anchors: readonly Anchor[];
}

export interface PinnedChain {
  readonly leaf: Certificate;
  /** The certificate above the leaf. */
  readonly issuer: Certificate;
  /** All of them, leaf first, root last. */
  readonly certificates: readonly Certificate[];
  readonly anchor: Anchor;
}

/**
 * Verifies a chain of exactly `length` certificates, leaf first, up to a pinned root key of the role. There is no
 * path building: an attacker may present any certificates, and only their own key as root is a forgery that every
 * other check passes.
 */
export async function verifyPinnedChain(
  encoded: readonly Uint8Array[],
  role: Anchor['role'],
  length: number,
  options: PinnedChainOptions,
): Promise<PinnedChain> {
  if (encoded.length > 2 * length) throw new Refusal('CERT_CHAIN_INVALID', `${encoded.length} certificates`);
  const certificates = encoded.map(parseCertificate);
  const [leaf, issuer] = certificates;
  const root = certificates.at(-1);
  if (!leaf || !issuer || !root) throw new Refusal('CERT_MISSING', `${certificates.length} certificates`);
  const anchor = findAnchor(options.anchors, role, spkiSha256(root, options.crypto));
  if (!anchor) throw new Refusal('UNTRUSTED_ROOT', `the key of ${root.subject} is not pinned as ${role}`);
  if (certificates.length !== length) {
    const code = certificates.length < length ? 'CERT_MISSING' : 'CERT_CHAIN_INVALID';
    throw new Refusal(code, `${certificates.length} certificates instead of ${length}`);
  }
  await verifyChain(certificates, options);
  checkSigner(leaf);
  return { leaf, issuer, certificates, anchor };
}

/** An authority, or an OCSP responder of the same issuer (extended key usage), must not pass as signer. */
function checkSigner(leaf: Certificate): void {
  if (leaf.isCa || leaf.extensions.has(EXTENDED_KEY_USAGE)) {
    throw new Refusal('CERT_CHAIN_INVALID', `${leaf.subject} is no signer`);
  }
}

export type ChipName = 'GH100' | 'GB100' | 'GB20X' | 'LS10';
const CHIP_NAMES: Readonly<Record<string, ChipName>> = {
  GH100: 'GH100',
  GB100: 'GB100',
  GB20X: 'GB20X',
  LS_10: 'LS10',
};
const ALTERNATIVE_NAME = '2.5.29.17';
const DMTF_DEVICE_INFO = '1.3.6.1.4.1.412.274.1';
const CONTEXT_0 = 0xa0;

/** Chip that a leaf is for: the first word of its common name, which the DMTF device info must repeat. */
export function chipOf(leaf: Certificate): ChipName {
  const [word = ''] = subjectCommonName(leaf).split(' ');
  const chip = CHIP_NAMES[word];
  if (!chip) throw new Refusal('UNSUPPORTED', `certificates of chip ${word} are not supported`);
  const [vendor, product, ...rest] = deviceInfo(leaf).split(':');
  if (vendor !== 'NVIDIA' || product !== word || rest.length !== 1) {
    throw new Refusal('PRODUCT_MISMATCH', `${leaf.subject} has device info of ${product ?? 'nothing'}`);
  }
  return chip;
}

/** The one alternative name: otherName { id-DMTF-device-info, [0] UTF8String }. */
function deviceInfo(leaf: Certificate): string {
  const extension = leaf.extensions.get(ALTERNATIVE_NAME);
  if (!extension) throw new Refusal('MALFORMED', 'device certificate has no alternative name');
  const { content } = readOnly(extension.value, TAG.sequence, 'alternative name');
  const [type, value] = readElements(readOnly(content, CONTEXT_0, 'other name').content, 'other name');
  if (type?.tag !== TAG.oid || decodeOid(type.content) !== DMTF_DEVICE_INFO || !value) {
    throw new Refusal('MALFORMED', 'alternative name is no DMTF device info');
  }
  const text = readOnly(value.encoded, CONTEXT_0, 'device info').content;
  return decodeString(readOnly(text, TAG.utf8String, 'device info'), 'device info');
}

const COMPOSITE_DEVICE_ID = '2.23.133.5.4.1';
const TCB_INFO = '2.23.133.5.4.1.1';
/** Context tag [6], constructed: `fwids` of DiceTcbInfo (TCG DICE Attestation Architecture section 6.1.1). */
const FWIDS = 0xa6;
const SHA384 = '2.16.840.1.101.3.4.2.2';
const FWID_BYTES = 48;

/**
 * Firmware id that the leaf is for. Hopper and LS10 keep it in a CompositeDeviceID, Blackwell as the first of the
 * digests in TcbInfo: an all-zero one follows, so it is not simply the end of the extension.
 */
export function firmwareIdOf(leaf: Certificate): Uint8Array | undefined {
  const composite = leaf.extensions.get(COMPOSITE_DEVICE_ID);
  const tcbInfo = leaf.extensions.get(TCB_INFO);
  if (composite && tcbInfo) throw new Refusal('MALFORMED', 'device certificate has two kinds of firmware id');
  if (composite) return compositeFirmwareId(composite.value);
  return tcbInfo && tcbInfoFirmwareId(tcbInfo.value);
}

/** SEQUENCE { INTEGER 1, SPKI of the boot ROM, Fwid }. */
function compositeFirmwareId(value: Uint8Array): Uint8Array {
  const what = 'CompositeDeviceID';
  const [version, , fwid, extra] = readElements(readOnly(value, TAG.sequence, what).content, what);
  if (!version || decodeUint(version, what) !== 1 || !fwid || extra) {
    throw new Refusal('MALFORMED', 'CompositeDeviceID is not version, key and firmware id');
  }
  return readFwid(fwid.encoded);
}

function tcbInfoFirmwareId(value: Uint8Array): Uint8Array {
  const members = readElements(readOnly(value, TAG.sequence, 'TcbInfo').content, 'TcbInfo');
  const fwids = members.find(({ tag }) => tag === FWIDS);
  const [first] = fwids ? readElements(fwids.content, 'fwids') : [];
  if (!first) throw new Refusal('MALFORMED', 'TcbInfo has no firmware id');
  return readFwid(first.encoded);
}

/** SEQUENCE { OID of SHA-384, OCTET STRING of 48 bytes }. */
function readFwid(encoded: Uint8Array): Uint8Array {
  const what = 'firmware id';
  const [hash, digest, extra] = readElements(readOnly(encoded, TAG.sequence, what).content, what);
  const isSha384 = hash?.tag === TAG.oid && decodeOid(hash.content) === SHA384;
  if (!isSha384 || digest?.tag !== TAG.octetString || digest.content.length !== FWID_BYTES || extra) {
    throw new Refusal('MALFORMED', 'firmware id is no SHA-384 digest');
  }
  return digest.content;
}
