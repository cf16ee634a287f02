import type { RequestHeaders } from './http.ts';
import type { Importing } from './importing.ts';
import type { Expected } from '../release/staging.ts';

/** One file of a source that lists its files before it sends them. */
export interface RemoteFile extends Expected {
  readonly path: string;
  readonly url: URL;
}

/** Fetches the files that are selected and that the store does not have yet, one after the other. */
export async function downloadFiles(
  files: readonly RemoteFile[],
  { staging, select, http, onTotal }: Importing,
  headers: RequestHeaders = {},
): Promise<void> {
  const wanted = files.filter(({ path }) => select(path));
  for (const { path } of wanted) staging.claim(path);
  await staging.requireRoom(wanted);
  onTotal(wanted.reduce((sum, { size = 0 }) => sum + size, 0));
  for (const file of wanted) {
    if (await staging.reuse(file.path, file)) continue;
    await http.get(file.url, headers, async ({ headers: answer, body }) => {
      const stated = Number(answer.get('content-length') ?? 0);
      if (file.size === undefined) await staging.requireRoom([{ size: stated }]);
      await staging.take(file.path, body, file);
    });
  }
}
