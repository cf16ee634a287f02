import { z } from 'zod';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import type { Check } from '../../../attestation/checks.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseBootLog } from '../../../attestation/evidence/bootlog/parse.ts';
import { replay, startValue } from '../../../attestation/evidence/bootlog/replay.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { runQuoteSteps } from '../../../attestation/evidence/dcap/steps.ts';
import { judgeBootLog } from '../../../attestation/evidence/platforms/bootLog.ts';
import {
  appraiseTdxAs,
  registersOf,
  tdxMachine,
  verifyTdxSteps,
} from '../../../attestation/evidence/platforms/tdx.ts';
import { appraiseSgx } from '../../../attestation/evidence/sgx/appraise.ts';
import { verifySgx } from '../../../attestation/evidence/sgx/verify.ts';
import type { VerifiedTdx } from '../../../attestation/evidence/tdx/verify.ts';
import type { CaseFiles } from '../files.ts';
import { ACCEPTED, outcomeOf, type Outcome } from '../outcome.ts';
import { checkStatedReportData } from './expected.ts';
import { CORPUS_SGX, CORPUS_TDX } from './policy.ts';

/** Offset of the TEE type in a quote's header, and that of TDX. */
const TEE_TYPE = 4;
const TEE_TDX = 0x81;
const QUOTE_NAMES = ['quote.bin', 'quote.dat', 'td_quote.bin'] as const;

/** A quote of a TD or of an enclave, with the boot log and the report data that the case states. */
export async function judgeQuote(files: CaseFiles, context: AppraisalContext): Promise<Outcome> {
  const quote = files.need(...QUOTE_NAMES);
  return quote[TEE_TYPE] === TEE_TDX ? judgeTd(quote, files, context) : judgeEnclave(quote, files, context);
}

async function judgeTd(quote: Uint8Array, files: CaseFiles, context: AppraisalContext): Promise<Outcome> {
  const { value, checks } = await verifyTdxSteps(quote, 'cpu', context);
  const bound = checkStatedReportData(value?.report, files);
  const judged = appraiseTdxAs('cpu', value, CORPUS_TDX);
  return outcomeOf([...checks, ...bound, ...bootLogChecks(value, files, context), ...judged]);
}

function bootLogChecks(
  verified: VerifiedTdx | undefined,
  files: CaseFiles,
  context: AppraisalContext,
): readonly Check[] {
  if (!verified) return [];
  const boot = { machine: tdxMachine(verified), registers: registersOf(verified.report) };
  return [judgeBootLog(files.find('ccel_data.bin', 'event_log.json'), boot, 'cpu', context)];
}

async function judgeEnclave(
  quote: Uint8Array,
  files: CaseFiles,
  context: AppraisalContext,
): Promise<Outcome> {
  const { crypto, now, anchors, collateral } = context;
  const { value, checks } = await runQuoteSteps('cpu', () =>
    verifySgx(quote, { crypto, now, anchors, collateral }),
  );
  const bound = checkStatedReportData(value?.report, files);
  return outcomeOf([...checks, ...bound, ...(value ? appraiseSgx(value, CORPUS_SGX) : [])]);
}

/** A log without a quote: it must parse and replay to what the case states. */
export function judgeLog(files: CaseFiles, { crypto }: AppraisalContext): Promise<Outcome> {
  const log = parseBootLog(files.need('ccel_data.bin', 'eventlog.bin', 'event_log.json'));
  for (const [bank, stated] of statedRegisters(files.facts)) {
    const replayed = replay(log, bank, crypto);
    for (const [register, value] of stated) {
      const seen = toHex(replayed.get(register) ?? startValue(log, register, bank));
      if (seen === value) continue;
      throw new Refusal('EVENT_LOG_MISMATCH', `register ${register} replays to ${seen}, stated is ${value}`);
    }
  }
  return Promise.resolve(ACCEPTED);
}

/** Registers by bank (`replayedPcrs`), or the RTMRs of a TD (`replayed`). */
function statedRegisters(facts: CaseFiles['facts']): readonly (readonly [Bank, readonly Stated[]])[] {
  const banks = statedSchema.parse(facts);
  const pcrs = Object.entries(banks.replayedPcrs).map(
    ([bank, values]) => [bank as Bank, numbered(values)] as const,
  );
  const rtmrs = numbered(banks.replayed);
  return rtmrs.length > 0 ? [...pcrs, ['sha384', rtmrs]] : pcrs;
}

type Bank = 'sha1' | 'sha256' | 'sha384' | 'sha512';
type Stated = readonly [number, string];

const values = z.record(z.string(), z.string());
const statedSchema = z.object({
  replayedPcrs: z.partialRecord(z.enum(['sha1', 'sha256', 'sha384', 'sha512']), values).default({}),
  replayed: values.default({}),
});

function numbered(stated: Readonly<Record<string, string>>): readonly Stated[] {
  return Object.entries(stated).map(([register, value]) => [Number(register.replace(/^rtmr/, '')), value]);
}
