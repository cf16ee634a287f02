import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { GpuCase } from '../corpus/gpu/case.ts';
import { PAGE_BUILD } from './browserBundle.ts';
import { travellingCase } from './browserCase.ts';
import type * as inPage from './browserPage.ts';
import { hasChromium, launchChromium } from './chromium.ts';

const ENTRY = fileURLToPath(new URL('browserPage.ts', import.meta.url));
const REPEATS = 20;

/** Verifies in a headless Chromium, new for each round; undefined where there is none. */
export async function measureInBrowser(
  gpuCase: GpuCase,
  rounds: number,
): Promise<readonly inPage.PageTimes[] | undefined> {
  if (!hasChromium()) return undefined;
  const site = await startSite();
  try {
    const text = travellingCase(gpuCase);
    const all: inPage.PageTimes[] = [];
    for (let round = 0; round < rounds; round++) all.push(await measureOnce(site.url, text));
    return all;
  } finally {
    site.stop();
  }
}

async function measureOnce(url: string, text: string): Promise<inPage.PageTimes> {
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    await page.goto(url);
    return await page.evaluate(
      async ([script, gpuCase, repeats]) => {
        const { measureInPage } = (await import(script)) as typeof inPage;
        return measureInPage(gpuCase, repeats);
      },
      [`${url}/${basename(ENTRY, '.ts')}.js`, text, REPEATS] as const,
    );
  } finally {
    await browser.close();
  }
}

/** An empty page and its scripts on this machine: a secure context, as WebCrypto needs. */
async function startSite(): Promise<{ readonly url: string; readonly stop: () => void }> {
  const files = await pageFiles();
  const server = createServer(({ url = '' }, response) => {
    const script = files.get(url.slice(1));
    response.setHeader('content-type', script === undefined ? 'text/html' : 'text/javascript');
    response.end(script ?? '<!doctype html>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, stop: () => server.close() };
}

/** What is loaded late is apart. */
async function pageFiles(): Promise<ReadonlyMap<string, string>> {
  const { outputFiles } = await build({ ...PAGE_BUILD, entryPoints: [ENTRY], splitting: true });
  return new Map(outputFiles.map(({ path, text }) => [basename(path), text]));
}
