import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Context } from '../../../src/http/endpoint.ts';
import { page } from '../../../src/http/routes/pages.ts';

const CSP = "default-src 'none'; script-src 'sha256-AAAA'";
const HTML = `<!doctype html><head><meta http-equiv="Content-Security-Policy" content="${CSP}" /></head><body>page</body>`;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-pages-'));
  writeFileSync(join(folder, 'verify.html'), HTML);
  writeFileSync(join(folder, 'console.html'), '<!doctype html>');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const asked = (headers: Record<string, string> = {}) => ({ request: { headers } }) as unknown as Context;
const actionOf = (name: 'verify' | 'console', within = folder) =>
  page(name, [`${pathToFileURL(within).href}/`]);

test('a page goes out with its own policy in the header, and may not be framed', async () => {
  const answer = await actionOf('verify')(asked());
  expect(answer?.status).toBe(200);
  expect(answer?.headers).toMatchObject({
    'content-security-policy': `${CSP}; frame-ancestors 'none'`,
    'referrer-policy': 'no-referrer',
    vary: 'accept-encoding',
  });
  expect(Buffer.from(answer!.body).toString()).toBe(HTML);
});

test('a page that states no policy may do nothing', async () => {
  const answer = await actionOf('console')(asked());
  expect(answer?.headers?.['content-security-policy']).toBe("default-src 'none'; frame-ancestors 'none'");
});

test('whoever takes gzip gets it, and whoever has the page gets nothing', async () => {
  const action = actionOf('verify');
  const zipped = await action(asked({ 'accept-encoding': 'br, gzip;q=0.8' }));
  expect(zipped?.headers?.['content-encoding']).toBe('gzip');
  expect(gunzipSync(zipped!.body).toString()).toBe(HTML);
  const plain = await action(asked({ 'accept-encoding': 'gzip;q=0' }));
  expect(plain?.headers?.['content-encoding']).toBeUndefined();
  const etag = String(plain?.headers?.['etag']);
  const again = await action(asked({ 'if-none-match': etag }));
  expect([again?.status, again?.body.length]).toEqual([304, 0]);
});

test('a page that was not built says so', async () => {
  const action = actionOf('verify', join(folder, 'absent'));
  await expect(action(asked())).rejects.toMatchObject({ code: 'PAGE_NOT_BUILT', status: 503 });
});
