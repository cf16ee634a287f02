import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { type Dc, decodeDc, encodeDc } from '../../attestation/cbor/deterministic.ts';
import { ModelError } from '../models/errors.ts';
import { EngineError, type LoadedModel, type RefusedModel } from './engine.ts';
import type { LoadedReply } from './protocol.ts';

/** The one model that was to be loaded. */
export function requireLoaded({ models: [model], failures: [failure] }: LoadedReply): LoadedModel {
  if (failure) throw new ModelError(failure.code, failure.model, failure.file, failure.detail);
  if (!model) throw new EngineError('ENGINE_FAILED', 'the runtime loaded nothing');
  return model;
}

/** Models that may not be served after a restart: gone, failing, or other than before. */
export function refusedAfterRestart(
  before: ReadonlyMap<string, LoadedModel>,
  { models, failures }: LoadedReply,
): readonly RefusedModel[] {
  const now = new Map(models.map((model) => [model.id, model]));
  const refused: RefusedModel[] = [];
  for (const [id, first] of before) {
    const again = now.get(id);
    const failure = failures.find((candidate) => candidate.model === id) ?? failures[0];
    if (again && !equalBytes(again.manifestDigest, first.manifestDigest)) {
      const file = firstDifference(first.manifest, again.manifest);
      refused.push(toRefused(id, new ModelError('MODEL_CHANGED', id, file, 'is not what was loaded first')));
    } else if (!again && failure) {
      refused.push(toRefused(id, new ModelError(failure.code, failure.model, failure.file, failure.detail)));
    }
  }
  return refused;
}

function toRefused(model: string, error: ModelError): RefusedModel {
  return { model, code: error.code, message: `${error.message}. ${error.advice}` };
}

/** Path of the first file whose line differs, or `(runtime)`. */
function firstDifference(before: Uint8Array, after: Uint8Array): string {
  const old = new Set(fileLines(before).map(lineKey));
  const changed = fileLines(after).find((line) => !old.has(lineKey(line)));
  const path = Array.isArray(changed) ? (changed as readonly Dc[])[0] : undefined;
  return typeof path === 'string' ? path : '(runtime)';
}

function fileLines(manifest: Uint8Array): readonly Dc[] {
  const fields = decodeDc(manifest);
  const lines = Array.isArray(fields) ? (fields as readonly Dc[])[1] : undefined;
  return Array.isArray(lines) ? (lines as readonly Dc[]) : [];
}

const lineKey = (line: Dc): string => encodeDc(line).join();
