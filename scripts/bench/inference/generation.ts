import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startEngine } from '../../../src/engine/host.ts';
import { readStore } from '../../../src/models/store.ts';
import type { Engine } from '../../../src/engine/engine.ts';
import { figure, goal, type Figure } from '../figure.ts';
import { median } from '../measure.ts';
import { startService } from '../service.ts';
import { GENERATIONS, inStreams } from './load.ts';
import { LinePeer } from './linePeer.ts';
import { installPeers } from './install.ts';
import { writePlot } from './plot.ts';

const STREAMS = [1, 4, 16] as const;
const CHILD = new URL('../../../dist/src/engine/child.js', import.meta.url);
/** Times the peer's speed, by number of streams. */
const GOALS: ReadonlyMap<number, number> = new Map([
  [1, 1.3],
  [16, 6],
]);

/** Tokens per second of three: the engine, the service with receipts over HTTP, and transformers.js. */
interface Rates {
  readonly engine: number;
  readonly service: number;
  readonly peer: number;
}

/** Greedy generations of a mixture of lengths, against transformers.js in the same rounds. */
export async function generationFigures(
  folder: string,
  rounds: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> {
  const models = await mkdtemp(join(tmpdir(), 'vouchsafe-bench-models-'));
  try {
    await cp(folder, join(models, basename(folder)), { recursive: true });
    return await measureStore(models, basename(folder), rounds, say);
  } finally {
    await rm(models, { recursive: true });
  }
}

async function measureStore(
  models: string,
  model: string,
  rounds: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> {
  const sources = (await readStore(models)).models;
  const engine = await startEngine({ models: sources, provider: 'cpu', childEntry: CHILD });
  const service = await startService({ VOUCHSAFE_MODELS_DIRECTORY: models });
  const script = fileURLToPath(new URL('transformersPeer.ts', import.meta.url));
  const peer = await LinePeer.start(script, [installPeers(), `${models}/${model}`, STREAMS.join()]);
  try {
    await engineRate(engine, model, 1);
    await serviceRate(service.url, model, 1);
    const figures: Figure[] = [];
    const medians: Rates[] = [];
    for (const streams of STREAMS) {
      const samples: Rates[] = [];
      for (let round = 0; round < rounds; round++) {
        const sample = {
          engine: await engineRate(engine, model, streams),
          peer: Number(await peer.ask(String(streams))),
          service: await serviceRate(service.url, model, streams),
        };
        samples.push(sample);
        say(`${streams} streams ${round + 1}: ${describe(sample)} tokens/s`);
      }
      medians.push(mediansOf(samples));
      figures.push(...ratesOf(streams, samples));
    }
    writePlot('generation', {
      title: `${model}: tokens per second, a mixture of lengths`,
      x: STREAMS.map((streams) => `${streams} stream${streams === 1 ? '' : 's'}`),
      series: [
        { name: 'engine', values: medians.map((rates) => rates.engine) },
        { name: 'service with receipts', values: medians.map((rates) => rates.service) },
        { name: 'transformers.js', values: medians.map((rates) => rates.peer) },
      ],
    });
    return [...figures, ...(await decoderFigures(`${models}/${model}`, rounds, say))];
  } finally {
    peer.stop();
    await Promise.all([engine.close(), service.stop()]);
  }
}

/** One greedy stream by each way to keep the cache near the model. */
async function decoderFigures(
  folder: string,
  rounds: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> {
  const peer = await LinePeer.start(fileURLToPath(new URL('decoders.ts', import.meta.url)), [folder]);
  try {
    const samples: (readonly number[])[] = [];
    for (let round = 0; round < rounds; round++) {
      samples.push((await peer.ask('go')).split(' ').map(Number));
      say(
        `C interface, Loop, binding ${round + 1}: ${samples
          .at(-1)
          ?.map((rate) => rate.toFixed(0))
          .join(', ')}`,
      );
    }
    return ['C interface', 'Loop', "onnxruntime-node's binding"].map((name, i) =>
      figure(`one stream by ${name}`, median(samples.map((sample) => sample[i] ?? 0)), 'tokens/s'),
    );
  } finally {
    peer.stop();
  }
}

function describe({ engine, service, peer }: Rates): string {
  return `engine ${engine.toFixed(0)}, service ${service.toFixed(0)}, transformers.js ${peer.toFixed(0)}`;
}

function mediansOf(samples: readonly Rates[]): Rates {
  const of = (read: (rates: Rates) => number): number => median(samples.map(read));
  return {
    engine: of(({ engine }) => engine),
    service: of(({ service }) => service),
    peer: of(({ peer }) => peer),
  };
}

function ratesOf(streams: number, samples: readonly Rates[]): readonly Figure[] {
  const { engine, service, peer } = mediansOf(samples);
  const wanted = GOALS.get(streams);
  const ratio = (name: string, value: number): Figure =>
    wanted === undefined
      ? figure(`${streams} streams: ${name} / peer`, value, 'times')
      : goal(
          `${streams} streams: ${name} / peer`,
          value,
          'times',
          `at least ${wanted}`,
          (seen) => seen >= wanted,
        );
  return [
    figure(`${streams} streams: engine`, engine, 'tokens/s'),
    figure(`${streams} streams: service`, service, 'tokens/s'),
    figure(`${streams} streams: transformers.js`, peer, 'tokens/s'),
    ratio('engine', median(samples.map((sample) => sample.engine / sample.peer))),
    ratio('service', median(samples.map((sample) => sample.service / sample.peer))),
  ];
}

async function engineRate(engine: Engine, model: string, streams: number): Promise<number> {
  const started = performance.now();
  const made = await inStreams(GENERATIONS, streams, async ({ prompt, maxTokens }) => {
    const { completionTokens } = await engine.generate(model, prompt, { maxTokens }, () => undefined);
    return completionTokens;
  });
  return perSecond(made, started);
}

/** Over HTTP, streamed, with receipts. */
async function serviceRate(url: string, model: string, streams: number): Promise<number> {
  const started = performance.now();
  const made = await inStreams(GENERATIONS, streams, async ({ prompt, maxTokens }) => {
    const response = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model,
        prompt,
        max_tokens: maxTokens,
        temperature: 0,
        stream: true,
        stream_options: { include_usage: true },
      }),
    });
    const text = await response.text();
    const tokens = /"completion_tokens":(\d+)/.exec(text)?.[1];
    if (!response.ok || tokens === undefined) throw new Error(`answered ${response.status}`);
    return Number(tokens);
  });
  return perSecond(made, started);
}

function perSecond(made: readonly number[], started: number): number {
  return (made.reduce((sum, count) => sum + count, 0) * 1000) / (performance.now() - started);
}
