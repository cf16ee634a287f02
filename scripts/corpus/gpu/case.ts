import { z } from 'zod';
import { casePath, type CaseFile } from '../case.ts';

const GPU_SCHEMA = 'gpu-evidence-case/1';
const ANY_GPU_SCHEMA = /^gpu-evidence-case\//;

const names = z.array(z.string().min(1));
/** For people. */
const note = z.string().optional();

/**
 * The parts of a `case.json` that say what to judge, when, and what must come out; its README lists them. An
 * expectation that is not known here is refused, not passed over.
 */
const caseSchema = z.object({
  schema: z.literal(GPU_SCHEMA),
  id: z.string().min(1),
  evidenceFormat: z.string().min(1),
  files: z.array(z.object({ path: casePath, role: z.string().min(1) })).min(1),
  verifyAt: z.string().nullish(),
  deviceOcspVerifyAt: z.string().nullish(),
  expectedNonceHex: z.string().nullish(),
  facts: z.record(z.string(), z.unknown()).default({}),
  deviceFacts: z.array(z.record(z.string(), z.unknown())).default([]),
  expected: z.strictObject({
    note,
    verdict: z.string().min(1),
    failing: z.union([names, z.record(z.string(), names)]).optional(),
    missing: names.optional(),
    topology: z.string().optional(),
    files: z
      .record(
        z.string(),
        z.union([
          z.strictObject({ verdict: z.string(), failing: names.default([]) }),
          z.strictObject({ parse: z.enum(['ok', 'refuse']) }),
        ]),
      )
      .optional(),
  }),
  variants: z
    .array(
      z.strictObject({
        note,
        /** What was recomputed beside the verdict. */
        checks: z.unknown().optional(),
        id: z.string().min(1),
        change: z.record(z.string(), z.unknown()),
        expected: z.string().min(1),
        failing: names.optional(),
        missing: names.optional(),
      }),
    )
    .default([]),
});

type Parsed = z.infer<typeof caseSchema>;

/** What a case or a variant says must come out, as written. */
export type Stated = Parsed['expected'];
/** A changed copy of a case. What its change means is read when it is judged: one that is not understood spoils it alone. */
export type Variant = Parsed['variants'][number];

/** One case with its bytes, so that it can be judged where there are no files. */
export interface GpuCase extends Omit<Parsed, 'files'> {
  readonly files: readonly CaseFile[];
}

/** Whether a decoded `case.json` is one of the GPU corpus, of whatever version. */
export function isGpuSchema(json: unknown): boolean {
  const isObject = typeof json === 'object' && json !== null && 'schema' in json;
  return isObject && typeof json.schema === 'string' && ANY_GPU_SCHEMA.test(json.schema);
}

/** Reads a decoded `case.json`; `read` gives the bytes of one of its files. Throws for another shape. */
export function parseGpuCase(json: unknown, read: (path: string) => Uint8Array): GpuCase {
  const { data, error } = caseSchema.safeParse(json);
  if (!data) {
    const problems = error.issues.map((issue) => `${issue.path.join('.') || 'case.json'}: ${issue.message}`);
    throw new Error(problems.join('; '));
  }
  const { files, ...rest } = data;
  return { ...rest, files: files.map(({ path, role }) => ({ path, role, bytes: read(path) })) };
}
