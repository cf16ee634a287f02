import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { EncodedTpmQuote, PcrBank } from '../../attestation/evidence/evidence.ts';
import { ALG, hexId } from '../../attestation/evidence/tpm/algorithms.ts';
import { parseTpmsAttest, unwrapTpm2bAttest } from '../../attestation/evidence/tpm/parse.ts';
import {
  nameOf,
  parseTpm2bPublic,
  parseTpmtPublic,
  type TpmPublic,
} from '../../attestation/evidence/tpm/public.ts';
import { parseTpmtSignature } from '../../attestation/evidence/tpm/signature.ts';
import { certificateSections, keyRows } from './inspectCertificate.ts';
import { hexAndText, hexNumber, rangesText, readable, yes, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

const SCHEME_NAMES: ReadonlyMap<number, string> = new Map([
  [ALG.rsassa, 'RSASSA-PKCS1-v1_5'],
  [ALG.rsapss, 'RSASSA-PSS'],
  [ALG.rsaes, 'RSAES-PKCS1-v1_5'],
  [ALG.ecdsa, 'ECDSA'],
  [ALG.ecdaa, 'ECDAA'],
]);
/** How a TPMS_ATTEST begins; a TPM2B_ATTEST has two bytes before it. */
const MAGIC_START = 0xff;
/** A TPMT_PUBLIC begins with one of these types; in a TPM2B_PUBLIC they stand behind the size. */
const KEY_TYPES: readonly number[] = [ALG.rsa, ALG.ecc];

/** A TPMS_ATTEST of a quote, or a TPM2B_ATTEST around it. */
export function tpmQuoteSections(bytes: Uint8Array, title = 'quote'): readonly Section[] {
  const message = bytes[0] === MAGIC_START ? bytes : unwrapTpm2bAttest(bytes);
  const quote = parseTpmsAttest(message);
  const { clockInfo, selection } = quote;
  const banks = selection.map(({ hash, pcrs }) => `${hash}: ${rangesText(pcrs)}`);
  return [
    {
      title,
      rows: [
        ['qualified signer', toHex(quote.qualifiedSigner)],
        ['extra data', hexAndText(quote.extraData)],
        ['PCRs', banks.join('; ') || 'none'],
        ['PCR digest', toHex(quote.pcrDigest)],
        ['clock', `${clockInfo.clock} milliseconds`],
        ['resets', String(clockInfo.resetCount)],
        ['restarts', String(clockInfo.restartCount)],
        ['clock safe', yes(clockInfo.safe)],
        ['firmware version', hexNumber(quote.firmwareVersion)],
        ['bytes', String(message.length)],
      ],
    },
  ];
}

/** A TPMT_SIGNATURE: of what, it does not say. */
export function tpmSignatureSections(bytes: Uint8Array, title = 'signature'): readonly Section[] {
  const signature = parseTpmtSignature(bytes);
  const { scheme, hash } = signature;
  const value: readonly Row[] =
    signature.scheme === 'ecdsa'
      ? [
          ['R', toHex(signature.r)],
          ['S', toHex(signature.s)],
        ]
      : [['value', toHex(signature.signature)]];
  return [{ title, rows: [['scheme', `${schemeName(ALG[scheme])} with ${hash}`], ...value] }];
}

/** A TPMT_PUBLIC, or a TPM2B_PUBLIC around it. */
export function tpmPublicSections(bytes: Uint8Array): readonly Section[] {
  const isBare = KEY_TYPES.includes(((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0));
  const area = isBare ? parseTpmtPublic(bytes) : parseTpm2bPublic(bytes);
  return [
    {
      title: 'public area',
      rows: [
        ...keyRows(area.spki),
        ['name', toHex(nameOf(area, nodeCrypto))],
        ['name hash', area.nameHash],
        ['attributes', [...area.attributes].join(', ') || 'none'],
        ['signing scheme', schemeText(area)],
        ['auth policy', toHex(area.authPolicy) || 'none'],
        ['bytes', String(area.bytes.length)],
      ],
    },
  ];
}

function schemeName(algorithm: number): string {
  return SCHEME_NAMES.get(algorithm) ?? hexId(algorithm);
}

function schemeText({ scheme }: TpmPublic): string {
  if (!scheme) return 'any';
  const name = schemeName(scheme.algorithm);
  return scheme.hash ? `${name} with ${scheme.hash}` : name;
}

/** A quote with its signature, the registers that the host claims, and the certificates of its key. */
export function tpmEvidenceSections(tpm: EncodedTpmQuote, title: string): readonly Section[] {
  return [
    ...readable(`${title} quote`, () => tpmQuoteSections(tpm.message, `${title} quote`)),
    ...readable(`${title} signature`, () => tpmSignatureSections(tpm.signature, `${title} signature`)),
    pcrSection(tpm.pcrs, `${title} registers`),
    ...certificateSections(tpm.certificates, `${title} certificate`),
  ];
}

function pcrSection({ hash, values }: PcrBank, title: string): Section {
  const rows = [...values]
    .toSorted(([a], [b]) => a - b)
    .map(([index, value]): Row => [`PCR ${index}`, toHex(value)]);
  return { title, rows: [['bank', hash], ...rows] };
}
