import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { EVENTS, registerOf } from '../../enclave/predict/boot/register.ts';
import type { ImageManifest } from '../../enclave/image/release/manifest.ts';
import { fetchAttestation, freshNonce } from '../../src/client/attestation.ts';
import { vouchsafe } from './commands.ts';

/** Characters of the reason of one check. */
const MAX_LINE = 160;

export interface Judging {
  readonly url: string;
  readonly policy: string;
  readonly anchor: string;
}

interface CheckLine {
  readonly id: string;
  readonly code?: string;
  readonly result: string;
  readonly reason?: string;
}

export interface Judged {
  readonly decision: string;
  /** Codes of what failed. */
  readonly failed: readonly string[];
  readonly checks: readonly CheckLine[];
}

/** What the verifier says of a machine that answers, asked for fresh evidence. */
export async function judge({ url, policy, anchor }: Judging): Promise<Judged> {
  const { stdout, stderr } = await vouchsafe([
    'verify',
    url,
    '--policy',
    policy,
    '--anchor',
    `tpm:${anchor}`,
    '--json',
  ]);
  return readVerdict(stdout, stderr);
}

/** The same of an answer with its receipt, sealed to the machine. */
export async function ask({ url, policy, anchor }: Judging, apiKey: string): Promise<Judged> {
  const judged = ['--policy', policy, '--anchor', `tpm:${anchor}`];
  const request = [
    '--url',
    url,
    '--api-key',
    apiKey,
    '--max-tokens',
    '4',
    '--fresh',
    '--json',
    'Once upon a time',
  ];
  const { stdout, stderr, code } = await vouchsafe(['ask', ...judged, ...request]);
  if (code === 0) return { decision: 'accepted', failed: [], checks: [] };
  return readVerdict(stdout, stderr);
}

function readVerdict(stdout: string, stderr: string): Judged {
  const verdict = findVerdict(parsed(stdout, stderr));
  if (!verdict) throw new Error(`no verdict: ${stderr.slice(0, 500)}`);
  const { decision, checks } = verdict;
  const failed = checks.filter(({ result }) => result === 'fail');
  const lines = failed.map(({ id, code = '', reason = '' }) =>
    `${id} ${code} ${reason}`.trim().slice(0, MAX_LINE),
  );
  return { decision, failed: lines, checks };
}

function parsed(stdout: string, stderr: string): unknown {
  try {
    return JSON.parse(stdout);
  } catch {
    throw new Error(`no verdict: ${stderr.slice(0, 500)}`);
  }
}

type Verdict = Pick<Judged, 'decision' | 'checks'>;

/** Commands put it at the top, or below `verdict`. */
function findVerdict(value: unknown): Verdict | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { decision, checks, verdict } = value as Partial<Verdict> & { readonly verdict?: unknown };
  if (typeof decision === 'string' && Array.isArray(checks)) return { decision, checks };
  return findVerdict(verdict);
}

/** Registers of the SHA-256 bank as a quote of the machine states them. */
export async function readRegisters(url: string, apiKey: string): Promise<ReadonlyMap<number, string>> {
  const { document } = await fetchAttestation({ base: url, fetch, apiKey }, freshNonce());
  const { cpu } = parseDocument(document);
  if (cpu.platform !== 'tpm') throw new Error(`evidence of ${cpu.platform}`);
  return new Map([...cpu.tpm.pcrs.values].map(([index, value]) => [index, toHex(value)]));
}

export interface RegisterRow {
  readonly pcr: number;
  readonly expected: string;
  readonly seen: string | undefined;
  readonly from: 'image' | 'constant';
}

/** What the manifest predicts of a boot from disk, and the registers that no boot of such a machine changes. */
export function compareRegisters(
  manifest: ImageManifest,
  seen: ReadonlyMap<number, string>,
): readonly RegisterRow[] {
  const prediction = manifest.predictions.find(
    ({ profile }) => profile.platform === 'tpm' && profile.boot === 'disk' && profile.bank === 'sha256',
  );
  const predicted = (prediction?.values ?? []).map(({ member, value }): RegisterRow => {
    const pcr = Number(member.slice(member.lastIndexOf('.') + 1));
    return { pcr, expected: value, seen: seen.get(pcr), from: 'image' };
  });
  const separator = toHex(registerOf([EVENTS.separator], 'sha256', nodeCrypto));
  const zero = '00'.repeat(32);
  const constants = [[2, separator], [3, separator], [6, separator], [8, zero], [14, zero], [15, zero]] as const; // prettier-ignore
  const known = new Set(predicted.map(({ pcr }) => pcr));
  const rest = constants
    .filter(([pcr]) => !known.has(pcr))
    .map(([pcr, expected]): RegisterRow => ({ pcr, expected, seen: seen.get(pcr), from: 'constant' }));
  return [...predicted, ...rest].sort((a, b) => a.pcr - b.pcr);
}
