import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { appraiseBundle, appraiseEvidence } from '../../../attestation/appraise.ts';
import { encodeCollateral } from '../../../attestation/bundle/collateral.ts';
import { fromHex, toBase64, toBase64Url, toHex } from '../../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import { CHROMIUM, hasChromium, launchChromium } from '../../../scripts/bench/chromium.ts';
import { buildPages } from '../../../scripts/pages.mjs';
import { contextOf, issueBundle, makeWorld, NOW, type Bundled, type World } from '../../support/world.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const START_MS = 60_000;
const AT = new Date(NOW).toISOString();
const SERVICE = 'https://inference.example';
const A4_PAGE = /\/Type\s*\/Page\b(?!s)/g;

const browsers = hasChromium() ? describe : describe.skip;

browsers(`the verifier page from disk in ${CHROMIUM}`, () => {
  let browser: Browser;
  let folder: string;
  let html: string;
  let address: string;
  let world: World;
  let bundled: Bundled;
  /** Offline, and with a new document for each test: another page costs most of a second. */
  let offline: Page;
  const opened: { page: Page; asked: string[]; wrong: string[] }[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'vouchsafe-verify-'));
    const [file] = await buildPages(ROOT, folder, ['verify']);
    html = readFileSync(file!, 'utf8');
    address = pathToFileURL(file!).href;
    browser = await launchChromium();
    offline = await (await browser.newContext({ offline: true })).newPage();
    world = await makeWorld();
    bundled = await issueBundle(world);
  }, START_MS);
  afterAll(async () => {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    for (const { page, wrong } of opened.splice(0)) {
      expect(wrong).toEqual([]);
      if (page !== offline) await page.context().close();
      else await page.goto('about:blank');
      page.removeAllListeners();
    }
  });

  /** The page from disk, with every request that it makes and everything that goes wrong in it. */
  async function open(options?: BrowserContextOptions) {
    const page = options ? await (await browser.newContext(options)).newPage() : offline;
    const [asked, wrong]: [string[], string[]] = [[], []];
    page.on('request', (request) => asked.push(request.url()));
    page.on('pageerror', (error) => wrong.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') wrong.push(message.text());
    });
    await page.goto(address);
    opened.push({ page, asked, wrong });
    return { page, asked };
  }

  async function set(page: Page, values: { policy?: string; at?: string; nonce?: string }): Promise<void> {
    const { policy = 'simulated', at = AT, nonce } = values;
    await page.getByRole('radio', { name: new RegExp(`^${policy}`, 'i') }).check();
    await page.getByText('More that you know').click();
    await page.getByLabel('Judge for this time').fill(at);
    if (nonce !== undefined) await page.getByLabel('The nonce that you chose').fill(nonce);
  }

  const fileOf = (name: string, bytes: Uint8Array) => ({
    name,
    mimeType: 'application/octet-stream',
    buffer: Buffer.from(bytes),
  });

  /** What the page shows of a verdict: its words, and each check with its code, limits left out. */
  async function shown(page: Page) {
    const heading = page.getByRole('heading', { level: 2 }).first();
    await page.locator('#verdict').waitFor();
    const checks = await page
      .locator('[data-check]')
      .evaluateAll((items) => items.map(({ dataset }) => `${dataset['check']!} ${dataset['code']!}`));
    return { words: await heading.textContent(), checks: checks.sort() };
  }

  function expected({ checks }: Verdict): readonly string[] {
    return checks
      .filter(({ code }) => code !== 'NOT_EXCLUDED')
      .map(({ id, code }) => `${id} ${code}`)
      .sort();
  }

  /** Drops files as a hand does: the page gets the events of the browser. */
  async function drop(page: Page, name: string, bytes: Uint8Array): Promise<void> {
    const data = await page.evaluateHandle(
      ([title, base64]) => {
        const transfer = new DataTransfer();
        const content = Uint8Array.from(atob(base64!), (character) => character.charCodeAt(0));
        transfer.items.add(new File([content], title!));
        return transfer;
      },
      [name, toBase64(bytes)],
    );
    await page.dispatchEvent('body', 'drop', { dataTransfer: data });
  }

  test('a dropped bundle has the verdict of Node, and says SIMULATED and what is not excluded', async () => {
    const { page, asked } = await open();
    await set(page, {});
    await drop(page, 'bundle.cbor', bundled.bundle);
    const { words, checks } = await shown(page);
    const { verdict } = await appraiseBundle(bundled.bundle, {}, contextOf());
    expect(words).toBe('Accepted with a warning');
    expect(checks).toEqual(expected(verdict));
    expect(await page.locator('.badge').first().textContent()).toBe('SIMULATED');
    const limits = page.getByRole('region', { name: 'Not excluded by any check here' });
    expect(await limits.getByRole('listitem').count()).toBe(
      verdict.checks.filter(({ code }) => code === 'NOT_EXCLUDED').length,
    );
    const epochs = page.getByRole('region', { name: 'Epochs, in their order' }).getByRole('listitem');
    expect(await epochs.count()).toBe(4);
    const devices = page.getByRole('region', { name: 'Devices that verified' }).first();
    await devices.getByRole('row', { name: /gpu 0/ }).waitFor();
    const picture = page.getByRole('img', { name: /Chain of trust/ });
    expect(await picture.count()).toBe(1);
    expect(asked.filter((url) => !/^(?:file|blob|data):/.test(url))).toEqual([]);
  });

  test('content that the reader kept is compared, also by the names of saved files', async () => {
    const { page } = await open();
    await set(page, {});
    const { draft, issued, bundle } = bundled;
    const body = draft.response.kind === 'body' ? draft.response.body : new Uint8Array(0);
    const files = (response: Uint8Array) => [
      fileOf('bundle.cbor', bundle),
      fileOf('request.bin', draft.request),
      fileOf('response.bin', response),
      fileOf('commitment-key.txt', Buffer.from(`${toBase64Url(draft.k)}\n`)),
    ];
    expect(issued.index).toBeGreaterThan(0);
    await page.setInputFiles('#files', files(body));
    expect((await shown(page)).checks).toContain('receipt.response OK');
    await page.setInputFiles('#files', files(Buffer.from('{"data":[1]}')));
    await page.getByRole('heading', { name: 'Refused' }).waitFor();
    expect((await shown(page)).checks).toContain('receipt.response COMMITMENT_MISMATCH');
  });

  test('an altered bundle is refused by the name of its failure, and one cut short is no bundle', async () => {
    const { page } = await open();
    await set(page, {});
    const altered = Uint8Array.from(bundled.bundle);
    altered[altered.length >> 3]! ^= 1;
    await page.setInputFiles('#files', fileOf('altered.cbor', altered));
    const { verdict } = await appraiseBundle(altered, {}, contextOf());
    const { words, checks } = await shown(page);
    expect(words).toBe('Refused');
    expect(checks).toEqual(expected(verdict));
    await page.setInputFiles('#files', fileOf('cut.cbor', bundled.bundle.subarray(0, -100)));
    await page.locator('[data-check="bundle.format"][data-code="MALFORMED"]').waitFor();
  });

  test('real hardware is what the default policy wants; the page offers the other one by name', async () => {
    const { page } = await open();
    await set(page, { policy: 'default' });
    await page.setInputFiles('#files', fileOf('bundle.cbor', bundled.bundle));
    const { verdict } = await appraiseBundle(bundled.bundle, {}, contextOf({ policy: DEFAULT_POLICY }));
    const { words, checks } = await shown(page);
    expect(words).toBe('Refused');
    expect(checks).toEqual(expected(verdict));
    await page.getByRole('button', { name: 'Judge under the policy for simulated hardware' }).click();
    await page.getByRole('heading', { name: 'Accepted with a warning' }).waitFor();
  });

  /** What a service answers to a nonce. */
  async function answerTo(nonce: string): Promise<{ json: string; encoded: Uint8Array; place: object }> {
    const { head, index, count, path } = await world.vouching.attest(fromHex(nonce));
    const place = { index, path };
    const json = JSON.stringify({
      format: 'vouchsafe/attestation/1',
      hardware: 'SIMULATED',
      digest: toHex(head.digest),
      nonce: { value: nonce, index, count, path: path.map(toHex) },
      document: toBase64Url(head.encoded),
      collateral: toBase64Url(encodeDc(encodeCollateral(world.collateral))),
    });
    return { json, encoded: head.encoded, place };
  }

  test('a live service is asked once, when the reader says so, and must answer this nonce', async () => {
    const { page, asked } = await open({});
    const nonces: string[] = [];
    const replays: string[] = [];
    await page.route(`${SERVICE}/**`, async (route) => {
      const nonce = new URL(route.request().url()).searchParams.get('nonce')!;
      nonces.push(nonce);
      const body = replays[0] ?? (await answerTo(nonce)).json;
      await route.fulfill({ body, headers: { 'access-control-allow-origin': '*' } });
    });
    await set(page, {});
    await page.getByLabel('Or ask a live service').fill(SERVICE);
    expect(nonces).toEqual([]);
    await page.getByRole('button', { name: 'Ask the service' }).click();
    expect((await shown(page)).checks).toContain('document.nonce OK');
    replays.push((await answerTo(nonces[0]!)).json);
    await page.getByRole('button', { name: 'Ask the service' }).click();
    await page.getByRole('heading', { name: 'Refused' }).waitFor();
    expect((await shown(page)).checks).toContain('document.nonce NONCE_MISMATCH');
    await page.getByRole('radio', { name: /^default/i }).check();
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));
    expect(nonces).toHaveLength(2);
    expect(new Set(nonces).size).toBe(2);
    const others = asked.filter((url) => !/^(?:file|blob|data):/.test(url) && !url.startsWith(SERVICE));
    expect(others).toEqual([]);
  });

  test('pasted by keyboard alone: the verdict gets the focus and is said', async () => {
    const { page } = await open();
    const nonce = '5'.repeat(64);
    const { json, encoded } = await answerTo(nonce);
    await set(page, { nonce });
    await page.locator('#files').focus();
    await page.keyboard.press('Tab');
    await page.keyboard.insertText(json);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.locator('#verdict').waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('verdict');
    expect(await page.getByRole('status').textContent()).toContain('Accepted with a warning');
    const { index, path } = (await answerTo(nonce)).place as { index: number; path: Uint8Array[] };
    const context = contextOf({ collateral: world.collateral });
    const { verdict } = await appraiseEvidence(encoded, { nonce: fromHex(nonce), index, path }, context);
    expect((await shown(page)).checks).toEqual(expected(verdict));
  });

  test('what is no evidence is a failure with a code, not a verdict', async () => {
    const { page } = await open();
    const say = async (name: string, bytes: Uint8Array) => {
      await page.setInputFiles('#files', fileOf(name, bytes));
      await page.locator('.failure code', { hasText: /^[A-Z_]+$/ }).waitFor();
      return page.locator('.failure code').textContent();
    };
    expect(await say('nonsense.bin', Uint8Array.of(1, 2, 3))).toBe('FILE_UNKNOWN');
    await page.reload();
    expect(await say('receipt.cbor', bundled.issued.encoded)).toBe('FILE_NOT_ALONE');
  });

  test('asks for no more than the page needs, and lets nobody frame or feed it', () => {
    const [, policy = ''] = /http-equiv="Content-Security-Policy"\s+content="([^"]*)"/.exec(html) ?? [];
    expect(policy).toMatch(/^default-src 'none'; script-src 'sha256-[\w+/=]{44}'; style-src 'sha256-/);
    expect(policy).toContain('worker-src blob:');
    expect(policy).toContain("base-uri 'none'; form-action 'none'");
    expect(policy).not.toMatch(/unsafe/);
    expect(html).not.toMatch(/<(?:script|link|img|iframe)[^>]+(?:src|href)="(?!data:,)/);
  });

  test('has landmarks, names for every field, one heading of the first level', async () => {
    const { page } = await open();
    for (const role of ['banner', 'main', 'contentinfo'] as const) {
      expect(await page.getByRole(role).count()).toBe(1);
    }
    expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1);
    await page.getByText('More that you know').click();
    const nameless = await page
      .locator('input, textarea, button')
      .evaluateAll((fields) =>
        fields
          .filter((field) => !((field as HTMLInputElement).labels?.length || field.textContent.trim()))
          .map(({ outerHTML }) => outerHTML),
      );
    expect(nameless).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.lang)).toBe('en');
  });

  test.each(['light', 'dark'] as const)(
    'text has contrast in %s, and a verdict is not said by colour alone',
    async (scheme) => {
      const { page } = await open({ offline: true, colorScheme: scheme });
      await set(page, { policy: 'default' });
      await page.setInputFiles('#files', fileOf('bundle.cbor', bundled.bundle));
      await shown(page);
      const poor = await page
        .locator('main :is(p, code, span, strong, h1, h2, h3, th, td, li, time, label, a, dt, dd), footer p')
        .evaluateAll(lowContrast);
      expect(poor).toEqual([]);
      const symbols = await page
        .locator('.check .symbol')
        .evaluateAll((all) => all.map((each) => each.ariaLabel));
      expect(new Set(symbols).size).toBeGreaterThan(1);
    },
  );

  test('prints on one page, and fits into 360 px', async () => {
    const { page } = await open({ offline: true, viewport: { width: 360, height: 740 } });
    await set(page, {});
    await page.setInputFiles('#files', fileOf('bundle.cbor', bundled.bundle));
    await shown(page);
    await page.getByRole('row', { name: /gpu 0/ }).waitFor();
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(excess).toBeLessThanOrEqual(0);
    const pdf = await page.pdf({ preferCSSPageSize: true });
    expect(pdf.toString('latin1').match(A4_PAGE)).toHaveLength(1);
  });
});

/** Elements with text of their own whose colour has less than 4.5 to 1 (WCAG 2.2, 1.4.3) against what is behind it. */
function lowContrast(elements: Element[]): string[] {
  const parse = (color: string) => (/[\d.]+/g[Symbol.match](color) ?? []).map(Number);
  const linear = (value: number) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  };
  const luminance = ([r = 0, g = 0, b = 0]: number[]) =>
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element: Element | null): number[] => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if ((color[3] ?? 1) > 0) return color;
    }
    return [255, 255, 255];
  };
  return elements
    .filter((element) =>
      [...element.childNodes].some((node) => node.nodeType === 3 && node.nodeValue?.trim()),
    )
    .filter((element) => element.checkVisibility() && !element.closest('.visually-hidden, :disabled'))
    .flatMap((element) => {
      const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return ratio >= 4.5 ? [] : [`${element.className || element.tagName} ${ratio.toFixed(2)}`];
    });
}
