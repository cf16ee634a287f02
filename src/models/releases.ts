import { FileRefused, ModelError } from './errors.ts';
import { statPlain } from './files.ts';
import { HostingError } from './hostingErrors.ts';
import { type Catalogue, readCatalogue, readSignature, resolveReference } from './release/catalogue.ts';
import { filesOf, layoutOf } from './release/layout.ts';
import { isReference, referenceOf } from './release/names.ts';
import type { ReleaseFile, ReleaseRecord } from './release/record.ts';
import { strangersIn } from './release/verifyRelease.ts';
import { sealedPath } from './sealed/header.ts';
import { parseSigners } from './signing/signers.ts';
import { requireCovered, verifySignature } from './signing/verifySignature.ts';
import type { ModelFile, ModelSource, ModelStore } from './store.ts';

/** Discovers a model among the paths that a folder is said to have. */
type Discover = (id: string, root: string, paths: readonly string[]) => Promise<ModelSource>;

/** Each alias of a store as a model of that id: what it means is looked up now, and stays until the next load. */
export async function readReleases(
  directory: string,
  signing: readonly string[],
  discover: Discover,
): Promise<ModelStore> {
  const catalogue = await catalogueOf(directory);
  const models: ModelSource[] = [];
  const refused: ModelError[] = [];
  for (const alias of catalogue.aliases.keys()) {
    try {
      models.push(await sourceOf(directory, catalogue, alias, signing, discover));
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      refused.push(error);
    }
  }
  return { models, refused };
}

/** A release as a model of the id `name@version`. */
export async function findRelease(
  directory: string,
  reference: string,
  signing: readonly string[],
  discover: Discover,
): Promise<ModelSource> {
  if (!isReference(reference)) {
    throw new ModelError('RELEASE_UNREADABLE', reference, '(release)', 'is no name@version');
  }
  return sourceOf(directory, await catalogueOf(directory), reference, signing, discover);
}

async function catalogueOf(directory: string): Promise<Catalogue> {
  try {
    return await readCatalogue(directory);
  } catch (error) {
    if (!(error instanceof HostingError)) throw error;
    throw new ModelError('STORE_UNREADABLE', '(store)', directory, error.message);
  }
}

async function sourceOf(
  directory: string,
  catalogue: Catalogue,
  id: string,
  signing: readonly string[],
  discover: Discover,
): Promise<ModelSource> {
  try {
    const record = resolveReference(catalogue, id);
    if (signing.length > 0) await requireSigned(directory, record, signing);
    const root = filesOf(layoutOf(directory), referenceOf(record));
    for (const file of record.files) await requireFile(id, root, file);
    await refuseStrangers(id, root, record);
    // What the folder has may change any moment: what is looked for in it is what the record names, and must be there.
    const model = await discover(id, root, record.files.map(({ path }) => path));
    const stored = ({ path }: ModelFile): string => (model.sealed ? sealedPath(path) : path);
    const files = model.files.map((file) => ({ ...file, sha256: recorded(id, stored(file), record) }));
    return { ...model, files, release: referenceOf(record) };
  } catch (error) {
    if (!(error instanceof HostingError)) throw error;
    const { code, message } = error;
    if (code === 'SIGNATURE_MISSING') throw new ModelError(code, id, '(release)', message);
    const refused = code.startsWith('SIGN') ? 'SIGNATURE_REFUSED' : 'RELEASE_UNREADABLE';
    throw new ModelError(refused, id, '(release)', `${code}: ${message}`);
  }
}

/** The signature covers the digests of the record; that the files have these is checked where they are loaded. */
async function requireSigned(
  directory: string,
  record: ReleaseRecord,
  signing: readonly string[],
): Promise<void> {
  const signers = parseSigners(signing);
  const signature = await readSignature(layoutOf(directory), referenceOf(record));
  if (!signature) throw new HostingError('SIGNATURE_MISSING', `${referenceOf(record)} is not signed`);
  requireCovered(await verifySignature(signature, signers), record.files);
}

/** A file that is gone, such as a chat template, would change the model without a digest that differs. */
async function requireFile(id: string, root: string, { path, size }: ReleaseFile): Promise<void> {
  try {
    const found = await statPlain(root, path);
    if (found !== size) {
      throw new ModelError('FILE_CHANGED', id, path, `has ${found} bytes, recorded are ${size}`);
    }
  } catch (error) {
    if (error instanceof FileRefused) throw new ModelError(error.code, id, path, error.message);
    throw error;
  }
}

/** A file more than the record has is never opened; that somebody writes into a release is worth a refusal. */
async function refuseStrangers(id: string, root: string, record: ReleaseRecord): Promise<void> {
  const [stranger] = await strangersIn(root, record);
  if (stranger !== undefined) throw notRecorded(id, stranger);
}

function recorded(id: string, path: string, { files }: ReleaseRecord): string {
  const found = files.find((file) => file.path === path);
  if (found) return found.sha256;
  throw notRecorded(id, path);
}

function notRecorded(id: string, path: string): ModelError {
  return new ModelError('FILE_CHANGED', id, path, 'is not in the record of the release');
}

/** Folders and files have no signature. */
export function refuseUnsigned({ models, refused }: ModelStore): ModelStore {
  const unsigned = models.map(
    ({ id }) => new ModelError('SIGNATURE_MISSING', id, '(folder)', 'is no signed release'),
  );
  return { models: [], refused: [...refused, ...unsigned] };
}

/** Both kinds of models, in the order of their names. One name for two models is refused as both. */
export function mergeModels(plain: ModelStore, released: ModelStore): ModelStore {
  const names = new Set([...plain.models.map(({ id }) => id), ...plain.refused.map(({ model }) => model)]);
  const isTwice = ({ id }: ModelSource): boolean => names.has(id);
  const twice = released.models.filter(isTwice);
  const ambiguous = twice.map(
    ({ id }) => new ModelError('MODEL_AMBIGUOUS', id, '(alias)', 'an alias and a folder or file have one name'),
  );
  const both = new Set(twice.map(({ id }) => id));
  const models = [
    ...plain.models.filter(({ id }) => !both.has(id)),
    ...released.models.filter((model) => !isTwice(model)),
  ];
  models.sort((a, b) => (a.id < b.id ? -1 : 1));
  const refused = [...plain.refused, ...released.refused, ...ambiguous];
  refused.sort((a, b) => (a.model < b.model ? -1 : 1));
  return { models, refused };
}
