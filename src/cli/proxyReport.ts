import type { RunningProxy } from '../gateway/proxy/proxy.ts';
import type { ProxyEvent, ProxySettings } from '../gateway/proxy/settings.ts';
import { sayAnchors } from './extraAnchors.ts';
import type { ProxyFlags } from './proxy.ts';
import { defaultArchive } from './proxyFiles.ts';
import { withSpinner } from './spinner.ts';
import { printable, stderr, stdout, wrap } from './terminal.ts';
import { decisionLine, printBadges, printVerdict } from './verdictText.ts';

/** What the proxy says to the person at the terminal, or as lines of JSON to a log. */
export class ProxyReport {
  readonly #flags: ProxyFlags;
  /** Decision of each upstream: a verdict is shown when it changes. */
  readonly #shown = new Map<string, string>();
  readonly #early: ProxyEvent[] = [];
  #isStarting = false;

  constructor(flags: ProxyFlags) {
    this.#flags = flags;
  }

  async starting<T>(work: () => Promise<T>): Promise<T> {
    this.#isStarting = !this.#isJson;
    try {
      return await (this.#isJson ? work() : withSpinner(stderr, 'Asking for evidence and judging it', work));
    } finally {
      this.#isStarting = false;
      for (const event of this.#early.splice(0)) this.event(event);
    }
  }

  started(proxy: RunningProxy, { stream, archive, redactor, apiKey }: ProxySettings): void {
    const { status, url } = proxy;
    if (this.#isJson) {
      this.#json('info', 'listening', { url, ready: status.ready });
      return;
    }
    const { c } = stdout;
    const folder = this.#flags.archive === false ? undefined : (this.#flags.archive ?? defaultArchive());
    const lines: readonly (readonly [string, string])[] = [
      ['proxy', c.bold(`${url}/v1`)],
      ['streams', stream === 'live' ? 'as they come, the verdict last' : 'once verified as a whole'],
      ['receipts', archive && folder !== undefined ? `kept in ${printable(folder)}` : 'not kept'],
      ['API key', apiKey === undefined ? 'each caller’s own' : 'one for all callers'],
      ...(redactor ? ([['redaction', redactor.name]] as const) : []),
      ['status', `${url}/status`],
    ];
    stdout.line();
    for (const [name, value] of lines) stdout.line(`${c.dim(name.padEnd(10))} ${value}`);
    stdout.line();
    if (!status.ready) this.#sayClosed();
  }

  stopping(inFlight: number): void {
    if (this.#isJson) this.#json('info', 'stopping', { inFlight });
    else if (inFlight > 0) {
      stderr.line(stderr.c.dim(`\nstopping: ${inFlight} requests in flight. Once more to end at once.`));
    }
  }

  stopped(): void {
    if (this.#isJson) this.#json('info', 'stopped', {});
    else stderr.line(stderr.c.dim('stopped'));
  }

  readonly event = (event: ProxyEvent): void => {
    // A spinner has the line of the terminal.
    if (this.#isStarting) this.#early.push(event);
    else if (this.#isJson) this.#jsonEvent(event);
    else this.#textEvent(event);
  };

  get #isJson(): boolean {
    return this.#flags.json === true;
  }

  #jsonEvent(event: ProxyEvent): void {
    switch (event.kind) {
      case 'evidence': {
        const { upstream, verdict } = event;
        const { decision, tier, simulated, extraAnchors } = sayAnchors(verdict, this.#flags.anchor);
        const failed = verdict.checks.filter(({ result }) => result === 'fail').map(({ code }) => code);
        const level = decision === 'accepted' ? 'info' : 'error';
        this.#json(level, 'evidence', { upstream, decision, tier, simulated, extraAnchors, failed });
        return;
      }
      case 'fault':
        this.#json('error', 'fault', { reason: reasonOf(event.error) });
        return;
      case 'answer':
      case 'failover':
      case 'failure':
      case 'unavailable': {
        const { kind, ...members } = event;
        this.#json(kind === 'answer' ? 'info' : 'warn', kind, members);
      }
    }
  }

  #json(level: string, event: string, members: object): void {
    stderr.line(JSON.stringify({ timestamp: new Date().toISOString(), level, event, ...members }));
  }

  #textEvent(event: ProxyEvent): void {
    const { c } = stderr;
    switch (event.kind) {
      case 'evidence':
        this.#verdict(event);
        return;
      case 'unavailable':
        // What was refused before is not shown whole at each attempt; what comes back is.
        if (!event.code.startsWith('EVIDENCE_')) this.#shown.delete(event.upstream);
        this.#say(
          c.yellow,
          `${event.upstream}: ${event.code}: ${event.message}. Asking again in ${Math.ceil(event.retryMs / 1000)} s.`,
        );
        return;
      case 'failover':
        this.#say(c.yellow, `${event.upstream}: ${event.code}: asking another upstream`);
        return;
      case 'answer':
        this.#say(c.dim, answerText(event));
        return;
      case 'failure':
        this.#say(c.red, `${event.path} ${event.status} ${event.code}: ${event.message}`);
        return;
      case 'fault':
        this.#say(c.red, `internal error: ${reasonOf(event.error)}`);
    }
  }

  #verdict({ upstream, verdict }: Extract<ProxyEvent, { kind: 'evidence' }>): void {
    const { anchor, verbose = false } = this.#flags;
    const said = sayAnchors(verdict, anchor);
    const shown = `${said.decision} ${said.tier}`;
    if (this.#shown.get(upstream) === shown) return;
    this.#shown.set(upstream, shown);
    stderr.line(stderr.c.bold(printable(upstream)));
    if (verbose || said.decision !== 'accepted') printVerdict(stderr, said, { verbose });
    else {
      printBadges(stderr, said);
      stderr.line(decisionLine(stderr, said));
    }
  }

  #sayClosed(): void {
    const text =
      'No upstream is accepted. Nothing is sent: every request gets 503 with the reason, and the evidence is asked for again.';
    const { c, columns } = stderr;
    for (const line of wrap(text, columns)) stderr.line(c.red(line));
  }

  #say(color: (text: string) => string, text: string): void {
    const time = new Date().toISOString().slice(11, 19);
    stderr.line(`${stderr.c.dim(time)} ${color(printable(text))}`);
  }
}

function answerText({ path, status, receiptId, ms }: Extract<ProxyEvent, { kind: 'answer' }>): string {
  return `${path} ${status} ${receiptId === undefined ? 'without a receipt' : `receipt ${receiptId}`} ${ms} ms`;
}

/** No content: what failed unexpectedly may hold some. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.name : 'unknown';
}
