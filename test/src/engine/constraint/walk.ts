import { compileConstraint } from '../../../../src/engine/constraint/constraint.ts';
import type { ConstraintSpec } from '../../../../src/engine/constraint/spec.ts';
import { makeVocabulary, type Vocabulary } from '../../../../src/engine/constraint/vocabulary.ts';
import { uniform } from '../../../../src/engine/sampling.ts';

export const END = 0;
const ENDS = new Set([END]);
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Every byte, and pieces of JSON that cross the borders of its parts. */
export const PIECES = [
  '{"', '": ', '":', '",', ', "', '},', '}}', ']}', '[]', '{}', '"}', '["', '"]', 'true', 'null', 'fal', 'se,',
  '12', '1.', '0.5', '-1', 'e1', '\\u00', '\\n', 'é', '😀', 'ab', 'name', 'kind', '"a":', '  ', '\n', 'aaaa', '-0', '"b', '",  ',
]; // prettier-ignore

export function testVocabulary(pieces: readonly string[] = PIECES): Vocabulary {
  const bytes = new Map<number, Uint8Array>();
  for (let byte = 0; byte < 256; byte++) bytes.set(byte + 1, Uint8Array.of(byte));
  for (const piece of pieces) bytes.set(bytes.size + 1, encoder.encode(piece));
  return makeVocabulary(bytes);
}

export const VOCABULARY = testVocabulary();

/** Whether a text may begin so, byte by byte, and be whole there. */
export function judge(
  spec: ConstraintSpec,
  text: string,
): { readonly prefix: boolean; readonly whole: boolean } {
  const constraint = compileConstraint(spec, VOCABULARY, ENDS);
  try {
    for (const byte of encoder.encode(text)) constraint.accept(byte + 1);
  } catch {
    return { prefix: false, whole: false };
  }
  const logits = new Float32Array(VOCABULARY.size);
  constraint.mask(logits);
  return { prefix: true, whole: logits[END] === 0 };
}

/** A walk over tokens that are allowed, by random logits. After `patience` tokens it wants to end. */
export function walk(
  spec: ConstraintSpec,
  seed: number,
  { vocabulary = VOCABULARY, patience = 60, limit = 2000 } = {},
): string | undefined {
  const constraint = compileConstraint(spec, vocabulary, ENDS);
  const written: number[] = [];
  for (let step = 0; step < limit; step++) {
    if (constraint.complete) break;
    const logits = new Float32Array(vocabulary.size);
    constraint.mask(logits);
    const id = choose(logits, step > patience, seed, step, vocabulary);
    if (id === END) break;
    constraint.accept(id);
    written.push(...vocabulary.bytes.get(id)!);
    if (step === limit - 1) return undefined;
  }
  return decoder.decode(Uint8Array.from(written));
}

/** What closes something, in the order in which a walk that wants to end takes it. */
const CLOSING = ['"', '}', ']', '0', '1', 'l', ':', ','].map((text) => text.charCodeAt(0) + 1);

function choose(
  logits: Float32Array,
  ends: boolean,
  seed: number,
  step: number,
  vocabulary: Vocabulary,
): number {
  const allowed = [...logits.keys()].filter(
    (id) => logits[id] === 0 && (id === END || vocabulary.bytes.has(id)),
  );
  if (allowed.length === 0) throw new Error('nothing may follow');
  if (ends && step % 4 > 0) {
    const closing = [END, ...CLOSING].find((id) => allowed.includes(id));
    if (closing !== undefined) return closing;
  }
  return allowed[Math.floor(uniform(seed, 0, step) * allowed.length)]!;
}
