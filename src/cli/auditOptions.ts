import { availableParallelism } from 'node:os';
import type { AlgorithmEnds } from '../../attestation/archive/renewalTimestamp.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { AuditError } from '../audit/errors.ts';
import { parseRevocations, type Revocations } from '../audit/revocations.ts';
import { ExportError } from '../export/errors.ts';
import { openArchive } from '../export/open.ts';
import type { AuditSource } from '../audit/audit.ts';
import { timeOf } from './exchangeFiles.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { anchorsOf, collateralOf, policyOf, type JudgingFlags } from './judging.ts';

export interface AuditFlags extends JudgingFlags {
  readonly at?: string;
  readonly signatures: string;
  readonly revocations?: string;
  readonly workers?: string;
  readonly resume?: string;
  readonly html?: string;
  readonly receipt?: string;
  readonly key?: string;
  readonly algorithmEnd?: readonly string[];
  readonly json?: boolean;
}

export async function auditContext(flags: AuditFlags): Promise<AppraisalContext> {
  const [policy, collateral] = await Promise.all([policyOf(flags), collateralOf(flags)]);
  return { policy, collateral, anchors: anchorsOf(flags), now: timeOf(flags.at), crypto: nodeCrypto };
}

export async function openTarget(target: string, flags: AuditFlags): Promise<AuditSource> {
  if (!/^https?:\/\//.test(target)) return openArchive(target);
  const key =
    flags.key === undefined
      ? undefined
      : Buffer.from(await readInput(flags.key))
          .toString('utf8')
          .trim();
  const { openService } = await import('../audit/serviceSource.ts');
  return openService(target, key);
}

export async function revocationsOf({ revocations }: AuditFlags): Promise<Revocations | undefined> {
  return revocations === undefined ? undefined : parseRevocations(await readInput(revocations));
}

export function signaturesOf({ signatures }: AuditFlags): 'all' | 'covered' {
  if (signatures === 'all' || signatures === 'covered') return signatures;
  throw new CliError(EXIT.misuse, '--signatures is `covered` or `all`');
}

const MAX_WORKERS = 256;

export function workersOf({ workers }: AuditFlags): number {
  if (workers === undefined) return availableParallelism();
  const count = /^\d{1,3}$/.test(workers) ? Number(workers) : NaN;
  if (count <= MAX_WORKERS) return count;
  throw new CliError(EXIT.misuse, `--workers is a number from 0 to ${MAX_WORKERS}`);
}

const ALGORITHMS = ['sha1', 'sha256', 'sha384', 'sha512', 'rsa', 'ec', 'ed25519'] as const;
const ALGORITHM_END = new RegExp(String.raw`^(${ALGORITHMS.join('|')})=(\d{4}-\d{2}-\d{2}.*)$`);

/** Times from which a timestamp that rests on an algorithm proves nothing. */
export function algorithmEndsOf({ algorithmEnd = [] }: AuditFlags): AlgorithmEnds {
  return Object.fromEntries(
    algorithmEnd.map((text) => {
      const [, name = '', date = ''] = ALGORITHM_END.exec(text) ?? [];
      const time = Date.parse(date);
      if (Number.isNaN(time)) {
        throw new CliError(
          EXIT.misuse,
          `--algorithm-end is NAME=DATE, such as sha256=2040-01-01; names: ${ALGORITHMS.join(', ')}`,
        );
      }
      return [name, time];
    }),
  );
}

const AUDIT_MISUSE = new Set(['REVOCATIONS_INVALID', 'AUDIT_STATE_MISMATCH']);

/** Errors of the rooms of audits and exports as what to print and how to exit. */
export function asCliError(error: unknown): unknown {
  if (error instanceof ExportError) {
    return new CliError(EXIT.unreadable, `${error.code}: ${error.message}`, error.advice);
  }
  if (error instanceof AuditError) {
    const exit = AUDIT_MISUSE.has(error.code) ? EXIT.misuse : EXIT.unreadable;
    return new CliError(exit, `${error.code}: ${error.message}`, error.advice);
  }
  return error;
}
