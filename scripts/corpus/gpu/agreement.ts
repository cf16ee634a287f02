import type { Check } from '../../../attestation/checks.ts';
import { NOT_JUDGED } from '../../../attestation/verdict/verdict.ts';
import type { GpuCase } from './case.ts';
import { REFERENCE_CHECKS } from './devices.ts';
import type { Expectation, FileExpectation, Part } from './expectation.ts';
import type { FileOutcome } from './manifests.ts';
import { decidingOf, decisionOf, failuresIn, type Failure } from './outcome.ts';
import { disagreement } from './reasons.ts';

/** Why checks are not what a case expects; undefined where they are. */
export function disagreementOf(
  expectation: Exclude<Expectation, { kind: 'by file' | 'not evidence' }>,
  checks: readonly Check[],
  gpuCase: GpuCase,
): string | undefined {
  switch (expectation.kind) {
    case 'accept':
      return notAccepted(expectation.part, checks);
    case 'refuse': {
      const failures = failuresIn(checks);
      if (failures.length === 0) return 'nothing fails';
      return disagreement(decidingOf(failures), expectation.failing, 'device');
    }
    case 'not judged':
      return notMissing(expectation.missing, failuresIn(checks), gpuCase);
  }
}

const REFERENCE_OF: Readonly<Record<Exclude<Part, 'everything' | 'device'>, string>> = {
  driver: 'device.driver-reference',
  vbios: 'device.vbios-reference',
  bios: 'device.vbios-reference',
};

/** The failures that count where only a part is said to pass. */
export function failuresOfPart(part: Part, checks: readonly Check[]): readonly Failure[] {
  const failures = failuresIn(checks);
  if (part === 'everything') return failures;
  const ofDevice = failures.filter(({ check }) => check.startsWith('device'));
  if (part === 'device') return ofDevice.filter(({ check }) => !REFERENCE_CHECKS.includes(check));
  const others = Object.values(REFERENCE_OF).filter((id) => id !== REFERENCE_OF[part]);
  return ofDevice.filter(
    ({ check, code }) =>
      !others.includes(check) && !(check === 'device.measurements' && NOT_JUDGED.includes(code)),
  );
}

function notAccepted(part: Part, checks: readonly Check[]): string | undefined {
  const [first] = failuresOfPart(part, checks);
  if (first) return `${first.check} ${first.code} of ${first.subject}: ${first.reason}`;
  if (part === 'everything' || part === 'device') return undefined;
  const own = checks.filter(({ id }) => id === REFERENCE_OF[part]);
  const passes = own.length > 0 && own.every(({ result }) => result === 'pass');
  return passes ? undefined : `the ${part} part is not judged`;
}

interface MissingPart {
  readonly check: Failure['check'];
  readonly kind: 'gpu' | 'switch';
  /** Member of the facts that holds the id. */
  readonly fact: string;
}

const MISSING: Readonly<Record<string, MissingPart>> = {
  'driver-rim': { check: 'device.driver-reference', kind: 'gpu', fact: 'driverRimId' },
  'vbios-rim': { check: 'device.vbios-reference', kind: 'gpu', fact: 'vbiosRimId' },
  'switch-bios-rim': { check: 'device.vbios-reference', kind: 'switch', fact: 'biosRimId' },
};

/**
 * Exactly the stated manifests are missing, each named by the id that the facts of the case state, and nothing else
 * fails. Where none is stated, those that are missing must be named so.
 */
function notMissing(
  missing: readonly string[],
  failures: readonly Failure[],
  gpuCase: GpuCase,
): string | undefined {
  const decision = decisionOf(failures);
  const stated =
    missing.length > 0 ? missing : Object.keys(MISSING).filter((role) => isMissing(role, failures));
  const parts = stated.map(missingPart);
  const isStated = ({ check, subject }: Failure) =>
    check === 'device.measurements' ||
    parts.some((part) => part.check === check && subject.startsWith(part.kind));
  const other = failures.find((failure) => failure.code !== 'REFERENCE_VALUES_MISSING' || !isStated(failure));
  if (other) return `${other.check} ${other.code} of ${other.subject}: ${other.reason}`;
  if (decision !== 'not-judged') return `the decision is ${decision}`;
  const unnamed = parts.flatMap((part) => unnamedIds(part, failures, gpuCase));
  return unnamed.length === 0 ? undefined : `no failure names ${unnamed.join(', ')}`;
}

function isMissing(role: string, failures: readonly Failure[]): boolean {
  const { check, kind } = missingPart(role);
  return failures.some((failure) => failure.check === check && failure.subject.startsWith(kind));
}

function missingPart(role: string): MissingPart {
  const part = Object.hasOwn(MISSING, role) ? MISSING[role] : undefined;
  if (!part) throw new Error(`what is missing, «${role}», is not known`);
  return part;
}

function unnamedIds({ check, kind, fact }: MissingPart, failures: readonly Failure[], gpuCase: GpuCase) {
  const stated = missingIds(fact, gpuCase);
  if (stated.length === 0) throw new Error(`the facts of the case state no ${fact}`);
  const reasons = failures
    .filter((failure) => failure.check === check && failure.subject.startsWith(kind))
    .map(({ reason }) => reason.split(/[\s,;]+/));
  return stated.filter((id) => !reasons.some((words) => words.includes(id)));
}

/** Of one device in `facts`, of the kinds of a set below it, of each device in `deviceFacts`. */
function missingIds(fact: string, { facts, deviceFacts }: GpuCase): readonly string[] {
  const sets = [facts, facts['gpu'], facts['nvswitch'], ...deviceFacts];
  const ids = sets.flatMap((set) => {
    const id = typeof set === 'object' && set !== null ? (set as Record<string, unknown>)[fact] : undefined;
    return typeof id === 'string' ? [id] : [];
  });
  return [...new Set(ids)];
}

/** The ids of everything that the case says is missing, for the line of the case. */
export function namedMissing(missing: readonly string[], gpuCase: GpuCase): readonly string[] {
  return missing.flatMap((role) => missingIds(missingPart(role).fact, gpuCase));
}

/** The same for files that are judged alone. Every file has an expectation, and every expectation a file. */
export function disagreementOfFiles(
  expected: ReadonlyMap<string, FileExpectation>,
  outcomes: readonly FileOutcome[],
): string | undefined {
  const paths = outcomes.map(({ path }) => path);
  const absent = [...expected.keys()].find((path) => !paths.includes(path));
  if (absent !== undefined) return `${absent} is not judged`;
  const found = outcomes.map((outcome) => {
    const expectation = expected.get(outcome.path);
    const reason = expectation ? disagreementOfFile(expectation, outcome) : 'no verdict is stated';
    return reason === undefined ? undefined : `${outcome.path}: ${reason}`;
  });
  return found.find((reason) => reason !== undefined);
}

function disagreementOfFile(
  expectation: FileExpectation,
  { failures, payload }: FileOutcome,
): string | undefined {
  const [first] = failures;
  switch (expectation.kind) {
    case 'accept':
      return first && `${first.code}: ${first.reason}`;
    case 'refuse':
      return first ? disagreement(decidingOf(failures), expectation.failing, 'rim') : 'nothing fails';
    case 'payload':
      if (!first) return 'a fragment is accepted as a manifest';
      if (expectation.parses !== (payload.length === 0)) {
        return expectation.parses
          ? `its payload is refused: ${payload[0]?.reason ?? ''}`
          : 'its payload parses';
      }
      return undefined;
  }
}
