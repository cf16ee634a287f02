import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { figure, goal, type Figure } from './figure.ts';
import { median } from './measure.ts';
import { startService } from './service.ts';

const CHILD = fileURLToPath(new URL('clientLatency.mjs', import.meta.url));
const DIST = fileURLToPath(new URL('../../dist', import.meta.url));
/** Processes whose first request is measured. */
const FIRST = 5;

/** Times of one process, milliseconds. */
interface First {
  readonly plain: number;
  readonly verified: number;
}

interface Later {
  readonly samples: readonly { readonly plain: readonly number[]; readonly verified: readonly number[] }[];
  /** `connect` with the first verified request, in a process that did it before. */
  readonly connects: readonly number[];
}

/**
 * What `session.fetch` takes beyond a plain `fetch` to the same service on loopback: the first request of a process with
 * the evidence before it, and later ones in turn with plain ones.
 */
export async function clientFigures(rounds: number, say: (text: string) => void): Promise<readonly Figure[]> {
  const service = await startService();
  try {
    const firsts: First[] = [];
    for (let i = 0; i < FIRST; i++) firsts.push((await run(service.url, 'first')) as First);
    const { samples, connects } = (await run(service.url, String(rounds))) as Later;
    const pairs = samples.map(({ plain, verified }) => ({
      plain: median(plain),
      verified: median(verified),
    }));
    for (const [i, { plain, verified }] of pairs.entries()) {
      say(`client ${i + 1}: ${verified.toFixed(2)} - ${plain.toFixed(2)} ms`);
    }
    const plain = median(pairs.map((pair) => pair.plain));
    const added = median(pairs.map((pair) => pair.verified - pair.plain));
    const first = median(firsts.map((pair) => pair.verified - pair.plain));
    const again = median(connects) - plain;
    return [
      figure('client: plain request, p50', plain, 'ms'),
      goal('client: added to later requests', added, 'ms', 'at most 1', (value) => value <= 1),
      goal('client: added to the first of a session', again, 'ms', 'at most 60', (value) => value <= 60),
      goal('client: added to the first of a process', first, 'ms', 'at most 60', (value) => value <= 60),
    ];
  } finally {
    await service.stop();
  }
}

/** A process of its own: what is compiled and cached in this one would hide what the first request takes. */
async function run(url: string, wanted: string): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, DIST, url, wanted]);
  return JSON.parse(stdout) as unknown;
}
