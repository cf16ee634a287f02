import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { CACHE, cacheable } from '../caching.ts';
import type { Action, Answer } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';

const compress = promisify(gzip);

/** Pages that the build makes, each one file: `verify` for anyone, `console` for operators. */
export type PageName = 'verify' | 'console';

/** Beside the compiled service, and where a service that runs from its sources finds what was built. */
const FOLDERS = ['../../page/', '../../../dist/src/page/'];

interface Page {
  readonly html: Uint8Array;
  readonly zipped: Uint8Array;
  /** Of the header, which also says what a page cannot say of itself. */
  readonly policy: string;
}

/**
 * `GET /verify` and `GET /console`: a page as one file, the same for everyone. It holds nothing of this service.
 * 503 where it was not built.
 */
export function page(name: PageName, folders: readonly string[] = FOLDERS): Action {
  let kept: Page | undefined;
  return async ({ request }) => {
    kept ??= await readPage(name, folders);
    const zips = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?(?:,|\s|$))/.test(String(request.headers['accept-encoding']));
    const answer: Answer = {
      status: 200,
      contentType: 'text/html; charset=utf-8',
      body: zips ? kept.zipped : kept.html,
    };
    const { headers, ...rest } = cacheable(request, answer, CACHE.shortly);
    return {
      ...rest,
      headers: {
        ...headers,
        vary: 'accept-encoding',
        ...(zips && { 'content-encoding': 'gzip' }),
        'content-security-policy': kept.policy,
        'referrer-policy': 'no-referrer',
        'cross-origin-opener-policy': 'same-origin',
      },
    };
  };
}

async function readPage(name: PageName, folders: readonly string[]): Promise<Page> {
  const file = folders
    .map((folder) => fileURLToPath(new URL(`${folder}${name}.html`, import.meta.url)))
    .find(existsSync);
  if (file === undefined) throw new ServiceError('PAGE_NOT_BUILT', `the page ${name} was not built`);
  const html = await readFile(file);
  return { html, zipped: await compress(html, { level: 9 }), policy: policyOf(html) };
}

/** The policy that the page states of itself, and what is heeded in a header alone. */
function policyOf(html: Buffer): string {
  const [, own] =
    /http-equiv="Content-Security-Policy"\s+content="([^"]*)"/.exec(html.toString('utf8', 0, 8192)) ?? [];
  // A page that says nothing of itself may do nothing.
  return `${own ?? "default-src 'none'"}; frame-ancestors 'none'`;
}
