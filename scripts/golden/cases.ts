import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Anchor } from '../../attestation/anchors.ts';
import { appraiseBundle, appraiseEvidence, appraiseReceipt } from '../../attestation/appraise.ts';
import { appraiseDisclosure } from '../../attestation/appraiseDisclosure.ts';
import { fromBase64, fromHex, toHex } from '../../attestation/bytes/bytes.ts';
import { parseCollateral } from '../../attestation/bundle/collateral.ts';
import { decodeDc } from '../../attestation/cbor/deterministic.ts';
import { NO_COLLATERAL } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { policyDigest } from '../../attestation/policy/digest.ts';
import { parsePolicy } from '../../attestation/policy/policy.ts';
import type { Exchange } from '../../attestation/receipt/appraise.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { isoTime } from '../../attestation/x509/time.ts';
import { auditExport } from '../../src/audit/audit.ts';
import { openExportAt } from '../../src/export/open.ts';
import { auditGoldenRenewal } from './renewalCase.ts';

/** A question to the verifier about golden files, with everything that its caller brings. */
export interface GoldenCase {
  readonly name: string;
  readonly question: 'bundle' | 'receipt' | 'disclosure' | 'evidence' | 'export' | 'renewal';
  readonly file: string;
  /** The evidence document that a receipt cites, where it comes alone. */
  readonly cited?: string;
  readonly policy: string;
  /** What vendors said, where the file does not bring it. */
  readonly collateral?: string;
  /** ISO 8601. */
  readonly now: string;
  /** What the client kept: hex and base64. */
  readonly exchange?: { readonly k: string; readonly request: string; readonly response: string };
  readonly expected: Answer;
}

/** What a verdict says, without the sentences, which may become better. */
export interface Answer {
  readonly decision: string;
  readonly tier: string;
  readonly simulated: readonly string[];
  readonly policyDigest: string;
  readonly upper?: string;
  readonly lower?: string;
  /** `subject: id result code`; of an audit also what it counted. */
  readonly checks: readonly string[];
}

export function readCases(folder: string): readonly GoldenCase[] {
  return (JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8')) as { cases: readonly GoldenCase[] })
    .cases;
}

/** Asks the verifier of today. */
export async function judgeCase(folder: string, question: Omit<GoldenCase, 'expected'>): Promise<Answer> {
  const read = (name: string): Uint8Array => new Uint8Array(readFileSync(join(folder, name)));
  const json = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), 'utf8'));
  const context: AppraisalContext = {
    policy: parsePolicy(json(question.policy)),
    anchors: json('anchors.json') as readonly Anchor[],
    collateral: question.collateral ? parseCollateral(decodeDc(read(question.collateral))) : NO_COLLATERAL,
    now: Date.parse(question.now),
    crypto: nodeCrypto,
  };
  if (question.question === 'export') return auditAnswer(join(folder, question.file), context);
  if (question.question === 'renewal') return renewalAnswer(read, context);
  return answerOf(await ask({ ...question, question: question.question }, read, context));
}

/** The audit of an export in this thread, every signature verified. */
async function auditAnswer(path: string, context: AppraisalContext): Promise<Answer> {
  const source = await openExportAt(path);
  try {
    const options = { name: 'golden', context, signatures: 'all', workers: 0, software: 'golden' } as const;
    const { decision, tier, simulated, policyDigest, totals, checks } = await auditExport(source, options);
    const { entries, receipts, documents } = totals;
    const counts = [`entries ${entries}`, `receipts ${receipts}`, `documents ${documents}`];
    const judged = checks.map(({ id, result, code }) => `${id} ${result} ${code}`);
    return { decision, tier, simulated, policyDigest, checks: [...counts, ...judged] };
  } finally {
    await source.close();
  }
}

async function renewalAnswer(read: (name: string) => Uint8Array, context: AppraisalContext): Promise<Answer> {
  const { renewals, segments, problems } = await auditGoldenRenewal(read, context);
  const isGood = renewals.length > 0 && problems.length === 0;
  return {
    decision: isGood ? 'accepted' : 'refused',
    tier: 'none',
    simulated: [],
    policyDigest: toHex(policyDigest(context.policy, context.crypto)),
    checks: [
      ...problems.map(({ code, seq }) => `${code} ${seq}`),
      ...segments.flatMap(({ covers }) =>
        covers.map(({ seq, since = 0, matched }) => `${seq}: ${matched} files since ${isoTime(since)}`),
      ),
    ],
  };
}

type VerdictCase = Omit<GoldenCase, 'expected' | 'question'> & {
  readonly question: Exclude<GoldenCase['question'], 'export' | 'renewal'>;
};

async function ask(
  { question, file, cited, exchange }: VerdictCase,
  read: (name: string) => Uint8Array,
  context: AppraisalContext,
): Promise<Verdict> {
  const kept: Exchange = exchange
    ? {
        opening: {
          k: fromHex(exchange.k),
          request: fromBase64(exchange.request),
          response: fromBase64(exchange.response),
        },
      }
    : {};
  switch (question) {
    case 'bundle':
      return (await appraiseBundle(read(file), kept, context)).verdict;
    case 'receipt':
      return (await appraiseReceipt(read(file), read(cited ?? ''), kept, context)).verdict;
    case 'disclosure':
      return (await appraiseDisclosure(read(file), {}, context)).verdict;
    case 'evidence':
      return (await appraiseEvidence(read(file), undefined, context)).verdict;
  }
}

function answerOf({ decision, tier, simulated, policyDigest, upper, lower, checks }: Verdict): Answer {
  return {
    decision,
    tier,
    simulated,
    policyDigest,
    ...(upper === undefined ? {} : { upper }),
    ...(lower === undefined ? {} : { lower }),
    checks: checks.map(({ subject, id, result, code }) => `${subject}: ${id} ${result} ${code}`),
  };
}

/** How an answer of today differs from the recorded one. A verifier may learn further checks, and lose none. */
export function differingAnswers(expected: Answer, answer: Answer): readonly string[] {
  const lost = expected.checks.filter((check) => !answer.checks.includes(check));
  const [recorded, today] = [headOf(expected), headOf(answer)];
  return [
    ...(recorded === today ? [] : [`${today} instead of ${recorded}`]),
    ...lost.map((check) => `lost: ${check}`),
  ];
}

function headOf(answer: Answer): string {
  return JSON.stringify({ ...answer, checks: undefined });
}
