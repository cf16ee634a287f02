import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Alarms } from './alarms.tsx';
import { Feed } from './feed.tsx';
import { Figures } from './figures.tsx';
import { type Live, useLive } from './live.ts';
import { CollateralTable, DocumentTable, FindingTable, MachineTable, ModelTable } from './tables.tsx';
import { Plots } from './plots.tsx';
import type { Status } from './report.ts';
import { clock, span } from './words.ts';

interface ConsoleProps {
  readonly apiKey: string;
  /** Forgets the key, with the reason where it was refused. */
  readonly onLeave: (why?: string) => void;
}

export function Console({ apiKey, onLeave }: ConsoleProps): JSX.Element {
  const [paused, setPaused] = useState(false);
  const { live, older } = useLive(apiKey, paused);
  const { status, failure } = live;
  const refused = failure?.kind === 'key' || failure?.kind === 'role' ? failure.message : undefined;
  useEffect(() => {
    if (refused !== undefined) onLeave(refused);
  }, [refused]);
  return (
    <>
      <header class="bar">
        <h1>Vouchsafe console</h1>
        {status && <State status={status} />}
        <span class="buttons">
          <button type="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
            {paused ? 'Go on' : 'Pause'}
          </button>
          <button type="button" onClick={() => onLeave()}>
            Sign out
          </button>
        </span>
      </header>
      <main>
        <Trouble live={live} paused={paused} />
        {status ? <Report live={live} status={status} onOlder={older} /> : <p>Asking the service…</p>}
      </main>
    </>
  );
}

/** In words, whatever the colours. */
function State({ status }: { readonly status: Status }): JSX.Element {
  return (
    <span class="state">
      <strong class={status.ready ? 'badge good' : 'badge critical'}>
        {status.ready ? 'Ready' : 'Not ready'}
      </strong>
      {status.hardware === 'SIMULATED' && <strong class="badge warning">SIMULATED hardware</strong>}
      <span>
        {status.software.name} {status.software.version}, up {span(status.time - status.started_at)}
      </span>
    </span>
  );
}

interface TroubleProps {
  readonly live: Live;
  readonly paused: boolean;
}

/** Says that the figures are old. */
function Trouble({ live: { failure, answeredAt }, paused }: TroubleProps): JSX.Element {
  const now = Date.now() / 1000;
  const of = answeredAt === undefined ? '' : ` The figures are of ${clock(answeredAt / 1000, now)}.`;
  return (
    <div role="status">
      {failure && (
        <p class="trouble">
          {failure.message}
          {of}
        </p>
      )}
      {!failure && paused && <p class="trouble">Paused.{of}</p>}
    </div>
  );
}

interface ReportProps {
  readonly live: Live;
  readonly status: Status;
  readonly onOlder: () => void;
}

function Report({ live: { samples, entries }, status, onOlder }: ReportProps): JSX.Element {
  return (
    <>
      <Alarms alarms={status.alarms} />
      <Figures status={status} />
      <Plots samples={samples} places={status.requests.places} />
      <div class="pair">
        <DocumentTable status={status} />
        <ModelTable status={status} />
      </div>
      <MachineTable machine={status.machine} />
      <CollateralTable status={status} />
      <FindingTable findings={status.findings} />
      <Feed entries={entries} now={status.time} onOlder={onOlder} />
      <footer>
        <p>
          Instance <code>{status.instance}</code>, log <code>{status.log_origin}</code>. What is shown here is
          what the service says of itself: run <code>vouchsafe verify</code> to check it.
        </p>
      </footer>
    </>
  );
}
