import { decodeDc, encodeDc, type Dc, type DcMap } from '../cbor/deterministic.ts';
import { asArray, asBytes, asClosedMap, asCount, asLabel, asMap, asText, asTuple } from '../cbor/shape.ts';
import { Refusal } from '../errors.ts';
import {
  PLATFORMS,
  type CpuEvidence,
  type PcrBank,
  type Platform,
  type EncodedTpmQuote,
} from './evidence.ts';

const LABEL = 'vouchsafe/cpu/2';
const MAX_CERTIFICATES = 8;
/** TPM 2.0 platforms have 24 registers. */
const MAX_PCRS = 24;
const PCR_HASHES = ['sha1', 'sha256', 'sha384', 'sha512'] as const;

type Part = 'report' | 'certificates' | 'quote' | 'tpm';

/** The parts that the evidence of each platform has: no more and no fewer. */
const PARTS: Readonly<Record<Platform, readonly Part[]>> = {
  snp: ['report', 'certificates'],
  tdx: ['report'],
  nitro: ['report'],
  'azure-snp': ['report', 'certificates', 'tpm'],
  'azure-tdx': ['report', 'quote', 'tpm'],
  'gcp-vtpm': ['tpm'],
  nitrotpm: ['report'],
  tpm: ['tpm'],
};

/** `dc(["vouchsafe/cpu/2", platform, parts])`, parts a map by name. */
export function encodeCpu(evidence: CpuEvidence): Uint8Array {
  const parts = new Map<string, Dc>();
  if ('report' in evidence) parts.set('report', evidence.report);
  if ('certificates' in evidence) parts.set('certificates', evidence.certificates);
  if ('quote' in evidence) parts.set('quote', evidence.quote);
  if ('tpm' in evidence) parts.set('tpm', encodeTpm(evidence.tpm));
  return encodeDc([LABEL, evidence.platform, parts]);
}

function encodeTpm({ message, signature, pcrs, certificates }: EncodedTpmQuote): Dc {
  return [message, signature, pcrs.hash, new Map<number, Dc>(pcrs.values), certificates];
}

export function parseCpu(encoded: Uint8Array): CpuEvidence {
  const [label, name, value] = asTuple(decodeDc(encoded), 'CPU evidence', 3);
  asLabel(label, 'CPU evidence label', LABEL);
  const platform = asPlatform(asText(name, 'CPU platform'));
  const parts = asClosedMap(value, `evidence of ${platform}`, PARTS[platform]);
  return readParts(platform, parts);
}

function asPlatform(name: string): Platform {
  const platform = PLATFORMS.find((known) => known === name);
  if (platform) return platform;
  throw new Refusal('PLATFORM_NOT_ALLOWED', `CPU platform ${name} is not known`, 'cpu.platform');
}

function readParts(platform: Platform, parts: DcMap): CpuEvidence {
  const report = () => asBytes(need(parts, 'report'), 'CPU report');
  const certificates = () => asCertificates(need(parts, 'certificates'));
  const tpm = () => parseTpm(need(parts, 'tpm'));
  switch (platform) {
    case 'snp':
      return { platform, report: report(), certificates: certificates() };
    case 'tdx':
    case 'nitro':
    case 'nitrotpm':
      return { platform, report: report() };
    case 'azure-snp':
      return { platform, report: report(), certificates: certificates(), tpm: tpm() };
    case 'azure-tdx':
      return { platform, report: report(), quote: asBytes(need(parts, 'quote'), 'TD quote'), tpm: tpm() };
    case 'gcp-vtpm':
    case 'tpm':
      return { platform, tpm: tpm() };
  }
}

function need(parts: DcMap, part: Part): Dc {
  const value = parts.get(part);
  if (value === undefined) throw new Refusal('EVIDENCE_INCOMPLETE', `CPU evidence has no ${part}`);
  return value;
}

function parseTpm(value: Dc): EncodedTpmQuote {
  const [message, signature, hash, values, certificates] = asTuple(value, 'TPM quote', 5);
  return {
    message: asBytes(message, 'TPMS_ATTEST'),
    signature: asBytes(signature, 'TPMT_SIGNATURE'),
    pcrs: { hash: asPcrHash(asText(hash, 'PCR bank')), values: asPcrs(values) },
    certificates: asCertificates(certificates),
  };
}

function asPcrHash(name: string): PcrBank['hash'] {
  const hash = PCR_HASHES.find((known) => known === name);
  if (!hash) throw new Refusal('UNSUPPORTED', `PCR bank ${name} is not known`);
  return hash;
}

function asPcrs(value: Dc | undefined): ReadonlyMap<number, Uint8Array> {
  const entries = [...asMap(value, 'PCR values')].map(([index, register]): [number, Uint8Array] => {
    const position = asCount(index, 'PCR index');
    if (position >= MAX_PCRS) throw new Refusal('MALFORMED', `PCR ${position} is not below ${MAX_PCRS}`);
    return [position, asBytes(register, 'PCR value')];
  });
  return new Map(entries);
}

function asCertificates(value: Dc | undefined): readonly Uint8Array[] {
  const chain = asArray(value, 'CPU certificates');
  if (chain.length > MAX_CERTIFICATES) throw new Refusal('MALFORMED', 'too many CPU certificates');
  return chain.map((certificate) => asBytes(certificate, 'CPU certificate'));
}
