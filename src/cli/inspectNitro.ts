import { isZero, toHex } from '../../attestation/bytes/bytes.ts';
import { parseNitroDocument, type NitroDocument } from '../../attestation/evidence/nitro/parse.ts';
import { certificateSections } from './inspectCertificate.ts';
import { hexAndText, timeText, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

const KINDS: Readonly<Record<NitroDocument['kind'], string>> = {
  enclave: 'Nitro enclave',
  tpm: 'NitroTPM',
};
/** Registers of the image, the kernel and the application: zero in debug mode. */
const IMAGE_PCRS = [0, 1, 2];

export function nitroSections(bytes: Uint8Array, prefix = ''): readonly Section[] {
  const document = parseNitroDocument(bytes);
  const { pcrs, certificate, cabundle } = document;
  return [
    { title: `${prefix}attestation`, rows: documentRows(document) },
    { title: `${prefix}registers`, rows: pcrRows(pcrs) },
    ...certificateSections([certificate], `${prefix}certificate`),
    ...certificateSections(cabundle, `${prefix}authority`),
  ];
}

function documentRows(document: NitroDocument): readonly Row[] {
  return [
    ['of', KINDS[document.kind]],
    ['module id', document.moduleId],
    ['timestamp', timeText(document.timestamp)],
    ['digest', 'SHA384'],
    ...(document.kind === 'enclave' ? [['debug mode', debugText(document)] as const] : []),
    ['user data', hexAndText(document.userData)],
    ['nonce', hexAndText(document.nonce)],
    ['public key', document.publicKey ? toHex(document.publicKey) || 'empty' : 'none'],
    ['signature', 'ECDSA P-384 with SHA-384 (COSE ES384)'],
    ['authorities', `${document.cabundle.length} (root first)`],
  ];
}

function debugText({ pcrs }: NitroDocument): string {
  const zero = IMAGE_PCRS.every((index) => {
    const value = pcrs.get(index);
    return value !== undefined && isZero(value);
  });
  return zero ? 'ON: PCR 0, 1 and 2 are zero' : 'off';
}

function pcrRows(pcrs: NitroDocument['pcrs']): readonly Row[] {
  return [...pcrs].toSorted(([a], [b]) => a - b).map(([index, value]) => [`PCR ${index}`, toHex(value)]);
}
