import * as z from 'zod';
import { parseCollateral, encodeCollateral } from '../../attestation/bundle/collateral.ts';
import { encodeDc } from '../../attestation/cbor/deterministic.ts';
import { NO_COLLATERAL } from '../../attestation/collateral.ts';
import { fromBase64 } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { JsonError, parseStrictJson } from '../../attestation/json/strict.ts';
import { policySchema } from '../../attestation/policy/policy.ts';
import { AuditError } from './errors.ts';
import type { LaterJudgement } from './tasks.ts';

const MAX_ENTRIES = 10_000;
const hex = z.string().regex(/^(?:[0-9a-f]{2}){1,512}$/, 'expected lower-case hex');
const base64 = z.string().max(4 * 1024 * 1024);
const common = {
  /** When it became known, or from when on it holds: ISO 8601 in UTC. */
  since: z.iso.datetime(),
  /** For people: an advisory, an incident. */
  reason: z.string().min(1).max(1000),
};

const entrySchema = z.discriminatedUnion('kind', [
  /** Chip id, PPID, module id or attestation key. */
  z.strictObject({ kind: z.literal('cpu'), id: hex, ...common }),
  /** Serial of the leaf certificate in hex, or the UEID in decimal. */
  z.strictObject({
    kind: z.literal('device'),
    serial: hex.optional(),
    ueid: z
      .string()
      .regex(/^[0-9]{1,80}$/)
      .optional(),
    ...common,
  }),
  z.strictObject({ kind: z.literal('vbios'), version: z.string().min(1).max(100), ...common }),
  z.strictObject({ kind: z.literal('driver'), version: z.string().min(1).max(100), ...common }),
  /** RFC 9679 thumbprints. */
  z.strictObject({ kind: z.literal('receipt-key'), thumbprint: hex, ...common }),
  z.strictObject({ kind: z.literal('log-key'), thumbprint: hex, ...common }),
  z.strictObject({ kind: z.literal('model'), manifest: hex, ...common }),
  /** Firmware levels: a policy with the new minimums, new TCB info of Intel with its signers, or both. */
  z.strictObject({
    kind: z.literal('tcb'),
    policy: policySchema.optional(),
    tcbInfos: z
      .array(z.strictObject({ body: base64, issuerChain: z.array(base64).max(8) }))
      .max(64)
      .optional(),
    ...common,
  }),
]);

const revocationsSchema = z.strictObject({
  format: z.literal('vouchsafe/revocations/1'),
  entries: z.array(entrySchema).max(MAX_ENTRIES),
});

export type RevocationEntry = z.infer<typeof entrySchema>;
export type Revocations = z.infer<typeof revocationsSchema>;

/** Parses a list of revocations; refuses unknown, absent and ill-typed members as `REVOCATIONS_INVALID`. */
export function parseRevocations(bytes: Uint8Array): Revocations {
  let value: unknown;
  try {
    value = parseStrictJson(bytes);
  } catch (error) {
    if (error instanceof JsonError) throw new AuditError('REVOCATIONS_INVALID', `the file ${error.message}`);
    throw error;
  }
  const result = revocationsSchema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw new AuditError(
      'REVOCATIONS_INVALID',
      `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}`,
    );
  }
  for (const entry of result.data.entries) checkEntry(entry);
  return result.data;
}

function checkEntry(entry: RevocationEntry): void {
  if (entry.kind === 'device' && (entry.serial === undefined) === (entry.ueid === undefined)) {
    throw new AuditError('REVOCATIONS_INVALID', 'a device is named by its serial or by its ueid');
  }
  if (entry.kind !== 'tcb') return;
  if (!entry.policy && !entry.tcbInfos) {
    throw new AuditError('REVOCATIONS_INVALID', 'an entry of kind tcb has a policy, tcbInfos or both');
  }
  laterCollateral(entry);
}

/** Entries of firmware levels, which are judged by appraising each document once more. */
export function laterJudgements({ entries }: Revocations): readonly LaterJudgement[] {
  return entries.flatMap((entry) =>
    entry.kind === 'tcb'
      ? [{ policy: entry.policy, collateral: laterCollateral(entry), since: Date.parse(entry.since) }]
      : [],
  );
}

function laterCollateral({ tcbInfos }: Extract<RevocationEntry, { kind: 'tcb' }>): Uint8Array | undefined {
  if (!tcbInfos) return undefined;
  try {
    const statements = tcbInfos.map(({ body, issuerChain }) => ({
      body: fromBase64(body),
      issuerChain: issuerChain.map(fromBase64),
    }));
    const collateral = encodeCollateral({ ...NO_COLLATERAL, tcbInfos: statements });
    parseCollateral(collateral);
    return encodeDc(collateral);
  } catch (error) {
    if (error instanceof Refusal) throw new AuditError('REVOCATIONS_INVALID', `tcbInfos: ${error.message}`);
    throw error;
  }
}

export function watchedManifests({ entries }: Revocations): readonly string[] {
  return entries.flatMap((entry) => (entry.kind === 'model' ? [entry.manifest] : []));
}
