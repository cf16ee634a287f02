import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { build } from 'esbuild';
import { chromium, type Browser, type Page } from 'playwright-core';
import { toBase64 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { GpuCase } from '../../scripts/corpus/gpu/case.ts';
import { judgeGpuCase, type GpuJudgement } from '../../scripts/corpus/gpu/judge.ts';
import { findCases, loadGpuCase } from '../../scripts/corpus/load.ts';
import { describeCorpus } from '../support/corpus.ts';

// The verifier in a real browser says of every GPU case and variant what it says in Node.

const CHROMIUM = '/usr/bin/chromium';
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** What the page is given: the judge of cases, and what makes bytes of text. */
const ENTRY = `
  export { judgeGpuCase } from './scripts/corpus/gpu/judge.ts';
  export { portableCrypto } from './attestation/crypto/portable.ts';
  export { fromBase64 } from './attestation/bytes/bytes.ts';
`;

interface Door {
  readonly judgeGpuCase: typeof judgeGpuCase;
  readonly portableCrypto: typeof nodeCrypto;
  readonly fromBase64: (text: string) => Uint8Array;
}

/** A case as text, for bytes do not travel into a page. */
function portable({ files, ...rest }: GpuCase) {
  const encoded = files.map(({ bytes, ...file }) => ({ ...file, base64: toBase64(bytes) }));
  return { text: JSON.stringify(rest), files: encoded };
}

describeCorpus('the GPU corpus in Chromium', 'evidence/gpu', (folder) => {
  if (!existsSync(CHROMIUM)) {
    test.skip('skipped: no chromium', () => undefined);
    return;
  }
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    const stdin = { contents: ENTRY, resolveDir: ROOT, loader: 'ts' } as const;
    const options = { bundle: true, format: 'iife', platform: 'browser', write: false } as const;
    const built = await build({ stdin, globalName: 'corpus', ...options });
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
    });
    page = await browser.newPage();
    // WebCrypto needs a secure context; nothing is fetched from it.
    await page.route('https://page.example/', (route) => route.fulfill({ body: '<!doctype html>' }));
    await page.goto('https://page.example/');
    await page.addScriptTag({ content: built.outputFiles[0]!.text });
  }, 60_000);

  afterAll(async () => {
    await browser.close();
  });

  function judgeInPage(gpuCase: GpuCase): Promise<string> {
    return page.evaluate(async ({ text, files }) => {
      const door = (globalThis as unknown as { readonly corpus: Door }).corpus;
      const whole = {
        ...(JSON.parse(text) as GpuCase),
        files: files.map(({ base64, ...file }) => ({ ...file, bytes: door.fromBase64(base64) })),
      };
      return JSON.stringify(await door.judgeGpuCase(whole, door.portableCrypto));
    }, portable(gpuCase));
  }

  test('every case and variant has the checks, codes and reasons of Node', async () => {
    for (const path of findCases(folder)) {
      const gpuCase = loadGpuCase(folder, path);
      const judged = JSON.parse(await judgeInPage(gpuCase)) as readonly GpuJudgement[];
      const ofNode = JSON.parse(JSON.stringify(await judgeGpuCase(gpuCase, nodeCrypto))) as unknown;
      expect(judged).toEqual(ofNode);
      expect(judged.every(({ agrees }) => agrees)).toBe(true);
    }
  }, 120_000);
});
