import { compareSequences, compareTexts, type Difference, tell } from './difference.ts';

/** Every place where two JSON values differ, in the order of the recorded one. */
export function compareJson(recorded: unknown, replayed: unknown, where = ''): readonly Difference[] {
  if (Object.is(recorded, replayed)) return [];
  if (isNumbers(recorded) && isNumbers(replayed)) {
    return [compareSequences(where, 'element', recorded, replayed)].filter(isFound);
  }
  if (typeof recorded === 'string' && typeof replayed === 'string') {
    return [compareStrings(where, recorded, replayed)].filter(isFound);
  }
  if (Array.isArray(recorded) && Array.isArray(replayed)) return compareLists(recorded, replayed, where);
  if (isObject(recorded) && isObject(replayed)) return compareObjects(recorded, replayed, where);
  return [{ where: where === '' ? 'the answer' : where, recorded: tell(recorded), replayed: tell(replayed) }];
}

function compareLists(
  recorded: readonly unknown[],
  replayed: readonly unknown[],
  where: string,
): readonly Difference[] {
  const length = Math.max(recorded.length, replayed.length);
  return Array.from({ length }, (_, i) => compareJson(recorded[i], replayed[i], `${where}[${i}]`)).flat();
}

function compareObjects(
  recorded: Readonly<Record<string, unknown>>,
  replayed: Readonly<Record<string, unknown>>,
  where: string,
): readonly Difference[] {
  const names = [...new Set([...Object.keys(recorded), ...Object.keys(replayed)])];
  return names.flatMap((name) =>
    compareJson(member(recorded, name), member(replayed, name), where === '' ? name : `${where}.${name}`),
  );
}

function member(object: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** An embedding in base64 is 32-bit floats. */
function compareStrings(where: string, recorded: string, replayed: string): Difference | undefined {
  if (recorded === replayed) return undefined;
  if (!where.endsWith('.embedding')) return compareTexts(where, recorded, replayed);
  return (
    compareSequences(where, 'element', floatsOf(recorded), floatsOf(replayed)) ??
    compareTexts(where, recorded, replayed)
  );
}

function floatsOf(base64: string): Float32Array {
  const bytes = new Uint8Array(Buffer.from(base64, 'base64'));
  return new Float32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
}

function isFound(difference: Difference | undefined): difference is Difference {
  return difference !== undefined;
}

function isNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'number');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
