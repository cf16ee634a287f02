import { z } from 'zod';

/** A JSON file of vectors. */
export interface VectorFile {
  /** Path below the folder that is run, with `/`. */
  readonly path: string;
  readonly json: unknown;
  /** Another JSON file, by its path from this one's folder. */
  readonly sibling: (path: string) => unknown;
}

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;
const BIG_MARK = '\u0000integer:';

/** Parses JSON; integers beyond ±(2^53-1), which `JSON.parse` would round, become BigInt. */
export function parseJson(text: string): unknown {
  const marked = text.replaceAll(TOKEN, (token) =>
    /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token)) ? JSON.stringify(BIG_MARK + token) : token,
  );
  return JSON.parse(marked, (_key, value: unknown) =>
    typeof value === 'string' && value.startsWith(BIG_MARK) ? BigInt(value.slice(BIG_MARK.length)) : value,
  );
}

/** A size or index; what is beyond 2^53-1 becomes a number that no size can be. */
export const sizeSchema = z.union([z.number(), z.bigint()]).transform(Number);

/** Upper or lower case hex, as different sources write it. */
export const hexSchema = z
  .string()
  .regex(/^(?:[0-9a-fA-F]{2})*$/)
  .transform((text) => new Uint8Array(Buffer.from(text, 'hex')));

const listSchema = z.looseObject({ vectors: z.array(z.looseObject({})) });

/** True when the file is a list of vectors of which the first has all these members. */
export function listsMembers(json: unknown, ...members: readonly string[]): boolean {
  const list = listSchema.safeParse(json);
  const first = list.data?.vectors[0];
  return first !== undefined && members.every((member) => Object.hasOwn(first, member));
}

/** True when the file is an object with all these members. */
export function hasMembers(json: unknown, ...members: readonly string[]): boolean {
  return typeof json === 'object' && json !== null && members.every((member) => Object.hasOwn(json, member));
}
