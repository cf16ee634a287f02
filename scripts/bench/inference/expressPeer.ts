// What one would write in an afternoon: express and onnxruntime-node in one process, one run for each request. Argument:
// the folder of the model. Says its port, then serves.
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import express from 'express';
import { InferenceSession } from 'onnxruntime-node';
import { readConfig } from '../../../src/models/config.ts';
import { embedRows, planEmbedding } from '../../../src/engine/embedding.ts';
import { readSpecs } from '../../../src/engine/session.ts';
import { TextTokenizer } from '../../../src/engine/tokenizer.ts';
import { answerJson } from './load.ts';

const [folder = ''] = process.argv.slice(2);
const weights = readFileSync(join(folder, 'model.onnx'));
const session = await InferenceSession.create(weights, { executionProviders: ['cpu'], logSeverityLevel: 4 });
const config = readConfig(
  new Map([
    ['tokenizer', readFileSync(join(folder, 'tokenizer.json'))],
    ['tokenizer-config', readFileSync(join(folder, 'tokenizer_config.json'))],
  ]),
);
const specs = readSpecs({ id: 'peer', path: 'model.onnx', weights, external: new Map() }, session);
const plan = planEmbedding(specs, undefined);
if (!config.tokenizer || !plan) throw new Error('the model does not embed');
const tokenizer = new TextTokenizer(config.tokenizer, config.maxTokens);

const app = express();
app.disable('x-powered-by');
app.use(express.json({ limit: '8mb' }));
app.post('/v1/embeddings', async (request, response) => {
  const { input } = request.body as { readonly input: string };
  const ids = tokenizer.encode(input, true, 'the text');
  const [vector] = await embedRows(session, plan, [ids], ids.length);
  const usage = { prompt_tokens: ids.length, total_tokens: ids.length };
  const data = [{ object: 'embedding', index: 0, embedding: Array.from(vector ?? []) }];
  answerJson(response, { object: 'list', data, model: 'peer', usage });
});
const server = app.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
