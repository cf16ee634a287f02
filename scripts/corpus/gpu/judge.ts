import type { Check } from '../../../attestation/checks.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { disagreementOf, disagreementOfFiles, failuresOfPart, namedMissing } from './agreement.ts';
import type { GpuCase, Variant } from './case.ts';
import { applyChange } from './change.ts';
import { judgeDevices } from './devices.ts';
import {
  expectationOf,
  expectationOfVariant,
  topologyOf,
  type Expectation,
  type TopologyExpectation,
} from './expectation.ts';
import { checkFormat } from './format.ts';
import { judgeManifests } from './manifests.ts';
import { demandsOf, ownMaterial, type Demands, type Material } from './material.ts';
import { decisionOf, failuresIn, type Failure } from './outcome.ts';
import { disagreement } from './reasons.ts';
import { roleOf } from './roles.ts';
import { judgeTokens } from './tokens.ts';

export type Got = 'accept' | 'refuse' | 'not judged' | 'by file' | 'not evidence' | 'error';

/** A case or one of its variants: what it expects, what we say, and whether the two agree. */
export interface GpuJudgement {
  readonly id: string;
  /** Undefined for the case itself. */
  readonly variant: string | undefined;
  readonly expected: { readonly verdict: string; readonly failing: readonly string[] };
  readonly got: Got;
  /** What failed, in the order of the checks. */
  readonly failures: readonly Failure[];
  /** What else was found, for people. */
  readonly notes: readonly string[];
  /** Why the two do not agree. */
  readonly disagreement: string | undefined;
  readonly agrees: boolean;
}

type Finding = Pick<GpuJudgement, 'got' | 'failures' | 'notes' | 'disagreement'>;

/** Judges a case and each of its variants. Pure: the same function runs in a page. */
export async function judgeGpuCase(
  gpuCase: GpuCase,
  crypto: CryptoProvider,
): Promise<readonly GpuJudgement[]> {
  const judgements = [await judgementOf(gpuCase, undefined, crypto)];
  for (const variant of gpuCase.variants) judgements.push(await judgementOf(gpuCase, variant, crypto));
  return judgements;
}

async function judgementOf(
  gpuCase: GpuCase,
  variant: Variant | undefined,
  crypto: CryptoProvider,
): Promise<GpuJudgement> {
  const found = await findingOr(() => judge(gpuCase, variant, crypto));
  return {
    id: gpuCase.id,
    variant: variant?.id,
    expected: statedBy(gpuCase, variant),
    ...found,
    agrees: found.disagreement === undefined,
  };
}

function statedBy({ expected }: GpuCase, variant: Variant | undefined): GpuJudgement['expected'] {
  if (variant) return { verdict: variant.expected, failing: variant.failing ?? [] };
  const { verdict, failing = [] } = expected;
  const names = Array.isArray(failing) ? failing : Object.values(failing).flat();
  return { verdict, failing: names };
}

/** What the runner does not understand agrees with nothing; other cases and variants are judged all the same. */
async function findingOr(judging: () => Promise<Finding>): Promise<Finding> {
  try {
    return await judging();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { got: 'error', failures: [], notes: [], disagreement: reason };
  }
}

async function judge(
  gpuCase: GpuCase,
  variant: Variant | undefined,
  crypto: CryptoProvider,
): Promise<Finding> {
  const expectation = variant ? expectationOfVariant(variant, gpuCase) : expectationOf(gpuCase);
  if (expectation.kind === 'not evidence') return notEvidence(gpuCase);
  checkFormat(gpuCase.evidenceFormat);
  const own = ownMaterial(gpuCase);
  const demands = demandsOf(own);
  const material = variant ? applyChange(own, variant.change) : own;
  if (demands.kind === 'manifests') return judgeAlone(expectation, material, demands, crypto);
  if (expectation.kind === 'by file') throw new Error('a case of devices has no verdict by file');
  const topology = topologyOf(gpuCase);
  const checks = await checksOf(material, demands, isDemanded(topology, expectation), crypto);
  const reason = disagreementOf(expectation, checks, gpuCase);
  const machine = variant ? {} : await judgeTopology(topology, checks, material, demands, crypto);
  const failures =
    expectation.kind === 'accept' ? failuresOfPart(expectation.part, checks) : failuresIn(checks);
  return {
    got: GOT[decisionOf(failures)],
    failures,
    notes: [...notesOf(expectation, demands, gpuCase), ...(machine.note === undefined ? [] : [machine.note])],
    disagreement: reason ?? machine.disagreement,
  };
}

const GOT = { accepted: 'accept', refused: 'refuse', 'not-judged': 'not judged' } as const;

/** Policies and roots: nothing in such a folder may have the role of evidence. */
function notEvidence({ files, variants }: GpuCase): Finding {
  const evidence = files.find(({ role }) => !['policy', undefined].includes(roleOf(role)));
  if (evidence) throw new Error(`the case is said to be no evidence, and ${evidence.path} is some`);
  if (variants.length > 0) throw new Error('the case is said to be no evidence, and has variants');
  return { got: 'not evidence', failures: [], notes: [], disagreement: undefined };
}

async function judgeAlone(
  expectation: Expectation,
  material: Material,
  demands: Demands,
  crypto: CryptoProvider,
): Promise<Finding> {
  const outcomes = await judgeManifests(material, demands, crypto);
  const failures = outcomes.flatMap((outcome) => outcome.failures);
  const expected = expectation.kind === 'by file' ? expectation.files : forEach(expectation, outcomes);
  return {
    got: expectation.kind === 'by file' ? 'by file' : GOT[decisionOf(failures)],
    failures,
    notes: [],
    disagreement: disagreementOfFiles(expected, outcomes),
  };
}

/** One verdict for a case of manifests is that of each. */
function forEach(expectation: Expectation, outcomes: readonly { readonly path: string }[]) {
  if (
    expectation.kind !== 'refuse' &&
    !(expectation.kind === 'accept' && expectation.part === 'everything')
  ) {
    throw new Error(`manifests alone are not «${expectation.kind}»`);
  }
  return new Map(outcomes.map(({ path }) => [path, expectation]));
}

async function checksOf(
  material: Material,
  demands: Demands,
  demandsTopology: boolean,
  crypto: CryptoProvider,
): Promise<readonly Check[]> {
  const topology = demandsTopology ? 'required' : 'any';
  return [
    ...(demands.kind === 'devices' ? await judgeDevices(material, demands, topology, crypto) : []),
    ...(demands.tokens ? await judgeTokens(material, demands, crypto) : []),
  ];
}

/** A machine is asked for where the case says what comes of it, or a failing check names it. */
function isDemanded(topology: TopologyExpectation, expectation: Expectation): boolean {
  if (topology === 'pass' || topology === 'fail') return true;
  return expectation.kind === 'refuse' && expectation.failing.some((name) => name.startsWith('topology.'));
}

interface MachineFinding {
  readonly note?: string;
  readonly disagreement?: string | undefined;
}

/** Whether the devices are one machine, beside the verdict of the case. */
async function judgeTopology(
  expected: TopologyExpectation,
  checks: readonly Check[],
  material: Material,
  demands: Demands,
  crypto: CryptoProvider,
): Promise<MachineFinding> {
  if (expected === 'not asked') return {};
  const judged = expected === 'fail when demanded' ? await checksOf(material, demands, true, crypto) : checks;
  const found = judged.find(({ id }) => id === 'devices.topology');
  if (!found) throw new Error('the devices are not judged as one machine');
  const note = `topology ${[found.result, ...(found.result === 'pass' ? [] : [found.code])].join(' ')}`;
  if (expected === 'pass') {
    return { note, disagreement: found.result === 'pass' ? undefined : `${note}: ${found.reason}` };
  }
  const failures = failuresIn([found]);
  const reason = failures.length === 0 ? note : disagreement(failures, ['topology.gpuCount'], 'device');
  return { note: `${note}${expected === 'fail' ? '' : ' when demanded'}`, disagreement: reason };
}

function notesOf(expectation: Expectation, demands: Demands, gpuCase: GpuCase): readonly string[] {
  const missing = expectation.kind === 'not judged' ? namedMissing(expectation.missing, gpuCase) : [];
  const part =
    expectation.kind === 'accept' && expectation.part !== 'everything' ? expectation.part : undefined;
  return [
    ...(missing.length > 0 ? [`missing ${missing.join(', ')}`] : []),
    ...(part === undefined ? [] : [`judged: ${part === 'device' ? 'device evidence' : `${part} part`}`]),
    ...(demands.tokens && !demands.keySet ? ['the token is parsed only: the case has no key set'] : []),
  ];
}
