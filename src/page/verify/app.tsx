import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Devices, Measurements, Statements, Timeline } from './factsView.tsx';
import { failureOf } from './failure.ts';
import { Form, readFiles } from './form.tsx';
import { Picture } from './picture.tsx';
import type { Answer, DeviceFacts, Failure, Report, Subject } from './protocol.ts';
import { NO_SETTINGS, requestOf, type Settings } from './settings.ts';
import { ThemeButton } from './theme.tsx';
import { Banner, CheckList, Limits, spokenVerdict } from './verdictView.tsx';
import { Verifier } from './verifier.ts';

type Outcome =
  | { readonly phase: 'idle' }
  | { readonly phase: 'working' }
  | { readonly phase: 'failed'; readonly failure: Failure }
  | {
      readonly phase: 'judged';
      readonly report: Report;
      readonly devices: readonly DeviceFacts[] | undefined;
    };

/** The whole page. `code` is the text of the worker. */
export function App({ code, origin }: { readonly code: string; readonly origin: string | undefined }) {
  const [settings, setSettings] = useState<Settings>(NO_SETTINGS);
  const { outcome, judge } = useVerifier(code, settings);
  useDrops((subject) => judge(subject));
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (outcome.phase === 'judged' || outcome.phase === 'failed') heading.current?.focus();
    // What comes later about the devices must not take the focus away again.
  }, [outcome.phase, outcome.phase === 'judged' ? outcome.report : undefined]);
  return (
    <>
      <header>
        <p class="brand">
          Vouchsafe <span>verifier</span>
        </p>
        <ThemeButton />
      </header>
      <main>
        <h1>May I believe this answer?</h1>
        <p class="lead">
          Checks receipts and hardware evidence in this browser, with the code of{' '}
          <code>vouchsafe verify</code>.
        </p>
        <p class="visually-hidden" role="status" aria-live="polite">
          {spoken(outcome)}
        </p>
        {outcome.phase === 'working' && <p class="working">Checking…</p>}
        {outcome.phase === 'failed' && <FailureView failure={outcome.failure} heading={heading} />}
        {outcome.phase === 'judged' && (
          <>
            <Banner report={outcome.report} heading={heading} />
            {isOnlySimulated(outcome.report) && settings.policy === 'default' && (
              <p class="offer">
                <button type="button" onClick={() => setSettings({ ...settings, policy: 'simulated' })}>
                  Judge under the policy for simulated hardware
                </button>
              </p>
            )}
            <Result report={outcome.report} devices={outcome.devices} />
          </>
        )}
        <Form settings={settings} onSettings={setSettings} onSubject={judge} />
      </main>
      <footer>
        <Origin origin={origin} />
      </footer>
    </>
  );
}

function Result({ report, devices }: { report: Report; devices: readonly DeviceFacts[] | undefined }) {
  return (
    <>
      <div class="overview">
        <Picture report={report} />
        <div>
          <Limits {...report} />
          <Timeline {...report} />
        </div>
      </div>
      <CheckList {...report} />
      <Devices devices={devices} />
      <Measurements {...report} />
      <Statements {...report} />
    </>
  );
}

function FailureView({
  failure,
  heading,
}: {
  failure: Failure;
  heading: { current: HTMLHeadingElement | null };
}) {
  return (
    <section class="banner failure" aria-labelledby="verdict">
      <h2 id="verdict" tabIndex={-1} ref={heading}>
        Nothing was judged
      </h2>
      <p class="code">
        <code>{failure.code}</code> {failure.message}. {failure.advice}
      </p>
    </section>
  );
}

function Origin({ origin }: { readonly origin: string | undefined }) {
  if (origin === undefined) {
    return (
      <p>
        This is a file of yours. It asks nobody for anything unless you name a service. Its verdict is worth
        what your copy of it is worth: take it from a release that you trust.
      </p>
    );
  }
  return (
    <p>
      This copy came from <code>{origin}</code>. Whoever controls that address could give you a page that lies
      about it. To judge that service, save a page from a release that you trust and open it from your disk,
      or use <code>vouchsafe verify</code>.
    </p>
  );
}

function spoken(outcome: Outcome): string {
  switch (outcome.phase) {
    case 'idle':
      return '';
    case 'working':
      return 'Checking.';
    case 'failed':
      return `Nothing was judged: ${outcome.failure.message}.`;
    case 'judged':
      return spokenVerdict(outcome.report);
  }
}

/** Whether another policy is all that stands between the input and a verdict on its simulated hardware. */
function isOnlySimulated({ verdict: { decision, simulated } }: Report): boolean {
  return decision !== 'accepted' && simulated.length > 0;
}

/** Judges whatever is given, and judges it again when the reader chooses another policy. */
function useVerifier(code: string, settings: Settings) {
  const [outcome, setOutcome] = useState<Outcome>({ phase: 'idle' });
  const [subject, setSubject] = useState<Subject>();
  const verifier = useMemo(
    () => new Verifier(code, (answer) => setOutcome((before) => after(before, answer))),
    [code],
  );
  const ask = (given: Subject) => {
    try {
      verifier.judge(requestOf(given, settings, Date.now()));
      setOutcome({ phase: 'working' });
    } catch (error) {
      setOutcome({ phase: 'failed', failure: failureOf(error) });
    }
  };
  useEffect(() => {
    // A service is asked when the reader says so, and at no other time.
    if (subject && 'files' in subject && settings.policy !== 'own') ask(subject);
  }, [settings.policy]);
  const judge = (given: Subject) => {
    setSubject(given);
    ask(given);
  };
  return { outcome, judge };
}

function after(before: Outcome, answer: Answer): Outcome {
  switch (answer.type) {
    case 'report':
      return { phase: 'judged', report: answer.report, devices: undefined };
    case 'devices':
      return before.phase === 'judged' ? { ...before, devices: answer.devices } : before;
    case 'failure':
      // The verdict stands, whatever became of what is shown beside it.
      return before.phase === 'judged' ? before : { phase: 'failed', failure: answer.failure };
  }
}

/** Files and text that are dropped anywhere on the page. */
function useDrops(onSubject: (subject: Subject) => void): void {
  const current = useRef(onSubject);
  current.current = onSubject;
  useEffect(() => {
    const over = (event: DragEvent) => {
      event.preventDefault();
      document.body.classList.add('dragging');
    };
    const end = () => document.body.classList.remove('dragging');
    const drop = (event: DragEvent) => {
      event.preventDefault();
      end();
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length > 0) void readFiles(files).then((read) => current.current({ files: read }));
    };
    const events = [
      ['dragover', over],
      ['dragleave', end],
      ['drop', drop],
    ] as const;
    for (const [name, listener] of events) addEventListener(name, listener as EventListener);
    return () => {
      for (const [name, listener] of events) removeEventListener(name, listener as EventListener);
    };
  }, []);
}
