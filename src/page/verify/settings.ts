import { PageFailure } from './failure.ts';
import type { PolicyChoice, Request, Subject } from './protocol.ts';

/** What the reader set beside the input; texts are as typed. */
export interface Settings {
  readonly policy: 'default' | 'simulated' | 'own';
  readonly ownPolicy: string;
  readonly nonce: string;
  readonly reportData: string;
  /** ISO 8601; empty for now. */
  readonly at: string;
  /** One `ROLE:SPKI_SHA256` in a line. */
  readonly anchors: string;
  readonly commitmentKey: string;
  readonly request: Uint8Array | undefined;
  readonly response: Uint8Array | undefined;
}

export const NO_SETTINGS: Settings = {
  policy: 'default',
  ownPolicy: '',
  nonce: '',
  reportData: '',
  at: '',
  anchors: '',
  commitmentKey: '',
  request: undefined,
  response: undefined,
};

/** A question to the worker; refuses a time that is none. `now` is what the reader's clock says. */
export function requestOf(subject: Subject, settings: Settings, now: number): Omit<Request, 'id'> {
  const { nonce, reportData, anchors, commitmentKey, request, response } = settings;
  return {
    subject,
    policy: policyOf(settings),
    now: timeOf(settings.at, now),
    nonce,
    reportData,
    anchors: anchors.split(/\s+/).filter((line) => line !== ''),
    exchange: { request, response, commitmentKey: commitmentKey.trim() || undefined },
  };
}

function policyOf({ policy, ownPolicy }: Settings): PolicyChoice {
  if (policy !== 'own') return policy;
  if (ownPolicy.trim() === '') throw new PageFailure('INPUT_INVALID', 'paste your policy, or choose another');
  return { json: ownPolicy };
}

function timeOf(at: string, now: number): number {
  const text = at.trim();
  if (text === '') return now;
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(time)) {
    throw new PageFailure('INPUT_INVALID', 'the judged time is not like 2026-11-21T12:00:00Z');
  }
  return time;
}
