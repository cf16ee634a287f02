import type { GpuCase, Stated, Variant } from './case.ts';

/** The part of a device that must pass, where the rest is not said. */
export type Part = 'everything' | 'device' | 'driver' | 'vbios' | 'bios';

export type Expectation =
  | { readonly kind: 'accept'; readonly part: Part }
  | { readonly kind: 'refuse'; readonly failing: readonly string[] }
  /** Roles of the manifests that are not there. */
  | { readonly kind: 'not judged'; readonly missing: readonly string[] }
  | { readonly kind: 'by file'; readonly files: ReadonlyMap<string, FileExpectation> }
  | { readonly kind: 'not evidence' };

export type FileExpectation =
  | { readonly kind: 'accept' }
  | { readonly kind: 'refuse'; readonly failing: readonly string[] }
  /** Of the payload alone: as a manifest a fragment is always refused. */
  | { readonly kind: 'payload'; readonly parses: boolean };

/** What a case expects. Throws for a verdict that is not known. */
export function expectationOf({ expected }: GpuCase): Expectation {
  const { verdict, failing, files } = expected;
  if (verdict === 'n/a') return { kind: 'not evidence' };
  if (verdict === 'per file') {
    if (!files) throw new Error('the case states no verdict of its files');
    return { kind: 'by file', files: new Map(Object.entries(files).map(fileExpectation)) };
  }
  if (failing && !Array.isArray(failing)) {
    if (verdict !== 'fail') throw new Error(`the verdict «${verdict}» has failing checks by file`);
    const byFile = Object.entries(failing);
    return {
      kind: 'by file',
      files: new Map(byFile.map(([path, names]) => [path, { kind: 'refuse', failing: names }] as const)),
    };
  }
  return verdictOf(verdict, failing ?? [], expected.missing ?? []);
}

type StatedFile = readonly [string, NonNullable<Stated['files']>[string]];

function fileExpectation([path, stated]: StatedFile): readonly [string, FileExpectation] {
  if ('parse' in stated) return [path, { kind: 'payload', parses: stated.parse === 'ok' }];
  const { kind, ...rest } = verdictOf(stated.verdict, stated.failing, []);
  if (kind === 'accept') return [path, { kind }];
  if ('failing' in rest) return [path, { kind: 'refuse', failing: rest.failing }];
  throw new Error(`the verdict «${stated.verdict}» of ${path} is not understood`);
}

/** What a variant expects; what is missing it has in common with its case. */
export function expectationOfVariant(
  { expected, failing, missing }: Variant,
  { expected: ofCase }: GpuCase,
): Expectation {
  return verdictOf(expected, failing ?? [], missing ?? ofCase.missing ?? []);
}

const PASSES = /^(device evidence|(driver|vbios|bios) part) passes$/;

function verdictOf(verdict: string, failing: readonly string[], missing: readonly string[]): Expectation {
  if (verdict !== 'fail' && failing.length > 0) {
    throw new Error(`the verdict «${verdict}» has failing checks`);
  }
  if (verdict === 'pass') return { kind: 'accept', part: 'everything' };
  if (verdict === 'fail') return { kind: 'refuse', failing };
  if (verdict === 'indeterminate') return { kind: 'not judged', missing };
  const [whole, , part] = PASSES.exec(verdict) ?? [];
  if (whole === undefined) throw new Error(`the verdict «${verdict}» is not known`);
  return { kind: 'accept', part: (part as Part | undefined) ?? 'device' };
}

/** What a case says of its devices as one machine. */
export type TopologyExpectation = 'not asked' | 'pass' | 'fail' | 'fail when demanded';

const WHEN_DEMANDED = /^fail when PPCIE topology is demanded(?: \(.*\))?$/;

export function topologyOf({ expected: { topology } }: GpuCase): TopologyExpectation {
  if (topology === undefined) return 'not asked';
  if (topology === 'pass' || topology === 'fail') return topology;
  if (WHEN_DEMANDED.test(topology)) return 'fail when demanded';
  throw new Error(`the topology «${topology}» is not understood`);
}
