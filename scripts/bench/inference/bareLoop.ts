// The limit: batched runs and nothing else, no tokenizer, no HTTP. Arguments: the folder of the model, texts in each
// run. Says «ready», then answers each line with texts per second.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { InferenceSession } from 'onnxruntime-node';
import { embedRows, planEmbedding } from '../../../src/engine/embedding.ts';
import { readSpecs } from '../../../src/engine/session.ts';
import { TextTokenizer } from '../../../src/engine/tokenizer.ts';
import { readConfig } from '../../../src/models/config.ts';
import { TEXTS } from './load.ts';

const [folder = '', size = '32'] = process.argv.slice(2);
const SECONDS = 4;
const weights = readFileSync(join(folder, 'model.onnx'));
const session = await InferenceSession.create(weights, { executionProviders: ['cpu'], logSeverityLevel: 4 });
const config = readConfig(
  new Map([
    ['tokenizer', readFileSync(join(folder, 'tokenizer.json'))],
    ['tokenizer-config', readFileSync(join(folder, 'tokenizer_config.json'))],
  ]),
);
const plan = planEmbedding(
  readSpecs({ id: 'bare', path: 'model.onnx', weights, external: new Map() }, session),
  undefined,
);
if (!config.tokenizer || !plan) throw new Error('the model does not embed');
const tokenizer = new TextTokenizer(config.tokenizer, config.maxTokens);
const rows = Array.from({ length: Number(size) }, (_, i) =>
  tokenizer.encode(TEXTS[i % TEXTS.length] ?? '', true, 'the text'),
);
const longest = Math.max(...rows.map((row) => row.length));

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  if (line === '') break;
  const started = performance.now();
  let texts = 0;
  while (performance.now() - started < SECONDS * 1000) {
    await embedRows(session, plan, rows, longest);
    texts += rows.length;
  }
  process.stdout.write(`${(texts * 1000) / (performance.now() - started)}\n`);
}
