import { hash } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import * as z from 'zod';
import { hasSystemCode } from '../errors/systemCode.ts';
import { AuditError } from './errors.ts';
import type { Finding, AuditFindingCode } from './findings.ts';
import type { EntryProgress } from './progress.ts';
import type { InstanceReport } from './report.ts';

export const STATE_FORMAT = 'vouchsafe/audit-state/1';

/** How far an audit got. Whoever can write this file decides what the rest of the audit builds on: it is the auditor's own. */
export interface AuditState {
  readonly format: typeof STATE_FORMAT;
  /** SHA-256 over everything that the result depends on, hex. */
  readonly binding: string;
  /** Time for which all is judged, ms since 1970: the same after a pause. */
  readonly now: number;
  readonly done: readonly InstanceReport[];
  readonly current:
    | {
        readonly instance: string;
        readonly progress: EntryProgress;
        readonly listed: readonly Finding[];
        readonly counts: readonly (readonly [AuditFindingCode, number])[];
      }
    | undefined;
}

/** Of the export, the policy, the options and this version: a state of other ones is refused. */
export function bindingOf(parts: Readonly<Record<string, unknown>>): string {
  return hash('sha256', JSON.stringify(parts));
}

const shape = z.object({
  format: z.literal(STATE_FORMAT),
  binding: z.string().regex(/^[0-9a-f]{64}$/),
  now: z.number(),
  done: z.array(z.object({ instance: z.string(), findings: z.object({}) })),
  current: z
    .object({
      instance: z.string(),
      progress: z.object({ bundles: z.number() }),
      listed: z.array(z.unknown()),
    })
    .optional(),
  digest: z.string(),
});

/** The state of a file; undefined where there is none. One of another audit is refused, and so is a damaged one. */
export async function readState(path: string, binding: string): Promise<AuditState | undefined> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (hasSystemCode(error, 'ENOENT')) return undefined;
    throw new AuditError('AUDIT_STATE_MALFORMED', `${path} cannot be read`, error);
  });
  if (text === undefined) return undefined;
  const state = parse(text, path);
  if (state.binding !== binding) throw new AuditError('AUDIT_STATE_MISMATCH', `${path} is of another audit`);
  return state;
}

function parse(text: string, path: string): AuditState {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new AuditError('AUDIT_STATE_MALFORMED', `${path} is not JSON`, error);
  }
  const known = shape.safeParse(value);
  if (!known.success) throw new AuditError('AUDIT_STATE_MALFORMED', `${path} is no state of an audit`);
  const { digest, ...state } = value as AuditState & { digest: string };
  if (hash('sha256', JSON.stringify(state)) !== digest) {
    throw new AuditError('AUDIT_STATE_MALFORMED', `${path} is not as it was written`);
  }
  return state;
}

/** By temporary file and rename: a crash leaves the old state or the new one. */
export async function writeState(path: string, state: AuditState): Promise<void> {
  const digest = hash('sha256', JSON.stringify(state));
  await writeFile(`${path}.tmp`, JSON.stringify({ ...state, digest }));
  await rename(`${path}.tmp`, path);
}

export async function removeState(path: string): Promise<void> {
  await rm(path, { force: true });
}
