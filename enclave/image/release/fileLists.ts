import * as z from 'zod';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import { hex } from '../../../attestation/policy/shapes.ts';
import type { Tree, TreeEntry } from '../tree.ts';
import { readDocument } from './document.ts';
import { digestContent } from './fileDigest.ts';

/** Lists of a hundred thousand files have some 20 MB. */
const MAX_BYTES = 64 * 1024 * 1024;

const path = z.string().min(1).max(4096);
const mode = z.int().min(0).max(0o7777);
const entry = z.union([
  z.strictObject({ path, mode }),
  z.strictObject({ path, mode, bytes: z.int().min(0), sha256: hex(32) }),
  z.strictObject({ path, target: path }),
]);
const layer = z.array(entry).max(500_000);

const fileListsSchema = z.strictObject({
  version: z.literal('vouchsafe/image-files/1'),
  root: layer,
  initrd: layer,
  models: layer,
});

/** What stands in each layer: its file systems cannot be read without mounting them. */
export type FileLists = z.infer<typeof fileListsSchema>;
export type ListedEntry = z.infer<typeof entry>;
export type Layer = Exclude<keyof FileLists, 'version'>;

interface Trees {
  readonly root: Tree;
  readonly initrd: Tree;
  readonly models?: Tree | undefined;
}

/** Reads every file of the trees. */
export async function listFiles({ root, initrd, models }: Trees): Promise<FileLists> {
  return {
    version: 'vouchsafe/image-files/1',
    root: await listTree(root),
    initrd: await listTree(initrd),
    models: models ? await listTree(models) : [],
  };
}

async function listTree(tree: Tree): Promise<ListedEntry[]> {
  const listed: ListedEntry[] = [];
  for (const [where, found] of tree.entries()) listed.push(await listEntry(where, found));
  return listed;
}

async function listEntry(where: string, found: TreeEntry): Promise<ListedEntry> {
  switch (found.kind) {
    case 'folder':
      return { path: where, mode: found.mode };
    case 'link':
      return { path: where, target: found.target };
    case 'file':
      return { path: where, mode: found.mode, ...(await digestContent(found.content)) };
  }
}

export function encodeFileLists(lists: FileLists): Uint8Array {
  return utf8(canonicalJson(lists));
}

/** Refuses as `IMAGE_MANIFEST_INVALID`. */
export function parseFileLists(file: Uint8Array): FileLists {
  return readDocument(fileListsSchema, file, MAX_BYTES, 'the list of files');
}
