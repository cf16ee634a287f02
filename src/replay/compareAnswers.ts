import { equalBytes, utf8 } from '../../attestation/bytes/bytes.ts';
import { compareJson } from './compareJson.ts';
import { compareRawTensors } from './compareTensors.ts';
import { ABSENT, compareByteRuns, type Difference, tell } from './difference.ts';
import type { RecordedAnswer } from './recorded.ts';
import { withoutTimes } from './times.ts';

/** An answer with what says where its JSON ends. */
export interface FramedRecord {
  readonly answer: RecordedAnswer;
  /** Undefined where all is JSON. */
  readonly jsonLength: number | undefined;
}

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

/** Bytes one by one as characters, so that no two texts look the same that are not. What is no JSON has no times. */
function timeless(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('latin1');
  return parse(text) === undefined ? text : withoutTimes(text);
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

/** One chunk of a stream. */
interface StreamChunk {
  readonly text: string;
  /** For a chunk that is of no choice: how many that are of one came before it. */
  readonly after: number | undefined;
}

/**
 * Chunks of one choice come in order, and so do those of no choice, such as the usage and `[DONE]`, each behind as many
 * chunks of choices. How the choices are interleaved, as their turns fell, is no part of an answer.
 */
function compareStreams(
  recorded: readonly Uint8Array[],
  replayed: readonly Uint8Array[],
): readonly Difference[] {
  const [before, now] = [groupsOf(recorded), groupsOf(replayed)];
  const names = [...new Set([...before.keys(), ...now.keys()])];
  return names.flatMap((name) => compareGroups(name, before.get(name) ?? [], now.get(name) ?? []));
}

function groupsOf(chunks: readonly Uint8Array[]): ReadonlyMap<string, readonly StreamChunk[]> {
  const groups = new Map<string, StreamChunk[]>();
  let ofChoices = 0;
  for (const chunk of chunks) {
    const text = timeless(chunk);
    const choice = choiceOf(parse(text));
    const name = choice === undefined ? 'chunk' : `choice ${choice}, chunk`;
    const group = groups.get(name) ?? [];
    groups.set(name, group);
    group.push({ text, after: choice === undefined ? ofChoices : undefined });
    if (choice !== undefined) ofChoices++;
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
  recorded: readonly StreamChunk[],
  replayed: readonly StreamChunk[],
): readonly Difference[] {
  const total = Math.max(recorded.length, replayed.length);
  const places = Array.from({ length: total }, (_, i) => i).filter((i) => !isSame(recorded[i], replayed[i]));
  const [index] = places;
  if (index === undefined) return [];
  const first = compareChunks(`${name} ${index}`, recorded[index], replayed[index]);
  return [{ ...first, position: { unit: 'chunk', index }, differing: places.length, total }];
}

function isSame(recorded: StreamChunk | undefined, replayed: StreamChunk | undefined): boolean {
  return recorded?.text === replayed?.text && recorded?.after === replayed?.after;
}

/** How two chunks differ that do. */
function compareChunks(
  where: string,
  recorded: StreamChunk | undefined,
  replayed: StreamChunk | undefined,
): Difference {
  if (recorded && replayed && recorded.text === replayed.text) {
    const place = ({ after }: StreamChunk): string => `behind ${after} chunks of choices`;
    return { where, recorded: place(recorded), replayed: place(replayed) };
  }
  const [before, now] = [recorded, replayed].map((chunk) => chunk && parse(chunk.text));
  const [inside] = before === undefined || now === undefined ? [] : compareJson(before, now);
  if (inside) return { ...inside, where: `${where}: ${inside.where}` };
  const [bytes] = recorded && replayed ? bytesOf(where, recorded.text, replayed.text) : [];
  return bytes ?? { where, recorded: tellChunk(recorded), replayed: tellChunk(replayed) };
}

function tellChunk(chunk: StreamChunk | undefined): string {
  return chunk ? tell(Buffer.from(chunk.text, 'latin1').toString()) : ABSENT;
}
