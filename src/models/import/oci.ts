import { createHash } from 'node:crypto';
import { z } from 'zod';
import { HostingError } from '../hostingErrors.ts';
import { MAX_FILES } from '../release/pathSet.ts';
import type { Staging } from '../release/staging.ts';
import { digesting, importArchive } from './archive.ts';
import type { Imported, Importing } from './importing.ts';
import { OciRegistry } from './ociRegistry.ts';
import { parseAnswer } from './parseAnswer.ts';
import type { Source } from './source.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const ACCEPT = `${MANIFEST}, ${INDEX}`;
/** The largest that registries must take. */
const MAX_MANIFEST_BYTES = 0x40_0000;

const DIGEST = /^sha256:[0-9a-f]{64}$/;
const DESCRIPTOR = z.object({
  mediaType: z.string(),
  digest: z.string().regex(DIGEST),
  size: z.int().min(0),
  annotations: z.record(z.string(), z.string()).nullish(),
});
const ANSWER = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  layers: z.array(DESCRIPTOR).max(MAX_FILES).optional(),
  manifests: z.array(DESCRIPTOR).max(64).optional(),
});
type Descriptor = z.infer<typeof DESCRIPTOR>;

/** Where a layer is one file: its path. ModelPack's name, its former one, and the one of ORAS. */
const TITLES = ['org.cncf.model.filepath', 'org.cnai.model.filepath', 'org.opencontainers.image.title'];
/** ORAS gives every file the media type of an image layer, and says here which are folders. */
const UNPACK = 'io.deis.oras.content.unpack';
const IMAGE_LAYER = /^application\/vnd\.oci\.image\.layer\.v1\.tar(?:\+gzip)?$/;
const TAR = /[.+]tar(?:[.+]gzip)?$/;
const COMPRESSED_OTHERWISE = /[.+]zstd$/;

/** Takes an artifact of an OCI registry: layers that are files by their title, and layers that are tar archives. */
export async function importOci(source: Extract<Source, { kind: 'oci' }>, importing: Importing): Promise<Imported> {
  const { registry: host, repository, tag, sha256 } = source;
  if (importing.sha256 !== undefined && sha256 !== undefined && importing.sha256 !== sha256) {
    throw new HostingError('SOURCE_INVALID', 'two digests of the manifest are given');
  }
  const registry = new OciRegistry(importing.http, host, repository, importing.credentials.registry);
  const wanted = sha256 ?? importing.sha256;
  const { digest, layers } = await readManifest(registry, wanted ? `sha256:${wanted}` : (tag ?? 'latest'), host);
  const { staging, onTotal } = importing;
  await staging.requireRoom(layers.map(({ size, digest: name }) => ({ size, sha256: name.slice('sha256:'.length) })));
  // What an archive unpacks to is not known before.
  if (layers.every((layer) => filePath(layer) !== undefined)) {
    onTotal(layers.reduce((sum, { size }) => sum + size, 0));
  }
  for (const layer of layers) await takeLayer(registry, layer, importing);
  const named = sha256 === undefined ? `:${tag ?? 'latest'}` : `@sha256:${sha256}`;
  return { kind: 'oci', from: `oci://${host}/${repository}${named}`, resolved: digest };
}

/** The manifest's layers and its digest. An index leads on where it names one manifest alone. */
async function readManifest(
  registry: OciRegistry,
  reference: string,
  host: string,
  isNested = false,
): Promise<{ readonly digest: string; readonly layers: readonly Descriptor[] }> {
  const bytes = await registry.manifest(reference, ACCEPT, MAX_MANIFEST_BYTES);
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (DIGEST.test(reference) && digest !== reference) {
    throw new HostingError('DIGEST_MISMATCH', `the manifest has the digest ${digest}, wanted is ${reference}`);
  }
  const { layers, manifests } = parseAnswer(bytes, ANSWER, host);
  if (layers && !manifests) return { digest, layers };
  const [only, ...others] = manifests ?? [];
  if (!only || others.length > 0 || layers || isNested) {
    throw new HostingError('SOURCE_MALFORMED', `${reference} names ${manifests?.length ?? 0} manifests, of which one is meant`);
  }
  return readManifest(registry, only.digest, host, true);
}

async function takeLayer(registry: OciRegistry, layer: Descriptor, { staging, select }: Importing): Promise<void> {
  const sha256 = layer.digest.slice('sha256:'.length);
  const path = filePath(layer);
  if (path === undefined) {
    await registry.blob(layer.digest, async ({ body }) => {
      await takeArchive(body, sha256, staging, select);
    });
    return;
  }
  if (!select(path)) return;
  staging.claim(path);
  const expected = { size: layer.size, sha256 };
  if (await staging.reuse(path, expected)) return;
  await registry.blob(layer.digest, ({ body }) => staging.take(path, body, expected));
}

/** What was unpacked before the digest was known is dropped with the whole command where it is wrong. */
async function takeArchive(
  body: AsyncIterable<Uint8Array>,
  sha256: string,
  staging: Staging,
  select: Importing['select'],
): Promise<void> {
  const archive = digesting(body);
  await importArchive(archive.content, staging, select);
  const digest = archive.digest();
  if (digest === sha256) return;
  throw new HostingError('DIGEST_MISMATCH', `a layer has the digest ${digest}, wanted is ${sha256}`);
}

/** Path of a layer that is one file; undefined where it is an archive. */
function filePath({ mediaType, annotations, digest }: Descriptor): string | undefined {
  const title = TITLES.map((name) => annotations?.[name]).find((value) => value !== undefined);
  const isArchive = IMAGE_LAYER.test(mediaType)
    ? title === undefined || annotations?.[UNPACK] === 'true'
    : TAR.test(mediaType);
  if (isArchive) return undefined;
  if (COMPRESSED_OTHERWISE.test(mediaType)) {
    throw new HostingError('SOURCE_MALFORMED', `the layer ${digest} is compressed with Zstandard; gzip is taken`);
  }
  if (title === undefined) throw new HostingError('SOURCE_MALFORMED', `the layer ${digest} has no title`);
  return title;
}
