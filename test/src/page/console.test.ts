import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { NO_COLLATERAL } from '../../../attestation/collateral.ts';
import { CHROMIUM, hasChromium, launchChromium } from '../../../scripts/bench/chromium.ts';
import { buildPages } from '../../../scripts/pages.mjs';
import type { FeedPage } from '../../../src/http/monitoring/feed.ts';
import type { ConsoleStatus } from '../../../src/http/monitoring/status.ts';
import type * as shown from '../../../src/page/console/report.ts';
import { faultyHardware } from '../../support/faultyHardware.ts';
import { apiKey, startTestService, type TestService } from '../../support/service.ts';
import { NOW } from '../../support/world.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const ADMIN = 'the-admin-key';
const tenant = apiKey('alice');
const KEYS = { apiKeys: [tenant.entry], adminKeySha256: createHash('sha256').update(ADMIN).digest('hex') };
const START_MS = 60_000;
/** A folder for pictures, where somebody wants to look at the page. */
const SHOTS = process.env['CONSOLE_SHOTS'];

const browsers = hasChromium() ? describe : describe.skip;

/** What the page reads is what the service answers: the compiler compares. */
export const reads: (answer: ConsoleStatus) => shown.Status = (answer) => answer;
export const feeds: (answer: FeedPage & { readonly format: string }) => shown.FeedPage = (answer) => answer;

browsers(`the console in ${CHROMIUM}`, () => {
  let browser: Browser;
  let html: string;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'vouchsafe-console-'));
    const [file] = await buildPages(ROOT, folder, ['console']);
    html = readFileSync(file!, 'utf8');
    browser = await launchChromium();
  }, START_MS);
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true });
    await browser.close();
  });

  /** The page as the service of a test would serve it, and everything that went wrong in it. */
  async function open(
    { url }: TestService,
    options: Parameters<Browser['newContext']>[0] = {},
  ): Promise<Opened> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const wrong: string[] = [];
    const foreign: string[] = [];
    page.on('pageerror', (error) => wrong.push(error.message));
    page.on('console', (message) => {
      // A refused key is an answer that Chromium writes down as an error.
      if (message.type() === 'error' && !/status of 40[13]/.test(message.text())) wrong.push(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(url)) foreign.push(request.url());
    });
    await page.route(`${url}/console`, (route) => route.fulfill({ body: html, contentType: 'text/html' }));
    await page.goto(`${url}/console`);
    return { context, page, wrong, foreign };
  }

  test('says what a wrong key and one of another role are, and shows the service to the admin key', async () => {
    const service = await startBusy();
    const { context, page, wrong, foreign } = await open(service);
    const enter = async (key: string): Promise<void> => {
      await page.getByLabel('Admin key').fill(key);
      await page.keyboard.press('Enter');
    };
    const problem = page.getByRole('alert');
    await enter('nobody');
    await problem.filter({ hasText: 'does not know this key' }).waitFor();
    await enter(tenant.key);
    await problem.filter({ hasText: 'not the admin key' }).waitFor();
    await enter(ADMIN);
    await page.getByText('Ready', { exact: true }).waitFor();
    const text = await page.locator('main').innerText();
    for (const shownText of ['number 1', 'snp, 1 device', 'fake', 'log opened', '4 in, 3 out', 'no driver']) {
      expect(text).toContain(shownText);
    }
    expect(text).not.toContain('alice');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Admin key').waitFor();
    expect([wrong, foreign]).toEqual([[], []]);
    await context.close();
  });

  test('raises an alarm in words when the service refuses its own evidence, and says when it does not answer', async () => {
    const { collector, faults } = await faultyHardware();
    const service = await startTestService({ keys: KEYS }, { world: { collector, selfCheck: {} } });
    const { context, page, wrong } = await open(service);
    await page.getByLabel('Admin key').fill(ADMIN);
    await page.getByLabel('Keep it').check();
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByText('Nothing needs a person').waitFor();
    faults.collateral = () => NO_COLLATERAL;
    await service.world.vouching.attest(randomBytes(32)).catch(() => undefined);
    const alarm = page.getByRole('listitem').filter({ hasText: 'SELF_CHECK_FAILED' }).first();
    await alarm.waitFor();
    expect(await alarm.innerText()).toMatch(/Critical[^]*COLLATERAL_MISSING/);
    // Kept for this tab: no key is asked for again.
    await page.reload();
    await alarm.waitFor();
    expect(wrong).toEqual([]);
    await service.drain(0);
    await page.getByText('The service does not answer').waitFor();
    await context.close();
  });

  test('fits windows of all sizes and looks, has names for all that can be used, and is one small file', async () => {
    const service = await startBusy();
    for (const [name, options] of LOOKS) {
      const { context, page, wrong } = await open(service, options);
      await page.getByLabel('Admin key').fill(ADMIN);
      await page.keyboard.press('Enter');
      await page.locator('canvas').first().waitFor();
      const fits = await page.evaluate('document.documentElement.scrollWidth <= innerWidth');
      const unnamed = await page
        .locator('button, summary, [role=region], meter, section')
        .evaluateAll(
          (all) => all.filter((one) => !one.textContent && !one.getAttribute('aria-label')).length,
        );
      expect([name, fits, unnamed, wrong]).toEqual([name, true, 0, []]);
      if (SHOTS !== undefined) await shoot(page, join(SHOTS, name));
      await context.close();
    }
    expect(gzipSync(html).length).toBeLessThan(100_000);
  });
});

const LOOKS = [
  ['light', { viewport: { width: 1280, height: 900 }, colorScheme: 'light' }],
  ['dark', { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' }],
  ['narrow', { viewport: { width: 360, height: 740 }, colorScheme: 'light' }],
] as const;

async function shoot(page: Page, path: string): Promise<void> {
  await page.screenshot({ path: `${path}.png`, fullPage: true });
  await page.emulateMedia({ media: 'print' });
  await page.screenshot({ path: `${path}-print.png`, fullPage: true });
}

interface Opened {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly wrong: string[];
  readonly foreign: string[];
}

/** A service that has answered, with statements of vendors in every state. */
async function startBusy(): Promise<TestService> {
  const findings = [
    { what: 'configfs-tsm', state: 'absent', detail: '/sys/kernel/config/tsm is not there' },
    { what: 'nvml', state: 'unusable', detail: 'no driver is loaded', fix: 'Load the driver of NVIDIA.' },
    { what: 'system', state: 'usable', detail: 'Linux' },
  ] as const;
  const at = { fetchedAt: NOW - 60_000, ageMs: 60_000, expires: NOW + 9 * 86_400_000, failing: undefined };
  const why = { code: 'unreachable', advice: 'Look at address and network.', since: NOW - 9000 } as const;
  const collateralStatus = () => ({
    statements: [
      { ...at, kind: 'vcek' as const, name: 'of a chip of AMD' },
      { ...at, kind: 'amd-crl' as const, name: 'of AMD', expires: NOW - 1000 },
      { ...at, kind: 'rim' as const, name: 'of a driver', failing: why },
    ],
    gaps: [],
  });
  const clock = { now: NOW };
  const world = { now: () => clock.now };
  const service = await startTestService({ keys: KEYS }, { findings, collateralStatus, world });
  const ask = async (changes: object): Promise<void> => {
    const body = { model: 'fake', prompt: 'the quick brown fox', max_tokens: 3, ...changes };
    const answer = await service.post('/v1/completions', body, { authorization: `Bearer ${tenant.key}` });
    await answer.arrayBuffer();
  };
  await ask({});
  await service.world.vouching.covered(1);
  const { monitor } = service.service;
  for (let i = 0; i < 30; i++) {
    clock.now += 5000;
    if (i % 5 === 0) await ask({ stream: i % 2 === 0 });
    monitor.sample();
  }
  return service;
}
