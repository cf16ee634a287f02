import { z } from 'zod';
import { casePath } from '../case.ts';

/** What a case of a launch expects, in the words of its corpus. */
const verdict = z.enum(['digest', 'registers', 'table', 'bytes', 'refuse']);

/** The parts of a `case.json` that say what to compute and what must come out. */
const caseSchema = z.object({
  id: z.string().min(1),
  files: z.array(z.object({ path: casePath })),
  inputs: z.record(z.string(), z.unknown()),
  expected: z.looseObject({ verdict, reasons: z.array(z.string()).default([]) }),
});

/** One case with its bytes, so that it can be judged where there are no files. */
export interface LaunchCase {
  readonly id: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly verdict: z.infer<typeof verdict>;
  /** Naming any of them is right. */
  readonly reasons: readonly string[];
  readonly expected: Readonly<Record<string, unknown>>;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** True for the corpus of launch measurements: its cases have inputs, and no format. */
export function isLaunchSchema(json: unknown): boolean {
  return typeof json === 'object' && json !== null && 'inputs' in json && !('format' in json);
}

/** Where a case names firmware of a package instead of a file. */
const packageSchema = z.object({ file: casePath, sha256: z.string().regex(/^[0-9a-f]{64}$/) });

/** Firmware that the case has from a package of a distribution; undefined where it has its own. */
export function packagedFirmware({ inputs }: LaunchCase): z.infer<typeof packageSchema> | undefined {
  return 'firmwarePackage' in inputs ? packageSchema.parse(inputs['firmwarePackage']) : undefined;
}

/** Reads a decoded `case.json`; `read` gives the bytes of one of its files. Throws for another shape. */
export function parseLaunchCase(json: unknown, read: (path: string) => Uint8Array): LaunchCase {
  const { id, files, inputs, expected } = caseSchema.parse(json);
  const { verdict: kind, reasons, ...values } = expected;
  return {
    id,
    inputs,
    verdict: kind,
    reasons,
    expected: values,
    files: new Map(files.map(({ path }) => [path, read(path)])),
  };
}
