import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import type { Engine, LoadedModel } from '../engine/engine.ts';
import { type InferencePath, INFERENCE_ROUTES } from '../http/inferenceRoutes.ts';
import { manifestDigest } from '../models/manifest.ts';
import { compareAnswers } from './compareAnswers.ts';
import { ABSENT, type Difference, MAX_TOLD, tell } from './difference.ts';
import { compareManifests, type ManifestDifference, parseManifest } from './manifest.ts';
import type { Recorded } from './recorded.ts';
import { ReplayError } from './errors.ts';
import { rerun, type Rerun } from './run.ts';
import type { Tokens } from './seeded.ts';
import { isRowCount, type SharedRun, SHARED_ROWS, sharedRunOf } from './sharedRun.ts';

/** Whether the model that ran is the one that the receipt names. */
export interface ModelComparison {
  readonly equal: boolean;
  /** Manifest digests, lower-case hex. */
  readonly recorded: string;
  readonly loaded: string;
  /** What differs; undefined where the recorded manifest itself is not known. */
  readonly differences: readonly ManifestDifference[] | undefined;
}

/** What came of a replay. */
export interface Replay {
  /** The same model gave the same answer. */
  readonly equal: boolean;
  readonly model: ModelComparison;
  /** The answers are the same byte by byte, apart from the time at which they were made. */
  readonly answerEqual: boolean;
  /** Bytes that were compared, of the recorded answer. */
  readonly bytes: number;
  /** The first places where the answers, or what the receipt says of them, differ. */
  readonly differences: readonly Difference[];
  /** All such places. */
  readonly differenceCount: number;
  /** Seed that the service drew and the receipt states; undefined where the request had one, or none was needed. */
  readonly seed: string | undefined;
  /** The run that the answer shared with other requests; undefined where the receipt states none. */
  readonly sharedRun: SharedRun | undefined;
}

/** Runs a recorded exchange again with the model of this engine, and says where the answers differ. */
export async function replay(
  recorded: Recorded,
  engine: Engine,
  manifest?: Uint8Array,
  routes: readonly InferencePath[] = INFERENCE_ROUTES,
): Promise<Replay> {
  const { claims } = recorded;
  if (manifest && !equalBytes(manifestDigest(manifest), claims.manifestDigest)) {
    throw new ReplayError('MANIFEST_MISMATCH', 'the manifest is not the one whose digest the receipt states');
  }
  const run = await rerun(recorded, engine, routes);
  const model = compareModel(claims, run.said.model, engine.models.get(claims.model), manifest);
  const recordedLength = lengthOf(claims, run);
  const answers = compareAnswers({ answer: recorded.answer, jsonLength: recordedLength }, run);
  const all = [...answers, ...compareSaid(claims, run)].map((difference) => withToken(difference, run));
  return {
    equal: model.equal && all.length === 0,
    model,
    answerEqual: answers.length === 0,
    bytes: countBytes(recorded),
    differences: all.slice(0, MAX_TOLD),
    differenceCount: all.length,
    seed: run.taken.includes('seed') ? String(claims.parameters.get('seed')) : undefined,
    sharedRun: sharedRunOf(claims.parameters, run),
  };
}

/** The receipt says where the JSON of the answer ends. */
function lengthOf({ parameters }: ReceiptClaims, { jsonLength }: Rerun): number | undefined {
  const text = parameters.get('response-inference-header-content-length');
  if (text === undefined) return undefined;
  return typeof text === 'string' && /^\d{1,10}$/.test(text) ? Number(text) : jsonLength;
}

/** Names what differs, where the recorded manifest is given. */
export function compareModel(
  { manifestDigest: recorded }: Pick<ReceiptClaims, 'manifestDigest'>,
  { manifestDigest: ran }: { readonly manifestDigest: Uint8Array },
  loaded: Pick<LoadedModel, 'manifest'> | undefined,
  manifest: Uint8Array | undefined,
): ModelComparison {
  const known = manifest && loaded;
  return {
    equal: equalBytes(recorded, ran),
    recorded: toHex(recorded),
    loaded: toHex(ran),
    differences: known && compareManifests(parseManifest(manifest), parseManifest(loaded.manifest)),
  };
}

/** Where what the receipt says beside the answer is not what this run would say. */
function compareSaid(claims: ReceiptClaims, run: Rerun): readonly Difference[] {
  const { said, taken } = run;
  // What company an answer had is no part of it, where the receipt can be right about it.
  const left = isRowCount(claims.parameters.get(SHARED_ROWS), run) ? [...taken, SHARED_ROWS] : taken;
  const outcome = (value: Pick<ReceiptClaims, 'outcome' | 'reason'>): string =>
    value.reason === undefined ? value.outcome : `${value.outcome}: ${value.reason}`;
  const applied = (parameters: ReceiptClaims['parameters']): ReadonlyMap<string, string | number> =>
    new Map([...parameters].flatMap(([name, value]) => (left.includes(name) ? [] : [[name, plain(value)]])));
  return [
    ...compareMaps('', new Map([['outcome', outcome(claims)]]), new Map([['outcome', outcome(said)]])),
    ...compareMaps('parameter ', applied(claims.parameters), applied(said.parameters)),
    ...compareMaps('usage ', claims.usage, said.usage),
  ];
}

const plain = (value: string | Uint8Array): string => (typeof value === 'string' ? value : toHex(value));

function compareMaps(
  kind: string,
  recorded: ReadonlyMap<string, string | number>,
  replayed: ReadonlyMap<string, string | number>,
): readonly Difference[] {
  const told = (value: string | number | undefined): string => (value === undefined ? ABSENT : tell(value));
  return [...new Set([...recorded.keys(), ...replayed.keys()])]
    .filter((name) => recorded.get(name) !== replayed.get(name))
    .map((name) => ({
      where: `receipt: ${kind}${name}`,
      recorded: told(recorded.get(name)),
      replayed: told(replayed.get(name)),
    }));
}

/** Says at which token a text parts, where one generation made it. */
function withToken(difference: Difference, { generations }: Rerun): Difference {
  const { position, where } = difference;
  const [tokens, ...others] = generations;
  if (position?.unit !== 'character' || !tokens || others.length > 0) return difference;
  if (!/(?:text|content)$/.test(where)) return difference;
  return { ...difference, token: tokenAt(tokens, position.index) };
}

/** Number of the token that has this character of the text. */
function tokenAt(tokens: Tokens, character: number): number {
  let end = 0;
  for (const [i, text] of tokens.entries()) {
    end += Array.from(text).length;
    if (character < end) return i;
  }
  return tokens.length;
}

function countBytes({ answer }: Recorded): number {
  if (answer.kind === 'body') return answer.bytes.length;
  return answer.chunks.reduce((sum, { length }) => sum + length, 0);
}
