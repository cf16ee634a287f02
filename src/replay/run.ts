import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import type { Engine } from '../engine/engine.ts';
import { type InferencePath, INFERENCE_ROUTES } from '../http/inferenceRoutes.ts';
import { JSON_LENGTH_HEADER } from '../http/tensorFraming.ts';
import { ServiceError } from '../http/errors.ts';
import { Vouched } from '../http/vouched.ts';
import type { ReceiptDraft } from '../receipts/draft.ts';
import { ReplayError } from './errors.ts';
import type { Recorded, RecordedAnswer } from './recorded.ts';
import { RecordingReply } from './recordingReply.ts';
import { matchRoute } from './route.ts';
import { seedEngine, type Tokens } from './seeded.ts';

/** What came of running a recorded request again. */
export interface Rerun {
  readonly answer: RecordedAnswer;
  /** Bytes of JSON at the start of the body, where raw tensors follow. */
  readonly jsonLength: number | undefined;
  /** What a receipt would say of it. */
  readonly said: Pick<ReceiptDraft, 'model' | 'parameters' | 'outcome' | 'reason' | 'usage'>;
  /** Parameters whose value the replay took from the receipt. */
  readonly taken: readonly string[];
  readonly generations: readonly Tokens[];
  /** Rows that the request brought to each run of tensors; undefined where its tensors disagree. */
  readonly tensorRows: readonly (number | undefined)[];
}

const EVIDENCE = { seq: 0, digest: new Uint8Array(32), encoded: new Uint8Array(0), logSize: 0, serials: [] };

/** Runs a recorded request through the code that serves requests: route, engine, form of the answer. */
export async function rerun(
  { claims, k, request }: Recorded,
  engine: Engine,
  routes: readonly InferencePath[] = INFERENCE_ROUTES,
): Promise<Rerun> {
  const found = claims.method === 'POST' ? matchRoute(routes, claims.path) : undefined;
  if (!found) throw new ReplayError('ROUTE_UNKNOWN', `no API answers ${claims.method} ${claims.path} here`);
  const seed = drawnSeed(claims, request);
  const seeded = seedEngine(engine, seed);
  const reply = new RecordingReply();
  let draft: ReceiptDraft | undefined;
  const vouched = makeVouched(seeded.engine, { id: claims.id, k }, (made) => (draft = made));
  const { nonce, channel, method, path } = claims;
  const jsonLength = countOf(claims.parameters.get(JSON_LENGTH_HEADER));
  const received = { method, path, params: found.params, bytes: request, jsonLength, nonce };
  const asked = { ...received, fresh: false, channel, tenant: undefined };
  const lifespan = { signal: new AbortController().signal, gone: false, failure: undefined };
  await running(() => vouched.serve(found.route, asked, reply, lifespan));
  if (!draft) throw new ReplayError('RUN_FAILED', 'the route gave no answer');
  if (draft.outcome === 'error' || draft.outcome === 'aborted') {
    throw new ReplayError('RUN_FAILED', `the run ended early: ${draft.reason ?? draft.outcome}`);
  }
  return {
    answer: reply.streamed ? { kind: 'stream', chunks: reply.chunks } : { kind: 'body', bytes: reply.body },
    jsonLength: reply.jsonLength,
    said: draft,
    taken: seed === undefined ? [] : ['seed'],
    generations: seeded.generations,
    tensorRows: seeded.tensorRows,
  };
}

function makeVouched(
  engine: Engine,
  identity: { readonly id: Uint8Array; readonly k: Uint8Array },
  keep: (draft: ReceiptDraft) => void,
): Vouched {
  return new Vouched({
    engine,
    admission: { start: () => Promise.resolve(), finish: () => undefined },
    vouching: {
      head: EVIDENCE,
      requireIssuing: () => undefined,
      issue: (draft) => {
        keep(draft);
        return Promise.resolve({ id: draft.id, index: 0, cited: EVIDENCE, encoded: new Uint8Array(0) });
      },
      covered: () => Promise.resolve(),
    },
    receipts: true,
    onUnexpected: () => undefined,
    onIssued: () => undefined,
    identify: () => identity,
  });
}

async function running(run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    throw new ReplayError('RUN_FAILED', `${error.code}: ${error.message}`);
  }
}

/** The seed that the service drew: the receipt states one and the request none. */
function drawnSeed({ parameters }: ReceiptClaims, request: Uint8Array): number | undefined {
  const text = parameters.get('seed');
  if (typeof text !== 'string' || !/^-?\d{1,16}$/.test(text)) return undefined;
  return statesSeed(request) ? undefined : Number(text);
}

/** The APIs take a seed as a member of the request or of its `parameters`. */
function statesSeed(request: Uint8Array): boolean {
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(request).toString());
  } catch {
    return false;
  }
  const { parameters } = (body ?? {}) as { readonly parameters?: unknown };
  return [body, parameters].some((holder) => typeof memberOf(holder, 'seed') === 'number');
}

function memberOf(holder: unknown, name: string): unknown {
  return typeof holder === 'object' && holder !== null && Object.hasOwn(holder, name)
    ? (holder as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

function countOf(text: string | Uint8Array | undefined): number | undefined {
  return typeof text === 'string' && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}
