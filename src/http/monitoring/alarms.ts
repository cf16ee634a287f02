import type { CollateralState, ServiceState } from './state.ts';

export type Severity = 'critical' | 'warning' | 'notice';

/**
 * Every alarm: how grave it is, what it says, and what a person can do. The codes are stable; `alert-rules.yaml` has a
 * rule for each. `critical`: requests are refused, or soon will be. `warning`: something needs a person. `notice`: a
 * setting that nobody should overlook.
 */
export const ALARMS = {
  SIGNING_STOPPED: [
    'critical',
    'Nothing is signed, so nothing is answered.',
    'Follow the advice of the cause. A change of hardware lasts until the service is restarted.',
  ],
  SELF_CHECK_FAILED: [
    'critical',
    'The verifier of this service refuses its own evidence, as clients would.',
    'Look up the code of the refusal, mend what it names, and wait for the next document.',
  ],
  ENGINE_DOWN: [
    'critical',
    'The engine does not run models.',
    'It is restarted by itself. Where that does not help, look at the log of operations for why it ended.',
  ],
  LOG_FAILED: [
    'critical',
    'The log takes no entries.',
    'Look at the disk of data.directory: space, rights, and whether something else writes there. Then restart.',
  ],
  ARCHIVE_CONTENT_FAILED: [
    'critical',
    'Content is to be kept and cannot be, so nothing is answered.',
    'Look at the store of the archive; `vouchsafe archive status` says what it lacks.',
  ],
  COLLATERAL_EXPIRED: [
    'critical',
    'A statement of a vendor is past its end: verifiers refuse evidence that rests on it.',
    'Make the vendor reachable, or bring a newer statement with `vouchsafe collateral fetch`.',
  ],
  EVIDENCE_FAILING: [
    'warning',
    'The last collection of evidence failed; the former document is used until it is too old.',
    'Follow the advice of the cause; it is tried again every minute.',
  ],
  EVIDENCE_AGING: [
    'warning',
    'The evidence should have been renewed by now.',
    'Look at why collection fails. At receipts.maxEvidenceAgeSeconds signing stops.',
  ],
  KEYSET_EXPIRING: [
    'warning',
    'The keys near their end and no new ones follow.',
    'New keys need evidence: mend what keeps it from being made, then POST /v1/keys/rotate.',
  ],
  MODEL_REFUSED: [
    'warning',
    'A model is not served since a restart of the engine.',
    'Compare its files with those that were loaded first, then load it anew.',
  ],
  NO_MODELS: ['warning', 'No model is served.', 'Add one with `vouchsafe models add`, then load it.'],
  COLLATERAL_MISSING: [
    'warning',
    'A statement that verifiers need was never had.',
    'Make the vendor reachable, or bring it with `vouchsafe collateral fetch`.',
  ],
  COLLATERAL_FAILING: [
    'warning',
    'A vendor does not renew a statement; the former one is used.',
    'Follow the advice of the cause: mostly address, proxy or firewall.',
  ],
  COLLATERAL_EXPIRING: [
    'warning',
    'A statement of a vendor ends within a day.',
    'It is renewed by itself where the vendor can be reached: see to that.',
  ],
  ANCHORING_FAILING: [
    'warning',
    'Somebody outside does not confirm heads of the log.',
    'Receipts are issued all the same, but their time rests on this machine. Look at the address and the key of who fails.',
  ],
  ARCHIVE_UNAVAILABLE: [
    'warning',
    'The archive does not follow the log; it catches up by itself.',
    'Look at its database; `vouchsafe archive status` says more.',
  ],
  QUEUE_FULL: [
    'warning',
    'Nine of ten places are taken: soon requests are refused with 429.',
    'Add instances, or raise limits.concurrency and limits.queue.',
  ],
  FAILURES_HIGH: [
    'warning',
    'More than one of twenty requests of the last minute failed on this side.',
    'Look at the log of operations: each failure has its code there.',
  ],
  SERVICE_STOPPING: [
    'notice',
    'The service is stopping.',
    'It answers what it took, makes its last evidence and ends.',
  ],
  ENGINE_RESTARTED: [
    'notice',
    'The engine was restarted since the start.',
    'The log of operations says why it ended.',
  ],
  MACHINE_UNUSABLE: [
    'notice',
    'Something of this machine was found and could not be used when the service started.',
    'Run `vouchsafe doctor`, and follow what it says.',
  ],
  SELF_CHECK_OFF: [
    'notice',
    'Nobody judges the evidence of this service before it is published.',
    'Clients judge for themselves; run `vouchsafe verify` now and then.',
  ],
  SIMULATED: [
    'notice',
    'SIMULATED hardware: the evidence proves nothing.',
    'For development only. Run on a confidential VM.',
  ],
  RECEIPTS_OFF: [
    'notice',
    'Receipts are off: no answer is vouched for.',
    'For benchmarks only. Set receipts.enabled.',
  ],
} as const satisfies Record<string, readonly [Severity, string, string]>;

export type AlarmCode = keyof typeof ALARMS;

/** One thing that an alarm is about. */
export interface AlarmCause {
  /** A model, a statement, a way to evidence; the part of the service otherwise. */
  readonly subject: string;
  /** Stable code of the room that it comes from, where there is one. */
  readonly code: string | null;
  readonly advice: string | null;
}

export interface Alarm {
  readonly code: AlarmCode;
  readonly severity: Severity;
  readonly summary: string;
  readonly advice: string;
  /** Empty where there is nothing to name. */
  readonly causes: readonly AlarmCause[];
}

const EXPIRING_SECONDS = 86_400;
/** Part of the life of evidence after which it should be new: it is renewed from a half on. */
const AGING = 3 / 4;
/** Keys are followed by others when a fifth of their life is left. */
const KEYSET_LEFT = 0.1;
const QUEUE_PART = 0.9;
const FAILING_PART = 0.05;

/** What an alarm is about, or whether it is raised where there is nothing to name. */
type Finder = (state: ServiceState) => readonly AlarmCause[] | boolean;

const about = (subject: string, code: string | null = null, advice: string | null = null): AlarmCause => ({
  subject,
  code,
  advice,
});

const when = (condition: boolean, cause: AlarmCause): readonly AlarmCause[] => (condition ? [cause] : []);

function stops({ obstacles }: ServiceState, component: string): readonly AlarmCause[] {
  return obstacles
    .filter((obstacle) => obstacle.component === component)
    .map(({ code = null, reason, advice = null }) => about(reason, code, advice));
}

function statements(
  { collateral }: ServiceState,
  holds: (statement: CollateralState) => boolean,
): readonly AlarmCause[] {
  return (collateral?.statements ?? []).filter(holds).map(({ kind, name, failing }) => {
    return about(`${kind} ${name}`, failing?.code ?? null, failing?.advice ?? null);
  });
}

/** Seconds that are left of a statement; infinite where it states no end. */
function left({ expires_at: end }: CollateralState, { time }: ServiceState): number {
  return end === null ? Infinity : end - time;
}

/** When each alarm is raised, and what it is about. */
const FINDERS: Readonly<Record<AlarmCode, Finder>> = {
  SIGNING_STOPPED: (state) =>
    stops(state, 'evidence').filter(({ code }) => code !== 'SELF_CHECK_FAILED' && code !== 'STOPPING'),
  SELF_CHECK_FAILED: ({ self_check: { state, refusal, reason, advice } }) =>
    when(state === 'failed', about(reason ?? 'evidence', refusal, advice)),
  ENGINE_DOWN: ({ engine }) => when(engine.state !== 'ready', about(`the engine is ${engine.state}`)),
  LOG_FAILED: ({ log }) => when(log.failure !== null, about('log', log.failure)),
  ARCHIVE_CONTENT_FAILED: (state) => stops(state, 'archive'),
  COLLATERAL_EXPIRED: (state) => statements(state, (one) => left(one, state) <= 0),
  EVIDENCE_FAILING: ({ evidence: { failure }, self_check: check }) =>
    failure && check.state !== 'failed' ? [about('evidence', failure.code, failure.advice ?? null)] : [],
  EVIDENCE_AGING: ({ evidence: { head, max_age_seconds: most } }) =>
    head !== null && head.age_seconds > AGING * most,
  KEYSET_EXPIRING: ({ keyset, time }) =>
    when(
      keyset.not_after - time < KEYSET_LEFT * keyset.lifetime_seconds,
      about(`generation ${keyset.generation}`),
    ),
  MODEL_REFUSED: ({ models }) =>
    models.filter(({ state }) => state === 'refused').map(({ id, reason }) => about(id, reason)),
  NO_MODELS: ({ models, engine }) => models.length === 0 && engine.state === 'ready',
  COLLATERAL_MISSING: (state) => statements(state, ({ age_seconds: age }) => age === null),
  COLLATERAL_FAILING: (state) =>
    statements(state, ({ age_seconds: age, failing }) => age !== null && failing !== null),
  COLLATERAL_EXPIRING: (state) =>
    statements(state, (one) => left(one, state) > 0 && left(one, state) < EXPIRING_SECONDS),
  ANCHORING_FAILING: ({ anchoring }) =>
    (anchoring?.failing ?? []).map(({ name, code, advice }) => about(name, code, advice)),
  ARCHIVE_UNAVAILABLE: ({ archive }) =>
    when(archive?.state === 'unavailable', about('archive', archive?.code ?? null)),
  QUEUE_FULL: ({ requests: { inside, places } }) =>
    when(inside >= QUEUE_PART * places, about(`${inside} of ${places} places`)),
  FAILURES_HIGH: ({ last_minute: { requests, failures } }) => failures > FAILING_PART * requests,
  MACHINE_UNUSABLE: ({ findings }) =>
    findings
      .filter(({ state }) => state === 'unusable')
      .map(({ what, fix = null }) => about(what, null, fix)),
  SERVICE_STOPPING: ({ obstacles }) =>
    obstacles.some(({ component, code }) => component === 'service' || code === 'STOPPING'),
  ENGINE_RESTARTED: ({ engine }) => when(engine.restarts > 0, about(`${engine.restarts} times`)),
  SELF_CHECK_OFF: ({ self_check: { state } }) => state === 'off',
  SIMULATED: ({ hardware }) => hardware === 'SIMULATED',
  RECEIPTS_OFF: ({ receipts }) => !receipts,
};

/** The alarms that are raised, the gravest first. Codes and names only: nothing of a request. */
export function alarmsOf(state: ServiceState): readonly Alarm[] {
  return (Object.keys(ALARMS) as AlarmCode[]).flatMap((code) => {
    const found = FINDERS[code](state);
    const causes = typeof found === 'boolean' ? [] : found;
    if (found !== true && causes.length === 0) return [];
    const [severity, summary, advice] = ALARMS[code];
    return [{ code, severity, summary, advice, causes }];
  });
}
