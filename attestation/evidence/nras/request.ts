import * as z from 'zod';
import { equalBytes, fromBase64, fromHex, fromUtf8, utf8 } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { parseJson } from '../../json/strict.ts';
import { parsePemChain } from '../../x509/certificate.ts';
import type { DeviceEvidence } from '../evidence.ts';
import { MAX_DEVICES, type DeviceKind } from './claims.ts';
import { readShape } from './json.ts';

/** Requests seen have up to 98 kB for eight devices. */
const MAX_REQUEST_BYTES = 4 * 1024 * 1024;
/** Size of the report in `nvmlConfComputeGpuAttestationReport_t` (nvml.h). */
const MAX_REPORT_BYTES = 8192;
/** Twice the array for a chain in `nvmlConfComputeGpuCertificate_t`. */
const MAX_CHAIN_BYTES = 10_240;
const MAX_CERTIFICATES = 10;
/** SPDM 1.1 GET_MEASUREMENTS with a signature: how every report begins. */
const REPORT_START = fromHex('11e001');
/** The same in hex text, which old clients put into base64. */
const HEX_START = utf8('11e001');

const KINDS = { HOPPER: 'gpu', BLACKWELL: 'gpu', LS10: 'switch' } as const;
const arch = z.string().max(40);
const nonce = z.string().regex(/^[0-9a-fA-F]{64}$/);
const base64 = (bytes: number) =>
  z
    .string()
    .min(1)
    .max(Math.ceil(bytes / 3) * 4);
/** Of a report, or of its hex text. */
const evidence = base64(2 * MAX_REPORT_BYTES);
const certificate = base64(MAX_CHAIN_BYTES);
const hint = z.string().max(200).optional();

/** Versions that collectors write beside an entry are hints without a signature: accepted, and not used. */
const entrySchema = z.strictObject({
  evidence,
  certificate,
  arch: arch.optional(),
  nonce: nonce.optional(),
  version: hint,
  driver_version: hint,
  vbios_version: hint,
});
/** Version 1 of the interface: one device. */
const singleSchema = z.strictObject({ nonce, arch, evidence, certificate });
/** Versions 2 to 4. */
const listSchema = z.strictObject({
  nonce,
  arch,
  evidence_list: z.array(entrySchema).min(1).max(MAX_DEVICES),
  claims_version: z.enum(['2.0', '3.0', '4.0']).optional(),
});

/** What was asked of the service. Nothing in it is signed but the reports inside the devices. */
export interface NrasRequest {
  /** The nonce that the request names; each report states its own. */
  readonly nonce: Uint8Array;
  readonly devices: readonly DeviceEvidence[];
  readonly claimsVersion: '2.0' | '3.0' | '4.0' | undefined;
}

/**
 * Parses the body of a request to the service, so that its devices can be verified here as well. `arch` says how to
 * read a report and no more: a chain of another kind of device does not verify with it.
 */
export function parseNrasRequest(bytes: Uint8Array): NrasRequest {
  const what = 'request';
  if (bytes.length > MAX_REQUEST_BYTES) {
    throw new Refusal('MALFORMED', `${what}: ${bytes.length} bytes exceed ${MAX_REQUEST_BYTES}`);
  }
  const value = parseJson(bytes, what);
  const isList = typeof value === 'object' && value !== null && 'evidence_list' in value;
  const request = isList ? readShape(listSchema, value, what) : readSingle(value, what);
  const kind = kindOf(request.arch);
  const devices = request.evidence_list.map((entry, i) => {
    checkEntry(entry, request, i);
    return readDevice(entry, kind, `device ${i}`);
  });
  return {
    nonce: fromHex(request.nonce.toLowerCase()),
    devices,
    claimsVersion: request.claims_version,
  };
}

function readSingle(value: unknown, what: string): z.infer<typeof listSchema> {
  const { nonce: asked, arch: name, ...entry } = readShape(singleSchema, value, what);
  return { nonce: asked, arch: name, evidence_list: [entry] };
}

function kindOf(name: string): DeviceKind {
  const known = Object.entries(KINDS).find(([arch]) => arch === name);
  if (!known)
    throw new Refusal('UNSUPPORTED', `request: architecture ${JSON.stringify(name)} is not supported`);
  return known[1];
}

/** An entry that contradicts the request would be read one way here and another way by the service. */
function checkEntry(
  entry: z.infer<typeof entrySchema>,
  request: z.infer<typeof listSchema>,
  position: number,
): void {
  const sameArch = entry.arch === undefined || entry.arch === request.arch;
  const sameNonce = entry.nonce === undefined || entry.nonce.toLowerCase() === request.nonce.toLowerCase();
  if (!sameArch || !sameNonce) {
    const member = sameArch ? 'nonce' : 'arch';
    throw new Refusal('MALFORMED', `request: device ${position} has another ${member} than the request`);
  }
}

function readDevice(
  { evidence: report, certificate: chain }: Pick<z.infer<typeof entrySchema>, 'evidence' | 'certificate'>,
  kind: DeviceKind,
  what: string,
): DeviceEvidence {
  const certificates = parsePemChain(fromUtf8(fromBase64(chain)), MAX_CERTIFICATES);
  return {
    kind,
    report: readReport(fromBase64(report), what),
    certificates: certificates.map(({ der }) => der),
  };
}

/** Base64 of the report, or of its lower-case hex text; the first byte tells them apart, and nothing else is read. */
function readReport(decoded: Uint8Array, what: string): Uint8Array {
  const isHex = startsWith(decoded, HEX_START);
  if (!isHex && !startsWith(decoded, REPORT_START)) {
    throw new Refusal('MALFORMED', `${what}: the evidence is neither a report nor the hex text of one`);
  }
  const report = isHex ? fromHex(fromUtf8(decoded)) : decoded;
  if (report.length > MAX_REPORT_BYTES) {
    throw new Refusal('MALFORMED', `${what}: a report of ${report.length} bytes exceeds ${MAX_REPORT_BYTES}`);
  }
  return report;
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, start.length), start);
}
