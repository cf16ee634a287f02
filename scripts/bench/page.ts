import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { toBase64 } from '../../attestation/bytes/bytes.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { NO_COLLATERAL } from '../../attestation/collateral.ts';
import { SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import { connect } from '../../src/client/connect.ts';
import type { GpuCase } from '../corpus/gpu/case.ts';
import { buildPages } from '../pages.mjs';
import { bundleFigures } from './browserBundle.ts';
import { hasChromium, launchChromium } from './chromium.ts';
import { figure, goal, type Figure } from './figure.ts';
import { fullGpuCase } from './gpuCase.ts';
import { median } from './measure.ts';
import { startService } from './service.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const [PAGE_KB, CORE_KB, VERDICT_MS] = [700, 150, 400];

interface Dropped {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Files that are dropped together, and what the reader sets before. */
interface Case {
  readonly title: string;
  readonly files: readonly Dropped[];
  readonly policy: 'default' | 'simulated';
  readonly nonce: string;
  /** ISO 8601; empty where it is judged for the time of the run. */
  readonly at: string;
}

/** Size of the verifier page, and the time from a drop to the verdict on a page that was opened for it. */
export async function pageFigures(rounds: number, say: (text: string) => void): Promise<readonly Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'vouchsafe-bench-page-'));
  try {
    const [file = ''] = await buildPages(ROOT, folder, ['verify']);
    const sizes = [...sizesOf(readFileSync(file, 'utf8')), ...(await coreFigures())];
    if (!hasChromium()) return sizes;
    return [...sizes, ...(await verdictFigures(pathToFileURL(file).href, rounds, say))];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function sizesOf(html: string): readonly Figure[] {
  const [, worker = ''] = /<script type="text\/plain" id="worker">([^]*?)<\/script>/.exec(html) ?? [];
  const zipped = (text: string) => gzipSync(text, { level: 9 }).length / 1000;
  return [
    goal('page, gzip', zipped(html), 'kB', `at most ${PAGE_KB}`, (value) => value <= PAGE_KB),
    figure('page', html.length / 1000, 'kB'),
    figure('  verifier in its worker, gzip', zipped(worker), 'kB'),
  ];
}

/** What the verifier needs before the first manifest: the rest lies in the worker unread until then. */
async function coreFigures(): Promise<readonly Figure[]> {
  const core = (await bundleFigures()).find(({ name }) => name === 'browser verifier, loaded at once, gzip');
  if (!core) return [];
  return [goal('  verifier core, gzip', core.value, 'kB', `at most ${CORE_KB}`, (value) => value <= CORE_KB)];
}

async function verdictFigures(
  address: string,
  rounds: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> {
  const full = fullGpuCase();
  const cases = [await mintedCase(), ...(full ? [genuineCase(full)] : [])];
  const browser = await launchChromium();
  try {
    const figures: Figure[] = [];
    for (const each of cases) {
      const times: number[] = [];
      for (let round = 0; round < rounds; round++) times.push(await timeOf(browser, address, each));
      say(`${each.title}: ${times.map((time) => time.toFixed(0)).join(', ')} ms`);
      const met = (value: number) => value <= VERDICT_MS;
      figures.push(goal(`${each.title}, drop to verdict`, median(times), 'ms', `at most ${VERDICT_MS}`, met));
    }
    return figures;
  } finally {
    await browser.close();
  }
}

/** The bundle of one answer of a simulated machine: SNP and H100 in their real formats, two evidence documents. */
async function mintedCase(): Promise<Case> {
  const service = await startService();
  try {
    const session = await connect(service.url, {
      policy: SIMULATED_POLICY,
      anchors: DEFAULT_ANCHORS,
      collateral: NO_COLLATERAL,
      crypto: nodeCrypto,
    });
    const [model] = await session.models();
    const body = JSON.stringify({ model: model?.id, input: 'hello' });
    const { receiptId = '' } = await session.send({ path: '/v1/embeddings', body });
    const bytes = await session.bundle(receiptId, { fresh: true });
    const files = [{ name: 'bundle.cbor', bytes }];
    return { title: 'bundle of SNP and H100', files, policy: 'simulated', nonce: '', at: '' };
  } finally {
    await service.stop();
  }
}

/** A genuine H100: report and chain as one file, its manifests and what the responder said. */
function genuineCase({ files, expectedNonceHex, verifyAt }: GpuCase): Case {
  const dropped = files.filter(({ role }) => !/nras/.test(role));
  return {
    title: 'genuine H100 report with manifests',
    files: dropped.map(({ path, bytes }) => ({ name: path, bytes })),
    policy: 'default',
    nonce: expectedNonceHex ?? '',
    at: verifyAt ?? '',
  };
}

async function timeOf(
  browser: Browser,
  address: string,
  { files, policy, nonce, at }: Case,
): Promise<number> {
  const page = await browser.newPage();
  try {
    await page.goto(address);
    await page.check(`input[value=${policy}]`);
    await page.getByText('More that you know').click();
    await page.getByLabel('The nonce that you chose').fill(nonce);
    await page.getByLabel('Judge for this time').fill(at);
    return await dropAndWait(page, files);
  } finally {
    await page.close();
  }
}

/** By the clock of the page: from the event of the drop until the verdict stands in the document and was drawn. */
function dropAndWait(page: Page, files: readonly Dropped[]): Promise<number> {
  const travelling = files.map(({ name, bytes }) => [name, toBase64(bytes)] as const);
  return page.evaluate(async (dropped) => {
    const data = new DataTransfer();
    for (const [name, text] of dropped) {
      data.items.add(new File([Uint8Array.from(atob(text), (character) => character.charCodeAt(0))], name));
    }
    const verdict = new Promise<void>((resolve) => {
      const observer = new MutationObserver(() => {
        if (!document.getElementById('verdict')) return;
        observer.disconnect();
        requestAnimationFrame(() => resolve());
      });
      observer.observe(document.body, { childList: true, subtree: true });
    });
    const started = performance.now();
    document.body.dispatchEvent(
      new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }),
    );
    await verdict;
    return performance.now() - started;
  }, travelling);
}
