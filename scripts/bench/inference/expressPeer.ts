// What one would write in an afternoon: express and onnxruntime-node in one process, one run for each request. Argument:
// the folder of the model. Says its port, then serves.
import type { AddressInfo } from 'node:net';
import express from 'express';
import { embedRows } from '../../../src/engine/embedding.ts';
import { answerJson } from './load.ts';
import { openEncoder } from './openEncoder.ts';

const [folder = ''] = process.argv.slice(2);
const { session, plan, tokenizer } = await openEncoder(folder);

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
