import { equalBytes, utf8 } from '../../attestation/bytes/bytes.ts';
import { compareJson } from './compareJson.ts';
import { compareRawTensors } from './compareTensors.ts';
import { compareByteRuns, type Difference } from './difference.ts';
import type { RecordedAnswer } from './recorded.ts';

/** An answer with what says where its JSON ends. */
export interface FramedRecord {
  readonly answer: RecordedAnswer;
  /** Undefined where all is JSON. */
  readonly jsonLength: number | undefined;
}

/**
 * The clock of the service, which no run repeats. Inside a JSON text a quotation mark has a backslash before it, so
 * nothing that a model writes looks like this member.
 */
const TIME = /"(created|created_at|completed_at)":\d+/g;

/** Where two answers differ, apart from the time at which they were made; none where they are equal byte by byte. */
export function compareAnswers(recorded: FramedRecord, replayed: FramedRecord): readonly Difference[] {
  const [before, now] = [recorded.answer, replayed.answer];
  if (before.kind === 'stream' && now.kind === 'stream') return compareStreams(before.chunks, now.chunks);
  if (before.kind === 'body' && now.kind === 'body') {
    return compareBodies(
      { bytes: before.bytes, jsonLength: recorded.jsonLength },
      { bytes: now.bytes, jsonLength: replayed.jsonLength },
    );
  }
  return [{ where: 'the answer', recorded: `a ${before.kind}`, replayed: `a ${now.kind}` }];
}

interface Body {
  readonly bytes: Uint8Array;
  readonly jsonLength: number | undefined;
}

function compareBodies(recorded: Body, replayed: Body): readonly Difference[] {
  const [before, now] = [partsOf(recorded), partsOf(replayed)];
  if (before.text === now.text && equalBytes(before.tensors, now.tensors)) return [];
  const [a, b] = [parse(before.text), parse(now.text)];
  const told = [
    ...(a === undefined || b === undefined ? [] : compareJson(a, b)),
    ...compareRawTensors({ json: a, tensors: before.tensors }, { json: b, tensors: now.tensors }),
  ];
  return told.length > 0 ? told : bytesOf('the answer', before.text, now.text);
}

function partsOf({ bytes, jsonLength = bytes.length }: Body): { text: string; tensors: Uint8Array } {
  return { text: timeless(bytes.subarray(0, jsonLength)), tensors: bytes.subarray(jsonLength) };
}

/** Bytes one by one as characters, so that no two texts look the same that are not. */
function timeless(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1').replaceAll(TIME, '"$1":0');
}

function parse(latin1: string): unknown {
  try {
    return JSON.parse(Buffer.from(latin1, 'latin1').toString()) as unknown;
  } catch {
    return undefined;
  }
}

function bytesOf(where: string, recorded: string, replayed: string): readonly Difference[] {
  const difference = compareByteRuns(where, utf8(recorded), utf8(replayed));
  return difference ? [difference] : [];
}

/**
 * Chunks of one choice come in order; those of several choices are interleaved as their turns fell, which is no part
 * of an answer.
 */
function compareStreams(
  recorded: readonly Uint8Array[],
  replayed: readonly Uint8Array[],
): readonly Difference[] {
  const [before, now] = [groupsOf(recorded), groupsOf(replayed)];
  const names = [...new Set([...before.keys(), ...now.keys()])];
  return names.flatMap((name) => compareGroups(name, before.get(name) ?? [], now.get(name) ?? []));
}

function groupsOf(chunks: readonly Uint8Array[]): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>();
  for (const chunk of chunks) {
    const text = timeless(chunk);
    const choice = choiceOf(parse(text));
    const name = choice === undefined ? 'chunk' : `choice ${choice}, chunk`;
    const group = groups.get(name);
    if (group) group.push(text);
    else groups.set(name, [text]);
  }
  return groups;
}

function choiceOf(chunk: unknown): number | undefined {
  const { choices } = (chunk ?? {}) as { readonly choices?: unknown };
  const first: unknown = Array.isArray(choices) ? choices[0] : undefined;
  const { index } = (first ?? {}) as { readonly index?: unknown };
  return typeof index === 'number' ? index : undefined;
}

/** Says where the first chunk that differs does, and how many chunks do. */
function compareGroups(
  name: string,
  recorded: readonly string[],
  replayed: readonly string[],
): readonly Difference[] {
  const total = Math.max(recorded.length, replayed.length);
  const places = Array.from({ length: total }, (_, i) => i).filter((i) => recorded[i] !== replayed[i]);
  const [index] = places;
  if (index === undefined) return [];
  const [before = '', now = ''] = [recorded[index], replayed[index]];
  const where = `${name} ${index}`;
  const inside = compareJson(parse(before), parse(now));
  const [first] = inside.length > 0 ? inside : bytesOf(where, before, now);
  if (!first) return [];
  return [
    {
      ...first,
      where: inside.length > 0 ? `${where}: ${first.where}` : where,
      position: { unit: 'chunk', index },
      differing: places.length,
      total,
    },
  ];
}
