import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { type EmbeddingPlan, planEmbedding } from '../../../src/engine/embedding.ts';
import { readSpecs } from '../../../src/engine/session.ts';
import { TextTokenizer } from '../../../src/engine/tokenizer.ts';
import { readConfig } from '../../../src/models/config.ts';

export interface OpenEncoder {
  readonly session: InferenceSession;
  readonly plan: EmbeddingPlan;
  readonly tokenizer: TextTokenizer;
}

/** An encoder with the settings that onnxruntime-node has by itself, as a peer would open it. */
export async function openEncoder(folder: string): Promise<OpenEncoder> {
  const read = (name: string): Buffer => readFileSync(join(folder, name));
  const weights = read('model.onnx');
  const session = await InferenceSession.create(weights, {
    executionProviders: ['cpu'],
    logSeverityLevel: 4,
  });
  const { tokenizer, maxTokens } = readConfig(
    new Map([
      ['tokenizer', read('tokenizer.json')],
      ['tokenizer-config', read('tokenizer_config.json')],
    ]),
  );
  const specs = readSpecs({ id: 'peer', path: 'model.onnx', weights, external: new Map() }, session);
  const plan = planEmbedding(specs, undefined);
  if (!tokenizer || !plan) throw new Error('the model does not embed');
  return { session, plan, tokenizer: new TextTokenizer(tokenizer, maxTokens) };
}
