import { setTimeout as delay } from 'node:timers/promises';
import { encodeAnchor } from '../../attestation/log/anchor.ts';
import { formatNote, type NoteSignature } from '../../attestation/log/note.ts';
import type { ReceiptLog } from './log.ts';
import { type Confirmation, type Outsider, OutsiderError, type SignedHead } from './outsider.ts';

/** Pauses between attempts, in ms; the last one repeats. */
const RETRY_DELAYS_MS = [1000, 5000, 15_000, 60_000, 300_000];

export interface AnchoringParts {
  /** Witnesses and timestamp authorities; with none, heads are not anchored. */
  readonly outsiders: readonly Outsider[];
  readonly log: Pick<ReceiptLog, 'writeAnchor'>;
  readonly now: () => number;
  readonly onEvent?: ((event: AnchoringEvent) => void) | undefined;
  readonly retryDelaysMs?: readonly number[] | undefined;
}

/** What operators are told: an outsider that starts or ceases to fail, or an anchor that could not be kept. */
export interface AnchoringEvent {
  readonly kind: 'failing' | 'recovered' | 'not-kept';
  /** The outsider; the log where an anchor was not kept. */
  readonly name: string;
  readonly code: string;
  readonly reason: string;
  /** Age of the newest anchor; undefined while there is none. */
  readonly anchorAgeMs: number | undefined;
}

/** The newest head that somebody outside confirmed. */
export interface NewestAnchor {
  readonly size: number;
  /** When its first confirmation came, milliseconds since 1970, by the clock of this machine. */
  readonly at: number;
}

interface Gathered {
  readonly head: SignedHead;
  readonly signatures: NoteSignature[];
  readonly tokens: Uint8Array[];
}

/**
 * Has witnesses and timestamp authorities confirm heads of the log, in the background: nobody waits for it, and no
 * failure reaches who issues. Where heads pile up only the newest counts: its tree holds what the others hold.
 */
export class Anchoring {
  readonly #parts: AnchoringParts;
  /** Sizes of the heads that have anchors, ascending. */
  readonly #sizes: number[] = [];
  readonly #failing = new Map<string, OutsiderError>();
  #next: SignedHead | undefined;
  /** Size of the head that is on its way, then of the one that every outsider confirmed. */
  #current = 0;
  #pendingSince: number | undefined;
  #newest: NewestAnchor | undefined;
  #timeAnchor: Uint8Array | undefined;
  #running: Promise<void> | undefined;
  #wake = new AbortController();
  #finishing = false;
  readonly #end = new AbortController();

  constructor(parts: AnchoringParts) {
    this.#parts = parts;
  }

  get isConfigured(): boolean {
    return this.#parts.outsiders.length > 0;
  }

  get newest(): NewestAnchor | undefined {
    return this.#newest;
  }

  /** Since when a head waits for an outsider, milliseconds since 1970; undefined where none does. */
  get pendingSince(): number | undefined {
    return this.#pendingSince;
  }

  /** Why outsiders do not confirm, by their names. */
  get failing(): ReadonlyMap<string, OutsiderError> {
    return this.#failing;
  }

  /** The newest token, else the newest cosigned note: whatever holds it was made later. */
  get timeAnchor(): Uint8Array | undefined {
    return this.#timeAnchor;
  }

  /** Size of the first anchored head whose tree holds the entry. */
  sizeOver(index: number): number | undefined {
    // Sizes rise, so that the wanted one is found by halving.
    let [low, high] = [0, this.#sizes.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.#sizes[middle] ?? 0) > index) high = middle;
      else low = middle + 1;
    }
    return this.#sizes[low];
  }

  /** Takes a head in place of one that still waits. A head that is anchored or on its way is passed over. */
  submit(head: SignedHead): void {
    if (!this.isConfigured || this.#hasEnded() || head.size === this.#current) return;
    this.#next = head;
    this.#pendingSince ??= this.#parts.now();
    this.#wake.abort();
    this.#start();
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#isOvertaken()) this.#start();
    });
  }

  /** One more attempt for what waits, then an end after `timeoutMs` at the latest. */
  async finish(timeoutMs: number): Promise<void> {
    this.#finishing = true;
    this.#wake.abort();
    const timer = setTimeout(() => this.#end.abort(), timeoutMs);
    while (this.#running) await this.#running;
    clearTimeout(timer);
    this.#end.abort();
  }

  async #run(): Promise<void> {
    for (let head = this.#takeNext(); head; head = this.#takeNext()) {
      this.#current = head.size;
      if (await this.#anchor(head)) this.#pendingSince = this.#isOvertaken() ? this.#parts.now() : undefined;
    }
  }

  #takeNext(): SignedHead | undefined {
    const next = this.#hasEnded() ? undefined : this.#next;
    this.#next = undefined;
    return next;
  }

  #isOvertaken(): boolean {
    return this.#next !== undefined;
  }

  #hasEnded(): boolean {
    return this.#end.signal.aborted;
  }

  /** True where every outsider confirmed the head; false where another one came, or the end. */
  async #anchor(head: SignedHead): Promise<boolean> {
    const gathered: Gathered = { head, signatures: [], tokens: [] };
    let missing = this.#parts.outsiders;
    for (let attempt = 0; ; attempt++) {
      const isLast = this.#finishing;
      const before = missing.length;
      missing = await this.#askAll(missing, gathered);
      if (missing.length < before) await this.#keep(gathered);
      if (missing.length === 0) return true;
      if (this.#isOvertaken() || isLast || this.#hasEnded()) return false;
      await this.#pause(attempt);
      if (this.#isOvertaken()) return false;
    }
  }

  /** Asks all at once; returns those who did not confirm. */
  async #askAll(outsiders: readonly Outsider[], gathered: Gathered): Promise<readonly Outsider[]> {
    const asked = outsiders.map(async (outsider) => {
      try {
        take(gathered, await outsider.confirm(gathered.head, this.#end.signal));
        this.#succeeded(outsider);
        return [];
      } catch (error) {
        this.#failed(outsider, error);
        return [outsider];
      }
    });
    return (await Promise.all(asked)).flat();
  }

  async #keep(gathered: Gathered): Promise<void> {
    const { head, signatures, tokens } = gathered;
    const note = formatNote(head.text, [head.signature, ...signatures]);
    try {
      await this.#parts.log.writeAnchor(head.size, encodeAnchor({ note, tokens }));
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'unknown';
      this.#tell({ kind: 'not-kept', name: 'log', code: 'NOT_KEPT', reason });
      return;
    }
    if (this.#sizes.at(-1) !== head.size) this.#sizes.push(head.size);
    if (this.#newest?.size !== head.size) this.#newest = { size: head.size, at: this.#parts.now() };
    this.#timeAnchor = tokens[0] ?? note;
  }

  #succeeded({ name }: Outsider): void {
    if (!this.#failing.delete(name)) return;
    this.#tell({ kind: 'recovered', name, code: 'OK', reason: 'it confirms again' });
  }

  #failed({ name }: Outsider, error: unknown): void {
    // Its own end is no failure of an outsider.
    if (this.#hasEnded()) return;
    const failure =
      error instanceof OutsiderError
        ? error
        : new OutsiderError('ANSWER_INVALID', `${name}: ${String(error)}`, { cause: error });
    const known = this.#failing.get(name)?.code;
    this.#failing.set(name, failure);
    if (known === failure.code) return;
    this.#tell({ kind: 'failing', name, code: failure.code, reason: failure.message });
  }

  #tell(event: Omit<AnchoringEvent, 'anchorAgeMs'>): void {
    const anchorAgeMs = this.#newest && this.#parts.now() - this.#newest.at;
    this.#parts.onEvent?.({ ...event, anchorAgeMs });
  }

  /** Ends early where a head comes, or the end. */
  async #pause(attempt: number): Promise<void> {
    const { retryDelaysMs = RETRY_DELAYS_MS } = this.#parts;
    const milliseconds = retryDelaysMs[Math.min(attempt, retryDelaysMs.length - 1)] ?? 0;
    if (this.#wake.signal.aborted) this.#wake = new AbortController();
    if (this.#isOvertaken() || this.#finishing) return;
    await delay(milliseconds, undefined, { signal: this.#wake.signal, ref: false }).catch(() => undefined);
  }
}

function take(gathered: Gathered, confirmation: Confirmation): void {
  if (confirmation.kind === 'cosignature') gathered.signatures.push(confirmation.signature);
  else gathered.tokens.push(confirmation.token);
}
