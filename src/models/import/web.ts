import { createHash } from 'node:crypto';
import { HostingError } from '../hostingErrors.ts';
import { MAX_FILES } from '../release/pathSet.ts';
import { digesting, importModelArchive } from './archive.ts';
import { downloadFiles, type RemoteFile } from './download.ts';
import type { Imported, Importing } from './importing.ts';

/** A list of digests as `sha256sum` writes it. */
const LIST_NAME = /(?:^|\/)SHA256SUMS(?:\.txt)?$/;
const LINE = /^([0-9a-f]{64}) [ *](.+)$/;
const MAX_LIST_BYTES = 0x40_0000;

/** Takes a tar archive from the web, or the files that a `SHA256SUMS` lists beside itself. */
export async function importWeb(url: URL, importing: Importing): Promise<Imported> {
  const resolved = LIST_NAME.test(url.pathname)
    ? await importList(url, importing)
    : await importArchiveFrom(url, importing);
  return { kind: 'web', from: publicName(url), resolved: `sha256:${resolved}` };
}

async function importList(url: URL, importing: Importing): Promise<string> {
  const { bytes } = await importing.http.bytes(url, {}, MAX_LIST_BYTES);
  const digest = createHash('sha256').update(bytes).digest('hex');
  requireDigest(url, digest, importing.sha256);
  await downloadFiles(readList(bytes, url), importing);
  return digest;
}

function readList(bytes: Uint8Array, url: URL): readonly RemoteFile[] {
  const lines = Buffer.from(bytes).toString('utf8').split(/\r?\n/).filter((line) => line !== '');
  if (lines.length > MAX_FILES) throw new HostingError('TOO_MANY_FILES', `${url.host} lists ${lines.length} files`);
  return lines.map((line) => {
    const [, sha256, name] = LINE.exec(line) ?? [];
    if (sha256 === undefined || name === undefined) {
      throw new HostingError('SOURCE_MALFORMED', `${url.pathname} is no list of sha256sum`);
    }
    const path = name.replace(/^\.\//, '');
    return { path, sha256, url: new URL(path.split('/').map(encodeURIComponent).join('/'), url) };
  });
}

async function importArchiveFrom(url: URL, { http, staging, select, sha256 }: Importing): Promise<string> {
  return http.get(url, {}, async ({ body }) => {
    const archive = digesting(body);
    await importModelArchive(archive.content, staging, select);
    const digest = archive.digest();
    requireDigest(url, digest, sha256);
    return digest;
  });
}

/** Without the query, which may hold a key: names are kept in records, and listings and errors print them. */
function publicName({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}

export function requireDigest(what: URL | string, found: string, wanted: string | undefined): void {
  if (wanted === undefined || found === wanted) return;
  const name = typeof what === 'string' ? what : publicName(what);
  throw new HostingError('DIGEST_MISMATCH', `${name} has the digest ${found}, wanted is ${wanted}`);
}
