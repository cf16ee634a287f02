// The limit: batched runs and nothing else, no tokenizer, no HTTP. Arguments: the folder of the model, texts in each
// run. Says «ready», then answers each line with texts per second.
import { createInterface } from 'node:readline';
import { embedRows } from '../../../src/engine/embedding.ts';
import { TEXTS } from './load.ts';
import { openEncoder } from './openEncoder.ts';

const [folder = '', size = '32'] = process.argv.slice(2);
const SECONDS = 4;
const { session, plan, tokenizer } = await openEncoder(folder);
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
