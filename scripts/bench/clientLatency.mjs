// Child of client.ts: clientLatency.mjs DIST URL ROUNDS|first → one JSON line of times, milliseconds.
import { performance } from 'node:perf_hooks';
import process from 'node:process';

const { fetch } = globalThis;
const [, , dist, url, wanted] = process.argv;
const { SIMULATED_POLICY } = await import(`${dist}/src/client/index.js`);
const { connect } = await import(`${dist}/src/client/node.js`);
const body = JSON.stringify({ model: 'glove-sif-100d', input: 'the invoice was paid last week' });
const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
const BATCH = 50;
/** Batches before the measured ones: "later" is a process and a service that have answered a thousand requests. */
const WARM_UP = 20;

async function timed(step) {
  const started = performance.now();
  await step();
  return performance.now() - started;
}

async function ask(fetching) {
  const response = await fetching(`${url}/v1/embeddings`, init);
  const text = await response.text();
  if (response.status !== 200) throw new Error(text);
}

const open = () => connect(url, { policy: SIMULATED_POLICY });

if (wanted === 'first') {
  const plain = await timed(() => ask(fetch));
  const verified = await timed(async () => ask((await open()).fetch));
  process.stdout.write(JSON.stringify({ plain, verified }));
} else {
  const session = await open();
  const samples = [];
  // One after the other, so that what else the machine does hits both.
  for (let round = -WARM_UP; round < Number(wanted); round++) {
    const sample = { plain: [], verified: [] };
    for (let i = 0; i < BATCH; i++) {
      sample.plain.push(await timed(() => ask(fetch)));
      sample.verified.push(await timed(() => ask(session.fetch)));
    }
    if (round >= 0) samples.push(sample);
  }
  const connects = [];
  for (let i = 0; i < 10; i++) connects.push(await timed(async () => ask((await open()).fetch)));
  process.stdout.write(JSON.stringify({ samples, connects }));
}
