import { describe, expect, test } from '@jest/globals';
import { type AlarmCode, ALARMS, alarmsOf } from '../../../../src/http/monitoring/alarms.ts';
import { Activity } from '../../../../src/http/monitoring/activity.ts';
import { type Sample, Series } from '../../../../src/http/monitoring/series.ts';
import type { CollateralState, ServiceState } from '../../../../src/http/monitoring/state.ts';

const NOW = 1_800_000_000;
const DAY = 86_400;

/** A service of which nothing is to be said. */
const CALM: ServiceState = {
  time: NOW,
  started_at: NOW - DAY,
  software: { name: 'vouchsafe', version: '0.0.0-test' },
  hardware: 'hardware',
  instance: '00'.repeat(16),
  log_origin: 'localhost/vouchsafe/00',
  receipts: true,
  ready: true,
  obstacles: [],
  evidence: {
    head: { seq: 3, digest: '00', collected_at: NOW - 60, age_seconds: 60, log_size: 7, devices: 1 },
    max_age_seconds: 3600,
    epoch_seconds: 60,
    epoch_receipts: 1000,
    uncovered: 0,
    failure: null,
    took: null,
  },
  self_check: { state: 'passed', refusal: null, reason: null, advice: null },
  keyset: { generation: 0, digest: '00', not_after: NOW + 20 * DAY, lifetime_seconds: 30 * DAY },
  log: { entries: 7, published: 7, checkpoint_at: NOW - 60, failure: null },
  engine: { state: 'ready', restarts: 0, pending: 0 },
  models: [
    { id: 'm', tasks: ['embed'], state: 'ready', reason: null, manifest_digest: '00', providers: ['CPU'] },
  ],
  requests: { inside: 0, waiting: 0, places: 100, concurrency: 8, processes: 1 },
  last_minute: { requests: 0, failures: 0 },
  collateral: null,
  anchoring: null,
  archive: null,
  findings: [],
};

const statement = (changes: Partial<CollateralState>): Partial<ServiceState> => ({
  collateral: {
    statements: [
      { kind: 'crl', name: 'of AMD', age_seconds: 60, expires_at: NOW + 9 * DAY, failing: null, ...changes },
    ],
    gaps: [],
  },
});
const model = (changes: Partial<ServiceState['models'][number]>): Partial<ServiceState> => ({
  models: [{ ...CALM.models[0]!, ...changes }],
});
const archive = (state: 'ready' | 'unavailable'): Partial<ServiceState> => ({
  archive: { state, code: undefined, behind: 0, former: 0, content: false },
});
const obstacle = (component: 'evidence' | 'archive' | 'service', code?: string): Partial<ServiceState> => ({
  obstacles: [{ component, reason: 'why', ...(code !== undefined && { code }) }],
});

/** What raises each alarm, and the nearest thing that does not. */
const CASES: Readonly<Record<AlarmCode, readonly [Partial<ServiceState>, Partial<ServiceState>]>> = {
  SIGNING_STOPPED: [obstacle('evidence', 'DEVICES_CHANGED'), obstacle('evidence', 'SELF_CHECK_FAILED')],
  SELF_CHECK_FAILED: [{ self_check: { ...CALM.self_check, state: 'failed' } }, {}],
  ENGINE_DOWN: [{ engine: { ...CALM.engine, state: 'restarting' } }, {}],
  LOG_FAILED: [{ log: { ...CALM.log, failure: 'LOG_ENDED' } }, {}],
  ARCHIVE_CONTENT_FAILED: [obstacle('archive', 'STORE_UNAVAILABLE'), archive('ready')],
  COLLATERAL_EXPIRED: [statement({ expires_at: NOW }), statement({ expires_at: null })],
  EVIDENCE_FAILING: [
    { evidence: { ...CALM.evidence, failure: { code: 'UNKNOWN', advice: undefined } } },
    {
      evidence: { ...CALM.evidence, failure: { code: 'SELF_CHECK_FAILED', advice: undefined } },
      self_check: { ...CALM.self_check, state: 'failed' },
    },
  ],
  EVIDENCE_AGING: [
    { evidence: { ...CALM.evidence, head: { ...CALM.evidence.head!, age_seconds: 2701 } } },
    { evidence: { ...CALM.evidence, head: { ...CALM.evidence.head!, age_seconds: 2699 } } },
  ],
  KEYSET_EXPIRING: [
    { keyset: { ...CALM.keyset, not_after: NOW + 3 * DAY - 1 } },
    { keyset: { ...CALM.keyset, not_after: NOW + 3 * DAY + 1 } },
  ],
  MODEL_REFUSED: [model({ state: 'refused', reason: 'FILE_CHANGED' }), model({ state: 'unavailable' })],
  NO_MODELS: [{ models: [] }, { models: [], engine: { ...CALM.engine, state: 'starting' } }],
  COLLATERAL_MISSING: [statement({ age_seconds: null, expires_at: null }), statement({})],
  COLLATERAL_FAILING: [
    statement({ failing: { code: 'status', advice: 'look', since: NOW } }),
    statement({ age_seconds: null, failing: { code: 'status', advice: 'look', since: NOW } }),
  ],
  COLLATERAL_EXPIRING: [statement({ expires_at: NOW + DAY - 1 }), statement({ expires_at: NOW + DAY })],
  ANCHORING_FAILING: [
    {
      anchoring: {
        entries: 0,
        age_seconds: null,
        pending_seconds: 9,
        failing: [{ name: 'w', code: 'TIMEOUT', advice: 'wait' }],
      },
    },
    { anchoring: { entries: 0, age_seconds: null, pending_seconds: 9, failing: [] } },
  ],
  ARCHIVE_UNAVAILABLE: [archive('unavailable'), archive('ready')],
  QUEUE_FULL: [
    { requests: { ...CALM.requests, inside: 90 } },
    { requests: { ...CALM.requests, inside: 89 } },
  ],
  FAILURES_HIGH: [
    { last_minute: { requests: 100, failures: 5.1 } },
    { last_minute: { requests: 100, failures: 5 } },
  ],
  SERVICE_STOPPING: [obstacle('service'), {}],
  ENGINE_RESTARTED: [{ engine: { ...CALM.engine, restarts: 1 } }, {}],
  MACHINE_UNUSABLE: [
    { findings: [{ what: 'nvml', state: 'unusable', detail: 'no driver' }] },
    { findings: [{ what: 'nvml', state: 'absent', detail: 'no GPU' }] },
  ],
  SELF_CHECK_OFF: [
    { self_check: { ...CALM.self_check, state: 'off' } },
    { self_check: { ...CALM.self_check, state: 'pending' } },
  ],
  SIMULATED: [{ hardware: 'SIMULATED' }, {}],
  RECEIPTS_OFF: [{ receipts: false }, {}],
};

const raised = (changes: Partial<ServiceState>): readonly AlarmCode[] =>
  alarmsOf({ ...CALM, ...changes }).map(({ code }) => code);

describe('alarms', () => {
  test('a calm service has none', () => expect(raised({})).toEqual([]));

  test.each(Object.entries(CASES))('%s', (code, [raises, near]) => {
    expect(raised(raises)).toContain(code);
    expect(raised(near)).not.toContain(code);
  });

  test('the gravest come first', () => {
    const severities = Object.values(ALARMS).map(([severity]) => severity);
    const ranks = severities.map((severity) => ['critical', 'warning', 'notice'].indexOf(severity));
    expect(ranks).toEqual(ranks.toSorted((a, b) => a - b));
  });
});

describe('the samples of the last hour', () => {
  const sample = (at: number): Sample => ({
    ...new Activity().take(1),
    at,
    inside: 0,
    waiting: 0,
    pending: 0,
    uncovered: 0,
  });

  test('are bounded, and are asked for from a number on', () => {
    const series = new Series(3);
    expect(series.page(0)).toEqual({ first: 0, samples: [] });
    for (let at = 0; at < 8; at++) series.add(sample(at));
    const page = (from: number): unknown => {
      const { first, samples } = series.page(from);
      return [first, ...samples.map(({ at }) => at)];
    };
    expect([page(0), page(6), page(8), page(99)]).toEqual([[5, 5, 6, 7], [6, 6, 7], [8], [8]]);
    expect(series.newest(2).map(({ at }) => at)).toEqual([6, 7]);
    expect(series.newest(9).map(({ at }) => at)).toEqual([5, 6, 7]);
  });

  test('have rates per second and percentiles of their own span alone', () => {
    const activity = new Activity();
    for (let i = 1; i <= 100; i++) activity.countRequest(i > 90 ? 500 : 200, i / 1000);
    const usage = new Map([
      ['prompt_tokens', 4],
      ['completion_tokens', 6],
    ]);
    activity.countAnswer({ model: { id: 'm' }, outcome: 'complete', usage });
    const rates = activity.take(5);
    expect(rates).toMatchObject({
      requests: 20,
      failures: 2,
      receipts: 0.2,
      promptTokens: 0.8,
      completionTokens: 1.2,
    });
    expect([Math.round(rates.p50!), Math.round(rates.p99!)]).toEqual([50, 99]);
    expect(activity.take(5)).toMatchObject({ requests: 0, p50: null, p99: null, receipts: 0 });
    expect(activity.take(0)).toMatchObject({ requests: 0 });
  });
});
