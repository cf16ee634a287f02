import * as z from 'zod';
import { fromUtf8 } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { parseJson } from '../../json/strict.ts';
import {
  LABEL,
  MAX_DEVICES,
  readDeviceClaims,
  readOverallClaims,
  type DeviceClaims,
  type DeviceKind,
  type ErrorClaims,
  type OverallClaims,
} from './claims.ts';
import { readShape } from './json.ts';
import { parseCompactJws, type CompactJws } from './jws.ts';

/** Answers seen have up to 7.5 kB for eight devices. */
const MAX_ANSWER_BYTES = 2 * 1024 * 1024;
const OPEN_BRACKET = 0x5b;
const SPACE = [0x20, 0x09, 0x0a, 0x0d];

const answerSchema = z.tuple([
  z.tuple([z.literal('JWT'), z.string()]),
  z.record(z.string().regex(LABEL), z.string()),
]);

interface Token<T> extends CompactJws {
  readonly claims: T;
}

export type OverallToken = Token<OverallClaims>;

export interface DeviceToken extends Token<DeviceClaims | ErrorClaims> {
  /** As the service writes it, such as `GPU-0`. */
  readonly label: string;
  readonly deviceKind: DeviceKind;
  readonly index: number;
}

/** An answer of the service as its bytes say: nothing in it is trusted until `verifyNrasAnswer` returns it. */
export interface NrasAnswer {
  readonly overall: OverallToken;
  /** GPUs first, each kind by its number. Empty where an overall token stands alone. */
  readonly devices: readonly DeviceToken[];
}

/**
 * Parses `[["JWT", overall], {"GPU-0": token, ...}]`, a detached EAT bundle, or the compact text of one token alone.
 * Whoever passes an answer on chooses its tokens; every one of them is bounded before it is decoded.
 */
export function parseNrasAnswer(bytes: Uint8Array): NrasAnswer {
  if (bytes.length > MAX_ANSWER_BYTES) {
    throw new Refusal('MALFORMED', `answer: ${bytes.length} bytes exceed ${MAX_ANSWER_BYTES}`);
  }
  const first = bytes.find((byte) => !SPACE.includes(byte));
  if (first !== OPEN_BRACKET) return { overall: parseOverall(fromUtf8(bytes).trim()), devices: [] };
  const [[, overallText], tokens] = readShape(answerSchema, parseJson(bytes, 'answer'), 'answer');
  const labels = Object.entries(tokens);
  if (labels.length > MAX_DEVICES) {
    throw new Refusal('MALFORMED', `answer: ${labels.length} device tokens exceed ${MAX_DEVICES}`);
  }
  const overall = parseOverall(overallText);
  const devices = labels.map(([label, text]) => parseDevice(label, text, overall.claims));
  return { overall, devices: devices.toSorted(byKindAndIndex) };
}

function parseOverall(text: string): OverallToken {
  const jws = parseCompactJws(text, 'overall token');
  return { ...jws, claims: readOverallClaims(jws.payload) };
}

function parseDevice(label: string, text: string, { version }: OverallClaims): DeviceToken {
  const what = `token ${label}`;
  const jws = parseCompactJws(text, what);
  const [name = '', index] = label.split('-');
  const deviceKind = name === 'GPU' ? 'gpu' : 'switch';
  const claims = readDeviceClaims(jws.payload, deviceKind, version, what);
  return { ...jws, claims, label, deviceKind, index: Number(index) };
}

function byKindAndIndex(a: DeviceToken, b: DeviceToken): number {
  if (a.deviceKind !== b.deviceKind) return a.deviceKind === 'gpu' ? -1 : 1;
  return a.index - b.index;
}
