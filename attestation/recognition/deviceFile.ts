import * as z from 'zod';
import { fromBase64, fromUtf8, utf8 } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import type { DeviceEvidence } from '../evidence/evidence.ts';
import { parseDeviceReport, type DeviceReport } from '../evidence/nvidia/parse.ts';
import { readShape } from '../evidence/nras/json.ts';
import { parseJson } from '../json/strict.ts';
import { decodeText, type TextEncoding } from './textEncoding.ts';

/** A name and what the file says under it. */
export type SaidRow = readonly [name: string, value: string];

/** Files seen have up to 100 kB for eight devices. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_DEVICES = 64;
/** Of base64 of hex of the largest report, and of a chain twice as long as any seen. */
const MAX_TEXT = 64 * 1024;
const MAX_CERTIFICATES = 16;
/** Measurement blocks of an LS10, whose number stands at 41; GPUs have 64. */
const SWITCH_BLOCKS = 31;
const BLOCK_COUNT = 41;

/** A report does not say whether it is of a GPU or of a switch. */
export function parseEitherKind(bytes: Uint8Array): DeviceReport {
  try {
    return parseDeviceReport(bytes, 'gpu');
  } catch (notGpu) {
    try {
      return parseDeviceReport(bytes, 'switch');
    } catch (notSwitch) {
      throw bytes[BLOCK_COUNT] === SWITCH_BLOCKS ? notSwitch : notGpu;
    }
  }
}

/** One device as a file has it. */
export interface ReadDevice {
  /** As a document has it; undefined where nothing signed says it. */
  readonly kind: DeviceEvidence['kind'] | undefined;
  readonly report: Uint8Array;
  /** DER, leaf first; empty where the file has none. */
  readonly certificates: readonly Uint8Array[];
  readonly encoding?: TextEncoding | undefined;
  /** What stands beside the report without a signature. */
  readonly beside?: readonly SaidRow[];
}

export interface DeviceFile {
  /** What the file says of all devices. */
  readonly rows: readonly SaidRow[];
  /** The nonce of a request; each report states its own. */
  readonly nonce: string | undefined;
  /** Each is read when it is asked for: one that cannot be read does not hide the others. */
  readonly devices: readonly (() => ReadDevice)[];
}

const said = z.union([z.string().max(1000), z.number(), z.boolean(), z.null()]).optional();
const entrySchema = z.object({
  evidence: z.string().min(1).max(MAX_TEXT),
  certificate: z.string().max(MAX_TEXT).nullish(),
  arch: said,
  nonce: said,
  version: said,
  driver_version: said,
  vbios_version: said,
});
const entries = z.array(z.unknown()).min(1).max(MAX_DEVICES);
const listSchema = z.object({ evidences: entries, result_code: said, result_message: said });
const requestSchema = z.object({ arch: said, nonce: said, claims_version: said, evidence_list: entries });
const singleSchema = z.object({ arch: said, nonce: said });

/**
 * Reads what collectors write (an array, or an object with `evidences`) and what the attestation service is asked
 * with (`evidence_list`, in version 1 one device). Members that are not known here are passed over.
 */
export function readDeviceFile(bytes: Uint8Array): DeviceFile {
  const what = 'device evidence';
  if (bytes.length > MAX_FILE_BYTES) {
    throw new Refusal('MALFORMED', `${what} of ${bytes.length} bytes exceeds ${MAX_FILE_BYTES}`);
  }
  const value = parseJson(bytes, what);
  if (Array.isArray(value)) return fileOf([], readShape(entries, value, what), {});
  const has = (name: string) => typeof value === 'object' && value !== null && name in value;
  if (has('evidences')) {
    const { evidences, result_code: code, result_message: message } = readShape(listSchema, value, what);
    return fileOf(saidRows({ 'result code': code, 'result message': message }), evidences, {});
  }
  if (has('evidence_list')) {
    const { evidence_list: list, claims_version: claims, ...common } = readShape(requestSchema, value, what);
    return fileOf(
      saidRows({ arch: common.arch, nonce: common.nonce, 'claims version': claims }),
      list,
      common,
    );
  }
  const common = readShape(singleSchema, value, what);
  return fileOf(saidRows({ arch: common.arch, nonce: common.nonce }), [value], common);
}

type Said = z.infer<typeof said>;

function saidRows(values: Readonly<Record<string, Said>>): readonly SaidRow[] {
  return Object.entries(values).flatMap(([name, value]) =>
    value === undefined || value === null ? [] : [[name, String(value) || 'empty'] as const],
  );
}

function fileOf(
  rows: readonly SaidRow[],
  list: readonly unknown[],
  common: { readonly nonce?: Said },
): DeviceFile {
  const nonce = typeof common.nonce === 'string' ? common.nonce.toLowerCase() : undefined;
  return { rows, nonce, devices: list.map((entry) => () => readEntry(entry)) };
}

/** `arch` and versions are not signed: they are shown, and decide nothing. */
function readEntry(value: unknown): ReadDevice {
  const entry = readShape(entrySchema, value, 'device');
  const { bytes, encoding } = readReport(entry.evidence);
  return {
    kind: undefined,
    report: bytes,
    encoding,
    certificates: entry.certificate ? pemCertificates(readChainText(entry.certificate)) : [],
    beside: saidRows({
      'said arch': entry.arch,
      'said nonce': entry.nonce,
      'said version': entry.version,
      'said driver': entry.driver_version,
      'said VBIOS': entry.vbios_version,
    }),
  };
}

function readReport(text: string) {
  const decoded = decodeText(utf8(text));
  if (!decoded) throw new Refusal('MALFORMED', 'the evidence is neither base64 nor hex');
  return decoded;
}

/** Base64 of PEM text, or the text itself. */
function readChainText(text: string): string {
  return text.includes('-----BEGIN') ? text : fromUtf8(fromBase64(text));
}

/** DER of every block, in their order; whether they are certificates is seen where they are shown. */
export function pemCertificates(text: string): readonly Uint8Array[] {
  const blocks = [
    ...text.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g),
  ];
  if (blocks.length === 0) throw new Refusal('CERT_MISSING', 'there is no whole PEM certificate');
  if (blocks.length > MAX_CERTIFICATES) {
    throw new Refusal('CERT_CHAIN_INVALID', `more than ${MAX_CERTIFICATES} certificates`);
  }
  return blocks.map(([, body = '']) => fromBase64(body.replaceAll(/\s/g, '')));
}
