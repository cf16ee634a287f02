import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { HostingError } from '../hostingErrors.ts';
import { MAX_SIGNATURE_BYTES } from '../release/catalogue.ts';
import { parseNewRelease, type ReleaseName, referenceOf } from '../release/names.ts';
import { makeRecord, type ReleaseRecord } from '../release/record.ts';
import { changeStore, type ReleaseStore } from '../release/releaseStore.ts';
import type { Staging } from '../release/staging.ts';
import { hasSigners, type Signers } from '../signing/signers.ts';
import { requireCovered, verifySignature, type VerifiedSignature } from '../signing/verifySignature.ts';
import { discoverFolder } from '../store.ts';
import { digesting, importModelArchive } from './archive.ts';
import { importFolder, unreadable } from './folder.ts';
import { SourceHttp, type SourceHttpOptions } from './http.ts';
import { importHuggingFace } from './huggingFace.ts';
import type { Credentials, Imported, Importing } from './importing.ts';
import { importOci } from './oci.ts';
import { isOfGit, makeSelection, SIGNATURE_NAME } from './selection.ts';
import { parseSource, type Source } from './source.ts';
import { importWeb, requireDigest } from './web.ts';

/** Most bytes of one release where no quota is set: 256 GiB. */
const MAX_RELEASE_BYTES = 2 ** 38;
export const HUGGING_FACE = 'https://huggingface.co';

export interface AddOptions {
  /** Folder of the models. */
  readonly directory: string;
  /** As `parseSource` reads it. */
  readonly source: string;
  /** `name@version`. */
  readonly release: string;
  /** Most bytes of all releases together. */
  readonly quotaBytes: number | undefined;
  /** Where there are any, a signature of one of them is wanted. */
  readonly signers: Signers;
  /** File with the signature bundle; else `model.sig` of the source, where there is one. */
  readonly signatureFile?: string | undefined;
  /** Aliases that mean the release afterwards. */
  readonly aliases?: readonly string[] | undefined;
  readonly include?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
  /** Lower-case hex digest of what the source names. */
  readonly sha256?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly credentials: Credentials;
  readonly http?: SourceHttpOptions | undefined;
  readonly now: number;
  readonly onTotal?: ((bytes: number) => void) | undefined;
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

export interface Added {
  readonly record: ReleaseRecord;
  /** False where the store had this release already, with the same content. */
  readonly isNew: boolean;
  /** Aliases that mean it now, and did not before. */
  readonly aliases: readonly string[];
}

/** Adds a release. Throws `HostingError`, or `ModelError` where the files are no model that can be served. */
export async function addRelease(options: AddOptions): Promise<Added> {
  const name = parseNewRelease(options.release);
  const source = parseSource(options.source);
  return changeStore(options.directory, async (store) => {
    for (const alias of options.aliases ?? []) await store.requireFree(alias);
    const { onBytes = () => undefined, quotaBytes } = options;
    const maxBytes = quotaBytes === undefined ? MAX_RELEASE_BYTES : Math.max(0, quotaBytes - (await store.usedBytes()));
    return store.stage({ maxBytes, onBytes }, async (staging) => {
      const imported = await importSource(source, staging, options);
      return finish(store, staging, name, imported, options);
    });
  });
}

async function importSource(source: Source, staging: Staging, options: AddOptions): Promise<Imported> {
  const importing: Importing = {
    staging,
    select: makeSelection(options.include ?? [], options.exclude ?? []),
    http: new SourceHttp(options.http),
    onTotal: options.onTotal ?? (() => undefined),
    sha256: options.sha256,
    endpoint: options.endpoint ?? HUGGING_FACE,
    credentials: options.credentials,
  };
  switch (source.kind) {
    case 'path':
      return importPath(source.path, importing);
    case 'web':
      return importWeb(source.url, importing);
    case 'hugging-face':
      return importHuggingFace(source, importing);
    case 'oci':
      return importOci(source, importing);
  }
}

async function importPath(path: string, importing: Importing): Promise<Imported> {
  const { staging, select, sha256 } = importing;
  const from = resolve(path);
  try {
    const found = await stat(from);
    if (found.isDirectory()) {
      if (sha256 !== undefined) throw new HostingError('SOURCE_INVALID', 'a folder has no digest of its own');
      await importFolder(from, importing);
      return { kind: 'folder', from: basename(from) };
    }
    const archive = digesting(createReadStream(from) as AsyncIterable<Uint8Array>);
    await importModelArchive(archive.content, staging, select);
    const digest = archive.digest();
    requireDigest(basename(from), digest, sha256);
    return { kind: 'archive', from: basename(from), resolved: `sha256:${digest}` };
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function finish(
  store: ReleaseStore,
  staging: Staging,
  name: ReleaseName,
  source: Imported,
  options: AddOptions,
): Promise<Added> {
  const { signature, verified } = await judgeSignature(staging, options);
  staging.drop((path) => isOfGit(path) && verified?.files.has(path) !== true);
  if (staging.files.length === 0) throw new HostingError('NOTHING_FOUND', `${source.from} has no file`);
  if (verified) requireCovered(verified, staging.files);
  const { records } = await store.read();
  const sequence = 1 + Math.max(0, ...[...records.values()].map((record) => record.sequence));
  const files = staging.files.map(({ path, size, sha256 }) => ({ path, size, sha256 }));
  const added = new Date(options.now).toISOString();
  const signer = verified && { signer: verified.signer };
  const record = makeRecord({ ...name, added, sequence, source, ...signer, files });
  const present = records.get(referenceOf(name));
  if (present) {
    requireSame(present, record);
    const kept = verified && signature ? await keepSignature(store, present, { signature, verified }, options) : present;
    return { record: kept, isNew: false, aliases: await letMean(store, name, options) };
  }
  await store.commit({ record, files: staging.files, signature }, async (root) => {
    await discoverFolder(referenceOf(name), root);
  });
  return { record, isNew: true, aliases: await letMean(store, name, options) };
}

/** The signature is no part of what it signs. */
async function judgeSignature(
  staging: Staging,
  { signers, signatureFile }: AddOptions,
): Promise<{ readonly signature: Uint8Array | undefined; readonly verified: VerifiedSignature | undefined }> {
  const beside = staging.files.find(({ path }) => path === SIGNATURE_NAME)?.temporary;
  const path = signatureFile ?? beside;
  const signature = path === undefined ? undefined : await readSignatureFile(path);
  staging.drop((name) => name === SIGNATURE_NAME);
  if (!hasSigners(signers)) return { signature, verified: undefined };
  if (signature) return { signature, verified: await verifySignature(signature, signers) };
  throw new HostingError('SIGNATURE_MISSING', 'the model has no signature, and the policy wants one');
}

async function readSignatureFile(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size <= MAX_SIGNATURE_BYTES) return new Uint8Array(await readFile(path));
  } catch (error) {
    throw unreadable(path, error);
  }
  throw new HostingError('SIGNATURE_INVALID', `the signature is larger than ${MAX_SIGNATURE_BYTES} bytes`);
}

/**
 * A good signature of a release that was added without one is kept from now on. One that is kept already is never
 * replaced: if the policy does not take it, the release has to be removed first.
 */
async function keepSignature(
  store: ReleaseStore,
  present: ReleaseRecord,
  { signature, verified }: { readonly signature: Uint8Array; readonly verified: VerifiedSignature },
  { signers }: AddOptions,
): Promise<ReleaseRecord> {
  const stored = await store.signatureOf(present);
  const judged = stored === undefined ? verified : await requireTaken(stored, present, signers);
  if (stored !== undefined && present.signer !== undefined) return present;
  const record = makeRecord({ ...present, signer: judged.signer });
  await store.sign(record, stored ?? signature);
  return record;
}

async function requireTaken(
  stored: Uint8Array,
  present: ReleaseRecord,
  signers: Signers,
): Promise<VerifiedSignature> {
  try {
    const judged = await verifySignature(stored, signers);
    requireCovered(judged, present.files);
    return judged;
  } catch (error) {
    if (!(error instanceof HostingError)) throw error;
    const message = `${referenceOf(present)} is in the store with a signature that the policy does not take: ${error.message}`;
    throw new HostingError('RELEASE_EXISTS', message, { cause: error });
  }
}

/** Other content under the same name never replaces what is there. */
function requireSame(present: ReleaseRecord, record: ReleaseRecord): void {
  if (present.digest === record.digest) return;
  const message = `${referenceOf(record)} is in the store with the content ${present.digest}, this is ${record.digest}`;
  throw new HostingError('RELEASE_EXISTS', message);
}

/** The first release of a name is what the name means, until someone says otherwise. */
async function letMean(store: ReleaseStore, name: ReleaseName, { aliases = [] }: AddOptions): Promise<readonly string[]> {
  const target = referenceOf(name);
  const before = (await store.read()).aliases;
  const isFirst = aliases.length === 0 && !before.has(name.name) && (await store.isFree(name.name));
  const wanted = new Set(isFirst ? [name.name] : aliases);
  const changed = [...wanted].filter((alias) => before.get(alias) !== target);
  for (const alias of changed) await store.setAlias(alias, target);
  return changed;
}
