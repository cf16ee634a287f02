import { z } from 'zod';

const verdict = z.enum(['accept', 'refuse']);

/** Of a file in the folder of the case or below: a case from elsewhere must not read other files of this machine. */
export const casePath = z
  .string()
  .regex(/^(?!\/)(?!.*(?:^|\/)\.\.?(?:\/|$))[^\\\0]+$/, 'expected a path below the folder of the case');

/** The parts of a `case.json` that say what to judge, when, and what must come out. */
const caseSchema = z.object({
  id: z.string().min(1),
  format: z.string().min(1),
  files: z.array(z.object({ path: casePath, role: z.string() })),
  verifyAt: z.string().nullable(),
  expected: z.object({ verdict, reasons: z.array(z.string()) }),
  alsoAt: z.array(z.object({ at: z.string(), verdict, reasons: z.array(z.string()) })).default([]),
  facts: z.record(z.string(), z.unknown()).default({}),
});

/** What a case expects at one instant. */
export interface Expectation {
  /** Milliseconds since 1970; undefined where time plays no part. */
  readonly at: number | undefined;
  readonly verdict: 'accept' | 'refuse';
  /** Naming any of them is right; naming another is not. */
  readonly reasons: readonly string[];
}

export interface CaseFile {
  readonly path: string;
  readonly role: string;
  readonly bytes: Uint8Array;
}

/** One case with its bytes, so that it can be judged where there are no files. */
export interface CorpusCase {
  readonly id: string;
  readonly format: string;
  readonly files: readonly CaseFile[];
  readonly expectations: readonly Expectation[];
  /**
   * What the case says of its evidence. Judges take from here what the asker of the evidence knows: the nonce, the
   * report data, and for a log without a quote the registers that it must lead to.
   */
  readonly facts: Readonly<Record<string, unknown>>;
  /** DER certificates that the cases of the corpus share. */
  readonly authorities: readonly Uint8Array[];
}

/** Reads a decoded `case.json`; `read` gives the bytes of one of its files. Throws for another shape. */
export function parseCase(
  json: unknown,
  read: (path: string) => Uint8Array,
  authorities: readonly Uint8Array[],
): CorpusCase {
  const { id, format, files, facts, ...rest } = readShape(json);
  const expectations = [{ at: rest.verifyAt, ...rest.expected }, ...rest.alsoAt];
  return {
    id,
    format,
    facts,
    authorities,
    files: files.map(({ path, role }) => ({ path, role, bytes: read(path) })),
    expectations: expectations.map(({ at, verdict: expected, reasons }) => ({
      at: at === null ? undefined : instant(at),
      verdict: expected,
      reasons,
    })),
  };
}

function readShape(json: unknown): z.infer<typeof caseSchema> {
  const { data, error } = caseSchema.safeParse(json);
  if (data) return data;
  const problems = error.issues.map((issue) => `${issue.path.join('.') || 'case.json'}: ${issue.message}`);
  throw new Error(problems.join('; '));
}

function instant(text: string): number {
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new Error(`${text} is no instant`);
  return time;
}
