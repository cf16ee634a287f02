import { closeSync, fdatasyncSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import autocannon from 'autocannon';

const SENTENCES = [
  'hello',
  'the invoice was paid last week',
  'a small dog ran across the wet street and barked at the postman',
  'how long does the battery of this laptop last when I watch films',
  'The committee decided, after a long debate in which every member spoke twice, to postpone the vote until spring.',
] as const;

/** Clauses of a passage as an index of documents is made of: about 45 words. */
const CLAUSES = [
  'The harbour office keeps a register of every vessel that enters the basin,',
  'with its draught, its flag,',
  'the name of the master and the hour of arrival;',
  'twice a day a clerk copies the list and sends it to the customs house,',
  'where another clerk compares it with the manifests.',
] as const;

/** 16 passages of equal length and different beginnings: the service remembers the text that it tokenized last. */
const PASSAGES = Array.from({ length: 16 }, (_, i) =>
  [`Page ${i + 1}.`, ...CLAUSES.slice(i % CLAUSES.length), ...CLAUSES.slice(0, i % CLAUSES.length)].join(' '),
);

export type Load = 'passages' | 'mixture' | 'short';

/**
 * Inputs of one request each. `passages`: 16 passages, as they are sent to build an index. `short`: one sentence, the
 * worst case for what a receipt costs. `mixture`: queries, small batches and passages in equal parts.
 */
const LOADS: Readonly<Record<Load, readonly (string | readonly string[])[]>> = {
  passages: [PASSAGES],
  short: SENTENCES,
  mixture: [SENTENCES[1], SENTENCES.slice(0, 4), SENTENCES[4], PASSAGES],
};

export interface LoadResult {
  /** Requests per second. */
  readonly throughput: number;
  /** Median latency, milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly errors: number;
}

/** Bodies of the requests of a load, which come in turn. */
export function embeddingBodies(load: Load): readonly string[] {
  return LOADS[load].map((input) => JSON.stringify({ model: 'glove-sif-100d', input }));
}

/** Embedding requests at a fixed concurrency for some seconds, from this process. */
export async function loadEmbeddings(
  url: string,
  concurrency: number,
  seconds: number,
  load: Load,
): Promise<LoadResult> {
  const result = await autocannon({
    url,
    connections: concurrency,
    duration: seconds,
    requests: embeddingBodies(load).map((body) => ({
      method: 'POST',
      path: '/v1/embeddings',
      headers: { 'content-type': 'application/json' },
      body,
    })),
  });
  return {
    throughput: result.requests.average,
    p50: result.latency.p50,
    p99: result.latency.p99,
    errors: result.errors + result.non2xx,
  };
}

/** Latency of sequential requests, in microsecond steps: autocannon rounds to whole milliseconds. */
export async function latencyEmbeddings(url: string, requests: number): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < requests; i++) {
    const started = performance.now();
    const response = await fetch(`${url}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'glove-sif-100d', input: SENTENCES[i % SENTENCES.length] }),
    });
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`answered ${response.status}`);
    samples.push(performance.now() - started);
  }
  return median(samples);
}

/** Median time of appending the bytes of one receipt and syncing them, milliseconds. */
export function fsyncTime(directory: string, repeats = 300): number {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, 'fsync-probe');
  const file = openSync(path, 'w');
  const entry = Buffer.alloc(900, 1);
  const samples: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const started = performance.now();
    writeSync(file, entry);
    fdatasyncSync(file);
    samples.push(performance.now() - started);
  }
  closeSync(file);
  rmSync(path);
  return median(samples);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low, high] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  return ((low ?? 0) + (high ?? 0)) / 2;
}
