import { toHex } from '../../attestation/bytes/bytes.ts';
import { OUTCOMES } from '../../attestation/receipt/claims.ts';
import { Needle } from '../../attestation/receipt/needle.ts';
import type { Setting } from '../../attestation/receipt/knownHeader.ts';
import type { ReceiptSkimmer } from '../../attestation/receipt/skim.ts';
import type { EntryHeader } from '../../attestation/receipt/receipt.ts';
import type { BundleFacts, CitationRun, ForeignEntry } from './tasks.ts';

const DIGEST = 32;
const HOUR_SECONDS = 3600;

/** Counts what the receipts of one bundle say. What repeats from one to the next is compared, not read again. */
export class BundleTally {
  readonly #bytes: Uint8Array;
  readonly #watched: readonly { readonly manifest: string; readonly digest: Needle }[];
  readonly #runs: CitationRun[] = [];
  readonly #records: { index: number; bytes: Uint8Array }[] = [];
  readonly #foreign: ForeignEntry[] = [];
  readonly #hours = new Map<number, number>();
  readonly #models = new Map<string, number>();
  /** By place in `OUTCOME_NAMES`. */
  readonly #outcomes: number[] = [];
  readonly #ranges: { manifest: string; from: number; to: number }[] = [];
  #receipts = 0;
  #evidence: Needle | undefined;
  #keyset: Needle | undefined;
  /** Of the receipt with which the last run began. */
  #setting: Setting | undefined;
  #header: EntryHeader | undefined;
  #hour = 0;
  /** Receipts of the header and hour before, which most share: they are added when another follows. */
  #sameHeader = 0;
  #sameHour = 0;

  constructor(bytes: Uint8Array, watched: readonly string[]) {
    this.#bytes = bytes;
    this.#watched = watched.map((manifest) => ({
      manifest,
      digest: new Needle(Buffer.from(manifest, 'hex')),
    }));
  }

  record(index: number, bytes: Uint8Array): void {
    this.#records.push({ index, bytes });
  }

  foreign(entry: ForeignEntry): void {
    this.#foreign.push(entry);
  }

  /** `judged`: whether the export is about it. */
  receipt(index: number, skimmer: ReceiptSkimmer, judged: boolean): void {
    this.#receipts++;
    this.#cite(index, skimmer, judged);
    const hour = Math.floor(skimmer.issuedAt / HOUR_SECONDS);
    if (hour !== this.#hour) this.#flushHour(hour);
    this.#sameHour++;
    if (skimmer.header !== this.#header) this.#flushHeader(skimmer.header);
    this.#sameHeader++;
    this.#outcome(skimmer);
    for (const { manifest, digest } of this.#watched) {
      if (digest.isAt(skimmer.view, skimmer.manifestAt)) this.#watch(manifest, index);
    }
  }

  #flushHour(next: number): void {
    if (this.#sameHour > 0) this.#hours.set(this.#hour, (this.#hours.get(this.#hour) ?? 0) + this.#sameHour);
    this.#hour = next;
    this.#sameHour = 0;
  }

  #flushHeader(next: EntryHeader | undefined): void {
    if (this.#header && this.#sameHeader > 0) {
      const { subject } = this.#header;
      this.#models.set(subject, (this.#models.get(subject) ?? 0) + this.#sameHeader);
    }
    this.#header = next;
    this.#sameHeader = 0;
  }

  /** One of the closed set is counted without a text being made. */
  #outcome({ outcomeAt, outcomeEnd, view }: ReceiptSkimmer): void {
    const length = outcomeEnd - outcomeAt;
    let known = OUTCOME_NEEDLES.length - 1;
    for (; known >= 0; known--) {
      const needle = OUTCOME_NEEDLES[known] as Needle;
      if (needle.length === length && needle.isAt(view, outcomeAt)) break;
    }
    this.#outcomes[known + 1] = (this.#outcomes[known + 1] ?? 0) + 1;
  }

  #cite(index: number, skimmer: ReceiptSkimmer, judged: boolean): void {
    const run = this.#runs.at(-1);
    if (run?.judged === judged && this.#isSameCitation(skimmer)) {
      run.to = index + 1;
      run.receipts++;
      return;
    }
    const { evidenceAt, keysetAt, setting } = skimmer;
    this.#setting = setting;
    const bytes = this.#bytes;
    const [evidence, keyset] = [
      bytes.slice(evidenceAt, evidenceAt + DIGEST),
      bytes.slice(keysetAt, keysetAt + DIGEST),
    ];
    this.#evidence = new Needle(evidence);
    this.#keyset = new Needle(keyset);
    this.#runs.push({
      evidence: toHex(evidence),
      keyset: toHex(keyset),
      judged,
      from: index,
      to: index + 1,
      receipts: 1,
    });
  }

  #isSameCitation({ evidenceAt, keysetAt, setting, view }: ReceiptSkimmer): boolean {
    if (setting && setting === this.#setting) return true;
    return (this.#evidence?.isAt(view, evidenceAt) && this.#keyset?.isAt(view, keysetAt)) ?? false;
  }

  #watch(manifest: string, index: number): void {
    const last = this.#ranges.findLast((range) => range.manifest === manifest);
    if (last?.to === index) last.to = index + 1;
    else this.#ranges.push({ manifest, from: index, to: index + 1 });
  }

  facts(first: number): Omit<BundleFacts, 'size' | 'root' | 'partialRoots' | 'signatures' | 'findings'> {
    this.#flushHour(0);
    this.#flushHeader(undefined);
    return {
      first,
      runs: this.#runs,
      records: this.#records,
      foreign: this.#foreign,
      receipts: this.#receipts,
      hours: [...this.#hours],
      models: [...this.#models],
      outcomes: OUTCOME_NAMES.flatMap((name, i) =>
        this.#outcomes[i] ? [[name, this.#outcomes[i]] as const] : [],
      ),
      watched: this.#ranges,
    };
  }
}

const OUTCOME_NEEDLES = OUTCOMES.map((word) => new Needle(Buffer.from(word)));
const OUTCOME_NAMES = ['unknown', ...OUTCOMES];
