import { z } from 'zod';
import { fromBase64, fromHex, fromUtf8 } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import type { DeviceEvidence } from '../../../attestation/evidence/evidence.ts';
import { parseNrasRequest } from '../../../attestation/evidence/nras/request.ts';
import { JsonError, parseStrictJson } from '../../../attestation/json/strict.ts';
import { atCheck } from '../../../attestation/verdict/steps.ts';
import { certificatesIn } from '../files.ts';
import { fileOf, type Material } from './material.ts';

/** Twelve devices of a machine need about 140 kB. */
const MAX_ARRAY_BYTES = 4 * 1024 * 1024;
const MAX_DEVICES = 64;

const hint = z.string().max(200).optional();
/** What collectors write beside an entry is not signed; `arch` must fit the file, the rest is not used. */
const entry = z.strictObject({
  evidence: z.string().min(1).max(32_768),
  certificate: z.string().min(1).max(32_768),
  arch: z.enum(['HOPPER', 'BLACKWELL', 'LS10']).optional(),
  nonce: hint,
  version: hint,
  driver_version: hint,
  vbios_version: hint,
});
const entries = z.array(entry).min(1).max(MAX_DEVICES);
/** The array alone, as the SDK of NVIDIA serializes it, or what its `collect-evidence` prints. */
const arraySchema = z.union([
  entries,
  z.strictObject({ evidences: entries, result_code: z.int(), result_message: z.string() }),
]);

/** Every device of the case, GPUs first. Refuses evidence that is not in the form that its role says. */
export async function readDevices(material: Material): Promise<readonly DeviceEvidence[]> {
  const devices = [
    ...(await readSingle(material, 'gpu')),
    ...readArray(fileOf(material, 'gpu-evidence-array'), 'gpu'),
    ...readRequest(fileOf(material, 'nras-request-body')),
    ...(await readSingle(material, 'switch')),
    ...readArray(fileOf(material, 'switch-evidence-array'), 'switch'),
  ];
  if (devices.length === 0) throw new Refusal('EVIDENCE_INCOMPLETE', 'there is no device', 'device.format');
  return devices;
}

type Kind = DeviceEvidence['kind'];

/** A report in hex text and its chain in PEM. */
async function readSingle(material: Material, kind: Kind): Promise<readonly DeviceEvidence[]> {
  const prefix = kind === 'gpu' ? 'gpu' : 'nvswitch';
  const report = fileOf(material, `${prefix}-attestation-report`);
  const chain = fileOf(material, `${prefix}-certificate-chain`);
  if (!report && !chain) return [];
  if (!report) throw new Refusal('EVIDENCE_INCOMPLETE', `the ${kind} has no report`, 'device.format');
  const bytes = await atCheck('device.format', () => fromHex(fromUtf8(report).trim()));
  const certificates = await atCheck('device.chain', () => (chain ? certificatesIn(chain) : []));
  return [{ kind, report: bytes, certificates }];
}

function readArray(file: Uint8Array | undefined, kind: Kind): readonly DeviceEvidence[] {
  if (!file) return [];
  const parsed = arraySchema.safeParse(parseArray(file));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const reason = `evidence of kind ${kind}: ${issue?.code ?? 'wrong'} at ${issue?.path.join('/') ?? ''}`;
    throw new Refusal('MALFORMED', reason, 'device.format');
  }
  const list = Array.isArray(parsed.data) ? parsed.data : parsed.data.evidences;
  return list.map(({ arch, evidence, certificate }, i) => {
    if (arch !== undefined && (arch === 'LS10') !== (kind === 'switch')) {
      throw new Refusal('MALFORMED', `entry ${i} of kind ${kind} is of ${arch}`, 'device.format');
    }
    const certificates = certificatesIn(fromBase64(certificate));
    return { kind, report: fromBase64(evidence), certificates };
  });
}

function parseArray(file: Uint8Array): unknown {
  if (file.length > MAX_ARRAY_BYTES) {
    throw new Refusal('MALFORMED', `evidence of ${file.length} bytes exceeds ${MAX_ARRAY_BYTES}`);
  }
  try {
    return parseStrictJson(file);
  } catch (error) {
    if (error instanceof JsonError) throw new Refusal('MALFORMED', `evidence ${error.message}`);
    throw error;
  }
}

function readRequest(file: Uint8Array | undefined): readonly DeviceEvidence[] {
  return file ? parseNrasRequest(file).devices : [];
}
