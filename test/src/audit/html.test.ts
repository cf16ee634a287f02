import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { CHROMIUM, hasChromium, launchChromium } from '../../../scripts/bench/chromium.ts';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { auditExport } from '../../../src/audit/audit.ts';
import { htmlReport } from '../../../src/audit/html/htmlReport.ts';
import { escapeText, html } from '../../../src/audit/html/markup.ts';
import { receiptPage } from '../../../src/audit/html/receiptPage.ts';
import { findReceipt } from '../../../src/audit/receiptSearch.ts';
import { openArchive } from '../../../src/export/open.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import { mintLog } from '../../support/mintedLog.ts';
import { makeFolder } from '../../support/service.ts';
import { contextOf, NOW } from '../../support/world.ts';

const HOSTILE = `<img src=x onerror=alert(1)>"'&</td><script>document.title='owned'</script>\u202e`;

async function pages() {
  const data = await makeFolder();
  const draft = () => ({
    model: { id: HOSTILE, manifestDigest: new Uint8Array(32), providers: [HOSTILE] },
    path: HOSTILE,
  });
  const log = await mintLog(data, { epochs: [30, 10, 5], final: false, stepMs: 600_000, draft });
  const source = await openArchive(data);
  const revocations = {
    format: 'vouchsafe/revocations/1' as const,
    entries: [
      {
        kind: 'model' as const,
        manifest: '00'.repeat(32),
        since: new Date(NOW).toISOString(),
        reason: HOSTILE,
      },
    ],
  };
  const report = await auditExport(source, {
    name: HOSTILE,
    context: contextOf({ now: NOW + 86_400_000 }),
    signatures: 'covered',
    revocations,
    workers: 0,
    software: 'test',
  });
  const id = toHex(parseReceipt(log.log.entries[5]!).claims.id);
  return { report: htmlReport(report), receipt: receiptPage(report, await findReceipt(source, id)), id };
}

describe('the report', () => {
  test('escapes all that files may say', () => {
    expect(html`<p title="${HOSTILE}">${HOSTILE}</p>`.text).not.toMatch(/<img|<script|<\/td>|\u202e/);
    expect(escapeText(`a"b'c`)).toBe('a&quot;b&#39;c');
  });

  test('an unknown receipt is named as such', async () => {
    const data = await makeFolder();
    await mintLog(data, { epochs: [2] });
    const source = await openArchive(data);
    await expect(findReceipt(source, '00'.repeat(16))).rejects.toMatchObject({ code: 'RECEIPT_NOT_FOUND' });
    await expect(findReceipt(source, 'x')).rejects.toMatchObject({ code: 'RECEIPT_NOT_FOUND' });
  });

  if (!hasChromium()) {
    test.skip(`skipped: no Chromium at ${CHROMIUM}`, () => undefined);
    return;
  }
  let browser: Browser | undefined;
  beforeAll(async () => {
    browser = await launchChromium();
  }, 60_000);
  afterAll(() => browser?.close());

  test('renders in a page without a request, an error or a script of a hostile name, and prints', async () => {
    const { id, receipt, report } = await pages();
    for (const content of [report, receipt]) {
      const page = await browser!.newPage();
      const troubles: string[] = [];
      page.on('console', (message) => troubles.push(message.text()));
      page.on('pageerror', (error) => troubles.push(error.message));
      page.on('dialog', (dialog) => {
        troubles.push(dialog.message());
        void dialog.dismiss();
      });
      await page.route('**/*', (route) => {
        const url = route.request().url();
        if (url === 'https://report.example/')
          return route.fulfill({ body: content, contentType: 'text/html; charset=utf-8' });
        troubles.push(`request of ${url}`);
        return route.abort();
      });
      await page.goto('https://report.example/');
      expect(await page.title()).not.toBe('owned');
      expect(await page.locator('script, img, iframe, object').count()).toBe(0);
      expect(await page.locator('h1').first().innerText()).toContain(content === report ? 'Audit of' : id);
      if (content === report) {
        expect(await page.locator('svg').count()).toBe(5);
        expect(await page.locator('svg rect').count()).toBeGreaterThan(5);
      }
      expect((await page.pdf({ preferCSSPageSize: true })).length).toBeGreaterThan(1000);
      expect(troubles).toEqual([]);
      await page.close();
    }
  }, 120_000);
});
