import type { Logger } from 'winston';
import { equalBytes } from '../../attestation/bytes/bytes.ts';
import {
  type CallOptions,
  type Engine,
  EngineError,
  type GeneratedToken,
  type LoadedModel,
  type ModelRunner,
} from '../engine/engine.ts';
import type { Archive } from '../archive/archive.ts';
import { ArchiveError } from '../archive/errors.ts';
import { pinEngine } from '../engine/pinned.ts';
import { toServiceError } from '../http/errors.ts';
import { stackFrames } from '../http/logging.ts';
import type { Metrics } from '../http/metrics.ts';
import type { Vouching } from '../receipts/vouching.ts';
import type {
  Counted,
  Embed,
  Generate,
  HandedModel,
  Infer,
  Inferred,
  Issue,
  Issued,
  Keep,
  SignerState,
} from './calls.ts';
import type { ChannelHandlers, Handler } from './channel.ts';

export interface DeskParts {
  readonly engine: Engine;
  readonly vouching: Vouching;
  readonly archive?: Pick<Archive, 'keep' | 'contentFailure'> | undefined;
  readonly metrics: Pick<Metrics, 'countRequest' | 'countAnswer'>;
  readonly log: Logger;
}

/** What the signing process does for those that serve HTTP: it runs models, issues receipts and counts. */
export function deskHandlers(parts: DeskParts): ChannelHandlers {
  const { vouching, metrics } = parts;
  return {
    calls: logged(parts, {
      infer: (input, signal) => infer(parts, input as Infer, signal),
      embed: (input, signal) => {
        const { texts, ...handed } = input as Embed;
        return pinned(parts, handed).embed(handed.model, texts, timed(handed, signal));
      },
      generate: (input, signal, tell) => {
        const { prompt, options, ...handed } = input as Generate;
        const all = { ...options, ...timed(handed, signal) };
        return pinned(parts, handed).generate(handed.model, prompt, all, (token: GeneratedToken) => {
          tell(token);
        });
      },
      issue: (input) => issue(parts, input as Issue),
      keep: (input) => keep(parts, input as Keep),
      covered: async (input) => vouching.covered(input as number),
    }),
    told: (_name, value) => {
      const { route, status, seconds } = value as Counted;
      metrics.countRequest(route, status, seconds);
    },
  };
}

/** What nobody foresaw is logged here: the other process hears only that it happened. */
function logged({ log }: DeskParts, calls: ChannelHandlers['calls']): ChannelHandlers['calls'] {
  const wrap =
    (handler: Handler): Handler =>
    async (...call) => {
      try {
        return await handler(...call);
      } catch (error) {
        if (toServiceError(error).code === 'INTERNAL') {
          log.error('work for another process failed unexpectedly', { frames: stackFrames(error) });
        }
        throw error;
      }
    };
  return Object.fromEntries(Object.entries(calls).map(([name, handler]) => [name, wrap(handler)]));
}

type StateParts = Pick<DeskParts, 'engine' | 'vouching'> & {
  readonly archive?: Pick<Archive, 'contentFailure'> | undefined;
};

/** While there is none, issuing is stopped: no receipt cites it. */
const NO_EVIDENCE = new Uint8Array(0);

export function signerState({ engine, vouching, archive }: StateParts): SignerState {
  return {
    models: [...engine.models.values()],
    evidence: vouching.hasHead ? vouching.head.digest : NO_EVIDENCE,
    stop: vouching.stopReason,
    content: archive?.contentFailure?.code,
  };
}

async function infer(parts: DeskParts, input: Infer, signal: AbortSignal): Promise<Inferred> {
  let rows: number | undefined;
  const engine = pinned(parts, input, (seen) => {
    rows = seen;
  });
  const outputs = await engine.infer(input.model, input.inputs, timed(input, signal));
  return { outputs, rows };
}

async function issue({ vouching, metrics }: DeskParts, draft: Issue): Promise<Issued> {
  const { index, encoded, cited } = await vouching.issue(draft);
  metrics.countAnswer(draft);
  return { index, encoded, cited: cited.digest };
}

async function keep({ archive }: DeskParts, { content, tenant }: Keep): Promise<void> {
  if (!archive) throw new ArchiveError('OFF', 'there is no archive to keep content in');
  await archive.keep(content, tenant);
}

function timed({ deadlineMs }: HandedModel, signal: AbortSignal): CallOptions {
  return deadlineMs === undefined ? { signal } : { signal, deadlineMs };
}

/** The engine for the model that was named at admission, if it is still that. */
function pinned(
  { engine }: DeskParts,
  handed: HandedModel,
  onRows: (rows: number) => void = () => undefined,
): ModelRunner {
  return pinEngine(engine, sameModel(engine, handed), { scope: handed.scope ?? '', onRows });
}

function sameModel(engine: Engine, { model, manifestDigest }: HandedModel): LoadedModel {
  const loaded = engine.models.get(model);
  if (loaded && equalBytes(loaded.manifestDigest, manifestDigest)) return loaded;
  throw new EngineError('MODEL_REFUSED', 'the model was unloaded after the request was admitted');
}
