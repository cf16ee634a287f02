import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, test } from '@jest/globals';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';
import { CHROMIUM, hasChromium, launchChromium } from '../../scripts/bench/chromium.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const URL_OF_PAGE = 'https://page.example/';
const START_MS = 60_000;

/**
 * Tests in one page of Chromium, for use inside `describe`; without Chromium, one skipped test says so. `entry` is
 * the text of a module with paths from the root of the checkout: the page has its exports as `globalThis.door`.
 * The page is open once the tests run.
 */
export function inChromium(entry: string, suite: (page: () => Page) => void): void {
  if (!hasChromium()) {
    test.skip(`skipped: no Chromium at ${CHROMIUM}`, () => undefined);
    return;
  }
  let browser: Browser | undefined;
  let page: Page | undefined;
  beforeAll(async () => {
    const script = await bundle(entry);
    browser = await launchChromium();
    page = await openPage(browser, script);
  }, START_MS);
  afterAll(() => browser?.close());
  suite(() => {
    if (!page) throw new Error('the page is open while tests run only');
    return page;
  });
}

async function bundle(entry: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: ROOT, loader: 'ts' },
    globalName: 'door',
    bundle: true,
    format: 'iife',
    platform: 'browser',
    write: false,
  });
  return outputFiles[0]!.text;
}

/** WebCrypto needs a secure context; nothing is fetched from it. */
async function openPage(browser: Browser, script: string): Promise<Page> {
  const page = await browser.newPage();
  await page.route(URL_OF_PAGE, (route) => route.fulfill({ body: '<!doctype html>' }));
  await page.goto(URL_OF_PAGE);
  await page.addScriptTag({ content: script });
  return page;
}
