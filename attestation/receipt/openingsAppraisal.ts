import { fail, pass, skip, type Check, type CheckId } from '../checks.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { notReached } from '../verdict/steps.ts';
import { checkChunkRange, checkItem } from './checkOpenings.ts';
import type { ReceiptClaims } from './claims.ts';
import { PARAMETER_ITEMS, type CommittedParameter } from './commitment.ts';
import type { DisclosedField, OpenedChunks, OpenedItem, Openings } from './disclosure.ts';

/** What opened, in words of the receipt: content that a verdict may be shown with. */
export type ShownContent =
  | {
      readonly kind: 'request' | 'response' | 'tenant';
      readonly bytes: Uint8Array;
    }
  | { readonly kind: 'parameter'; readonly name: string; readonly bytes: Uint8Array }
  | {
      readonly kind: 'chunks';
      readonly start: number;
      readonly chunks: readonly Uint8Array[];
      /** Chunks of the whole stream. */
      readonly count: number;
    };

export interface OpeningsAppraisal {
  /** One for each item that the receipt commits to or that was opened; what is not opened is a skip. */
  readonly checks: readonly Check[];
  /** Of the checks that passed. */
  readonly shown: readonly ShownContent[];
}

const SUBJECT = 'disclosure';
const NOT_OPENED = 'the receipt commits to it; it was not opened, and nothing is said of it';
const OPENED = 'the key that was given opens the commitment of the receipt to it';

/** Judges each opening against the claims of a receipt that verified; undefined where it did not. */
export function appraiseOpenings(
  openings: Openings,
  claims: ReceiptClaims | undefined,
  crypto: CryptoProvider,
): OpeningsAppraisal {
  if (!claims) return { checks: notJudged(openings), shown: [] };
  const results = [
    ...FIELDS.map((field) => judgeField(field, openings, claims, crypto)),
    judgeChunks(openings.chunks, claims, crypto),
    ...judgeParameters(openings, claims, crypto),
    judgeField('tenant', openings, claims, crypto),
  ].filter((result) => result !== undefined);
  return {
    checks: results.map(({ check }) => check),
    shown: results.flatMap(({ shown }) => (shown ? [shown] : [])),
  };
}

interface Judged {
  readonly check: Check;
  readonly shown?: ShownContent;
}

const FIELDS = ['request', 'response'] as const;

function notJudged({ items, chunks }: Openings): readonly Check[] {
  const reason = 'the receipt did not verify';
  const fields = items.map(({ field }) => notReached(`disclosure.${field}`, SUBJECT, reason));
  return [...fields, ...(chunks ? [notReached('disclosure.chunks', SUBJECT, reason)] : [])];
}

function judgeField(
  field: Exclude<DisclosedField, 'parameter'>,
  { items }: Openings,
  claims: ReceiptClaims,
  crypto: CryptoProvider,
): Judged | undefined {
  const opened = items.find((item) => item.field === field);
  const id = `disclosure.${field}` as const;
  if (opened) {
    const shown = { kind: field, bytes: opened.bytes };
    return judge(id, SUBJECT, shown, OPENED, () => {
      checkItem(claims, opened, crypto);
    });
  }
  const committed =
    field === 'request' ||
    (field === 'response' ? claims.response.kind === 'body' : claims.tenant !== undefined);
  return committed ? { check: skip(id, SUBJECT, 'NOT_OPENED', NOT_OPENED) } : undefined;
}

/** Every parameter that the receipt commits to, and every one that was opened. */
function judgeParameters(
  { items }: Openings,
  claims: ReceiptClaims,
  crypto: CryptoProvider,
): readonly Judged[] {
  const names = Object.keys(PARAMETER_ITEMS) as CommittedParameter[];
  return names.flatMap((name): readonly Judged[] => {
    const subject = `parameter ${name}`;
    const opened = items.find((item) => isParameter(item, name));
    if (opened) {
      const shown = { kind: 'parameter', name, bytes: opened.bytes } as const;
      const verify = (): void => {
        checkItem(claims, opened, crypto);
      };
      return [judge('disclosure.parameter', subject, shown, OPENED, verify)];
    }
    if (!(claims.parameters.get(name) instanceof Uint8Array)) return [];
    return [{ check: skip('disclosure.parameter', subject, 'NOT_OPENED', NOT_OPENED) }];
  });
}

function isParameter({ field, item }: OpenedItem, name: CommittedParameter): boolean {
  return field === 'parameter' && item === PARAMETER_ITEMS[name];
}

function judgeChunks(
  opened: OpenedChunks | undefined,
  claims: ReceiptClaims,
  crypto: CryptoProvider,
): Judged | undefined {
  const { response } = claims;
  const count = response.kind === 'stream' ? response.count : 0;
  if (opened) {
    const { start, chunks } = opened;
    const bytes = chunks.reduce((total, chunk) => total + chunk.length, 0);
    const whole = response.kind === 'stream' ? response.bytes : 0;
    const reason = `chunks ${start} to ${start + chunks.length - 1} of ${count} from 0 on, ${bytes} of ${whole} bytes`;
    return judge('disclosure.chunks', SUBJECT, { kind: 'chunks', start, chunks, count }, reason, () => {
      checkChunkRange(claims, opened, crypto);
    });
  }
  if (response.kind !== 'stream') return undefined;
  const reason = `none of the ${count} chunks was opened, and nothing is said of them`;
  return { check: skip('disclosure.chunks', SUBJECT, 'NOT_OPENED', reason) };
}

function judge(
  id: CheckId,
  subject: string,
  shown: ShownContent,
  reason: string,
  verify: () => void,
): Judged {
  try {
    verify();
    return { check: pass(id, subject, reason), shown };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { check: fail(id, subject, error.code, error.message) };
  }
}
