// Runs in a process of its own, because two versions of onnxruntime cannot share one. Arguments: the folder in which
// the peer is installed, the folder of the model, the numbers of streams. Reads a line for each round, answers with one.
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { GENERATIONS, inStreams } from './load.ts';

interface Ids {
  readonly dims: readonly number[];
}
interface Transformers {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  readonly AutoTokenizer: {
    from_pretrained(name: string): Promise<(text: string) => { readonly input_ids: Ids }>;
  };
  readonly AutoModelForCausalLM: {
    from_pretrained(name: string, options: object): Promise<{ generate(options: object): Promise<Ids> }>;
  };
}

const [folder = '', modelFolder = '', counts = ''] = process.argv.slice(2);
const entry = join(folder, 'node_modules/@huggingface/transformers/dist/transformers.node.mjs');
const { env, AutoTokenizer, AutoModelForCausalLM } = (await import(
  pathToFileURL(entry).href
)) as Transformers;
env.allowRemoteModels = false;
env.localModelPath = `${dirname(modelFolder)}/`;
const name = basename(modelFolder);
const tokenizer = await AutoTokenizer.from_pretrained(name);
const model = await AutoModelForCausalLM.from_pretrained(name, { dtype: 'fp32', device: 'cpu' });

/** Tokens per second with so many calls under way. */
async function rate(streams: number): Promise<number> {
  const started = performance.now();
  const made = await inStreams(GENERATIONS, streams, async ({ prompt, maxTokens }) => {
    const inputs = tokenizer(prompt);
    const output = await model.generate({ ...inputs, max_new_tokens: maxTokens, do_sample: false });
    return (output.dims[1] ?? 0) - (inputs.input_ids.dims[1] ?? 0);
  });
  return (made.reduce((sum, count) => sum + count, 0) * 1000) / (performance.now() - started);
}

await rate(1);
process.stdout.write('ready\n');
for await (const streams of createInterface({ input: process.stdin })) {
  if (counts.split(',').includes(streams)) process.stdout.write(`${await rate(Number(streams))}\n`);
}
