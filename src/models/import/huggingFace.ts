import { z } from 'zod';
import { HostingError } from '../hostingErrors.ts';
import { downloadFiles, type RemoteFile } from './download.ts';
import type { Imported, Importing } from './importing.ts';
import { parseAnswer } from './parseAnswer.ts';
import type { Source } from './source.ts';

const MAX_INFO_BYTES = 0x200_0000;

/** What the hub says of a repository at a revision, with `blobs=true`. */
const INFO = z.object({
  sha: z.string().regex(/^[0-9a-f]{40}$/),
  siblings: z.array(
    z.object({
      rfilename: z.string(),
      size: z.int().min(0).nullish(),
      blobId: z.string().regex(/^[0-9a-f]{40}$/).nullish(),
      lfs: z
        .object({
          sha256: z.string().regex(/^[0-9a-f]{64}$/).optional(),
          oid: z.string().regex(/^(?:sha256:)?[0-9a-f]{64}$/).optional(),
          size: z.int().min(0),
        })
        .nullish(),
    }),
  ),
});
type Sibling = z.infer<typeof INFO>['siblings'][number];

/**
 * Takes a repository of the Hugging Face hub at the commit that the revision means now. Files in LFS are compared with
 * the SHA-256 that the hub states for them, the others with the name that git gives their content, as the hub states
 * it. Commit and trees are not read: that these files are the commit's is the hub's word.
 */
export async function importHuggingFace(
  { repository, revision }: Extract<Source, { kind: 'hugging-face' }>,
  importing: Importing,
): Promise<Imported> {
  const { http, endpoint, credentials, sha256 } = importing;
  if (sha256 !== undefined) {
    throw new HostingError('SOURCE_INVALID', 'a repository is pinned by its commit, hf:owner/name@commit');
  }
  const headers = credentials.huggingFaceToken
    ? { authorization: `Bearer ${credentials.huggingFaceToken}` }
    : {};
  const base = endpoint.replace(/\/+$/, '');
  const url = new URL(`${base}/api/models/${repository}/revision/${encodeURIComponent(revision)}?blobs=true`);
  const { bytes } = await http.bytes(url, headers, MAX_INFO_BYTES);
  const { sha, siblings } = parseAnswer(bytes, INFO, url.host);
  if (/^[0-9a-f]{40}$/.test(revision) && sha !== revision) {
    throw new HostingError('DIGEST_MISMATCH', `${repository} has the commit ${sha}, wanted is ${revision}`);
  }
  const files = siblings.map((sibling) => remoteFile(sibling, `${base}/${repository}/resolve/${sha}`));
  await downloadFiles(files, importing, headers);
  return { kind: 'hugging-face', from: `hf:${repository}@${revision}`, resolved: sha };
}

function remoteFile({ rfilename: path, size, blobId, lfs }: Sibling, base: string): RemoteFile {
  const url = new URL(`${base}/${path.split('/').map(encodeURIComponent).join('/')}`);
  if (lfs) {
    const sha256 = lfs.sha256 ?? lfs.oid?.replace('sha256:', '');
    if (sha256 !== undefined) return { path, url, size: lfs.size, sha256 };
  } else if (typeof size === 'number' && typeof blobId === 'string') {
    return { path, url, size, gitBlob: blobId };
  }
  const name = JSON.stringify(path.slice(0, 300));
  throw new HostingError('SOURCE_MALFORMED', `${name} has no size or digest in the hub's answer`);
}
