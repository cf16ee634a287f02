import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import autocannon from 'autocannon';
import { figure, goal, type Figure } from '../figure.ts';
import { median } from '../measure.ts';
import { startService } from '../service.ts';
import { writeEncoder } from './encoder.ts';
import { LinePeer } from './linePeer.ts';
import { TEXTS } from './load.ts';
import { writePlot } from './plot.ts';

const SHIPPED = fileURLToPath(new URL('../../../models/glove-sif-100d', import.meta.url));
const CONCURRENCY = [1, 8, 32, 128] as const;
const COMPARED = 32;
const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

interface Rates {
  readonly service: number;
  readonly express: number;
  /** p50 and p99 of the service, milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** Embedding requests of one text each, receipts on, against express without batching and a bare loop of runs. */
export async function embeddingFigures(
  rounds: number,
  seconds: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> {
  const store = await mkdtemp(join(tmpdir(), 'vouchsafe-bench-models-'));
  try {
    await cp(SHIPPED, join(store, 'glove-sif-100d'), { recursive: true });
    const { model } = JSON.parse(readFileSync(join(SHIPPED, 'tokenizer.json'), 'utf8')) as {
      readonly model: { readonly vocab: object };
    };
    const vocabulary = Math.max(...Object.values(model.vocab).map(Number)) + 1;
    writeEncoder(join(store, 'minilm-shaped'), SHIPPED, vocabulary);
    const figures: Figure[] = [];
    for (const name of ['glove-sif-100d', 'minilm-shaped']) {
      figures.push(...(await measureModel(store, name, { rounds, seconds, say })));
    }
    return figures;
  } finally {
    await rm(store, { recursive: true });
  }
}

interface Settings {
  readonly rounds: number;
  readonly seconds: number;
  readonly say: (text: string) => void;
}

async function measureModel(store: string, model: string, settings: Settings): Promise<readonly Figure[]> {
  const folder = join(store, model);
  if (!existsSync(join(folder, 'model.onnx'))) throw new Error(`${model} has another layout`);
  const service = await startService({ VOUCHSAFE_MODELS_DIRECTORY: store });
  const express = await startExpress(folder);
  const bare = await LinePeer.start(script('bareLoop.ts'), [folder, String(COMPARED)]);
  try {
    const figures: Figure[] = [];
    const medians: Rates[] = [];
    for (const concurrency of CONCURRENCY) {
      const samples: Rates[] = [];
      for (let round = 0; round < settings.rounds; round++) {
        const own = await load(service.url, model, concurrency, settings.seconds);
        const peer = await load(express.url, model, concurrency, settings.seconds);
        samples.push({ service: own.rate, express: peer.rate, p50: own.p50, p99: own.p99 });
        settings.say(
          `${model} at ${concurrency}, ${round + 1}: ${own.rate.toFixed(0)} / ${peer.rate.toFixed(0)}`,
        );
      }
      medians.push(mediansOf(samples));
      figures.push(...ratesOf(model, concurrency, samples));
    }
    const limits: number[] = [];
    for (let round = 0; round < settings.rounds; round++) limits.push(Number(await bare.ask('go')));
    const limit = median(limits);
    const compared = medians[CONCURRENCY.indexOf(COMPARED)]?.service ?? 0;
    figures.push(
      figure(`${model}: bare loop of runs of ${COMPARED}`, limit, 'texts/s'),
      goal(
        `${model}: service at ${COMPARED} / bare loop`,
        compared / limit,
        'times',
        'at least 0.8',
        (ratio) => ratio >= 0.8,
      ),
    );
    plot(model, medians, limit);
    return figures;
  } finally {
    bare.stop();
    express.stop();
    await service.stop();
  }
}

function mediansOf(samples: readonly Rates[]): Rates {
  const of = (read: (rates: Rates) => number): number => median(samples.map(read));
  return {
    service: of(({ service }) => service),
    express: of(({ express }) => express),
    p50: of(({ p50 }) => p50),
    p99: of(({ p99 }) => p99),
  };
}

function ratesOf(model: string, concurrency: number, samples: readonly Rates[]): readonly Figure[] {
  const { service, express, p50, p99 } = mediansOf(samples);
  const name = `${model} at ${concurrency}`;
  const ratio = median(samples.map((sample) => sample.service / sample.express));
  const compared =
    concurrency === COMPARED
      ? goal(`${name}: service / express`, ratio, 'times', 'at least 2', (seen) => seen >= 2)
      : figure(`${name}: service / express`, ratio, 'times');
  return [
    figure(`${name}: service`, service, 'requests/s'),
    figure(`${name}: p50`, p50, 'ms'),
    figure(`${name}: p99`, p99, 'ms'),
    figure(`${name}: express`, express, 'requests/s'),
    compared,
  ];
}

function plot(model: string, medians: readonly Rates[], limit: number): void {
  writePlot(`embeddings-${model}`, {
    title: `${model}: texts per second, one in each request`,
    x: CONCURRENCY.map((concurrency) => `${concurrency} at once`),
    series: [
      { name: 'service with receipts', values: medians.map(({ service }) => service) },
      { name: 'express, a run for each', values: medians.map(({ express }) => express) },
      { name: `bare loop of ${COMPARED}`, values: CONCURRENCY.map(() => limit) },
    ],
  });
}

async function load(
  url: string,
  model: string,
  concurrency: number,
  seconds: number,
): Promise<{ readonly rate: number; readonly p50: number; readonly p99: number }> {
  const result = await autocannon({
    url,
    connections: concurrency,
    duration: seconds,
    requests: TEXTS.map((input) => ({
      method: 'POST',
      path: '/v1/embeddings',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, input }),
    })),
  });
  if (result.errors + result.non2xx > 0) throw new Error(`${result.errors + result.non2xx} requests failed`);
  return { rate: result.requests.average, p50: result.latency.p50, p99: result.latency.p99 };
}

async function startExpress(folder: string): Promise<{ readonly url: string; stop(): void }> {
  const child = spawn(process.execPath, ['--import', 'tsx', script('expressPeer.ts'), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const port of createInterface({ input: child.stdout })) {
    return { url: `http://127.0.0.1:${port}`, stop: () => child.kill() };
  }
  throw new Error('the peer ended');
}
