import { Gauge, type Registry } from 'prom-client';
import { type Alarm, alarmsOf } from './alarms.ts';
import type { ServiceState } from './state.ts';

/** What one scrape reads: the state is read once for all of its gauges. */
interface Reading {
  readonly state: ServiceState;
  readonly alarms: readonly Alarm[];
}

type Plain = (reading: Reading) => number;
/** One value for each set of labels. */
type Labelled = (reading: Reading) => readonly (readonly [Readonly<Record<string, string>>, number])[];

const flag = (holds: boolean): number => (holds ? 1 : 0);

const PLAIN: Readonly<Record<string, readonly [help: string, read: Plain]>> = {
  simulated: [
    'Whether the hardware is simulated: its evidence proves nothing.',
    ({ state }) => flag(state.hardware === 'SIMULATED'),
  ],
  ready: ['Whether requests are answered; readiness says why not.', ({ state }) => flag(state.ready)],
  evidence_max_age_seconds: [
    'Age of evidence at which signing stops.',
    ({ state }) => state.evidence.max_age_seconds,
  ],
  evidence_failing: [
    'Whether the last collection of evidence failed.',
    ({ state }) => flag(state.evidence.failure !== null),
  ],
  self_check_failing: [
    'Whether the verifier of this service refuses its own evidence.',
    ({ state }) => flag(state.self_check.state === 'failed'),
  ],
  devices: [
    'Devices in the newest evidence document; NaN while there is none.',
    ({ state }) => state.evidence.head?.devices ?? Number.NaN,
  ],
  keyset_generation: ['Generation of the keys in use.', ({ state }) => state.keyset.generation],
  keyset_not_after_timestamp_seconds: [
    'End of the keys in use, seconds since 1970.',
    ({ state }) => state.keyset.not_after,
  ],
  keyset_lifetime_seconds: ['Life of a generation of keys.', ({ state }) => state.keyset.lifetime_seconds],
  log_published_entries: [
    'Entries of the log under its newest checkpoint.',
    ({ state }) => state.log.published,
  ],
  log_failed: ['Whether the log takes no entries.', ({ state }) => flag(state.log.failure !== null)],
  engine_ready: ['Whether the engine runs models.', ({ state }) => flag(state.engine.state === 'ready')],
  requests_waiting: [
    'Requests that have a place and wait for their turn.',
    ({ state }) => state.requests.waiting,
  ],
  request_places: [
    'Requests that may have a place at once; more are refused with 429.',
    ({ state }) => state.requests.places,
  ],
};

const LABELLED: Readonly<Record<string, readonly [help: string, labels: readonly string[], read: Labelled]>> =
  {
    build_info: ['Always 1.', ['version'], ({ state }) => [[{ version: state.software.version }, 1]]],
    model_ready: [
      'Whether a model is served.',
      ['model'],
      ({ state }) => state.models.map(({ id, state: now }) => [{ model: id }, flag(now === 'ready')]),
    ],
    collateral_expires_timestamp_seconds: [
      'When the first statement of a kind ends, seconds since 1970.',
      ['kind'],
      ({ state }) => earliestEnds(state),
    ],
    machine_unusable: [
      '1 for what was found on this machine and could not be used when the service started.',
      ['what'],
      ({ state }) =>
        state.findings.filter(({ state: found }) => found === 'unusable').map(({ what }) => [{ what }, 1]),
    ],
    alarms: [
      'How many things an alarm of the console is about, at least 1; absent where it is not raised.',
      ['code', 'severity'],
      ({ alarms }) =>
        alarms.map(({ code, severity, causes }) => [{ code, severity }, Math.max(1, causes.length)]),
    ],
  };

function earliestEnds({ collateral }: ServiceState): ReturnType<Labelled> {
  const ends = new Map<string, number>();
  for (const { kind, expires_at: end } of collateral?.statements ?? []) {
    if (end !== null) ends.set(kind, Math.min(ends.get(kind) ?? Infinity, end));
  }
  return [...ends].map(([kind, end]) => [{ kind }, end]);
}

/** Registers the figures of the console as metrics. */
export function registerStateMetrics(registry: Registry, readState: () => ServiceState): void {
  let reading: Reading | undefined;
  /** All gauges of a scrape are collected in one turn of the event loop. */
  const read = (): Reading => {
    if (reading) return reading;
    queueMicrotask(() => (reading = undefined));
    const state = readState();
    return (reading = { state, alarms: alarmsOf(state) });
  };
  const registers = [registry];
  for (const [name, [help, value]] of Object.entries(PLAIN)) {
    new Gauge({
      name: `vouchsafe_${name}`,
      help,
      registers,
      collect() {
        this.set(value(read()));
      },
    });
  }
  for (const [name, [help, labelNames, values]] of Object.entries(LABELLED)) {
    new Gauge({
      name: `vouchsafe_${name}`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const [labels, value] of values(read())) this.set(labels, value);
      },
    });
  }
}
