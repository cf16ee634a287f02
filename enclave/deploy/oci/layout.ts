import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { sizeOf, Tree } from '../../image/tree.ts';
import { contentOf, sha256Of } from '../content.ts';
import { DeployError } from '../errors.ts';
import { imageConfig, type ContainerRun } from './imageConfig.ts';

/** Media types of OCI Image Format 1.1. Layers are not compressed: no library decides a byte of them. */
const MEDIA_TYPE = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
} as const;

interface Descriptor {
  readonly mediaType: string;
  /** `sha256:` and lower-case hex. */
  readonly digest: string;
  readonly size: number;
}

/** A tar archive on the build machine, and what is in it. */
export interface Layer {
  readonly tar: string;
  readonly title: string;
}

export interface ContainerImage {
  /** Without a registry: letters, digits and hyphens. */
  readonly name: string;
  readonly version: string;
  readonly run: ContainerRun;
  readonly layers: readonly Layer[];
  /** Of the manifest, beside name and version; names as in `annotations.md`. */
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

export interface WrittenLayout {
  /** Of the manifest, `sha256:` and lower-case hex: what a registry and the policy of a guest name the image by. */
  readonly digest: string;
  readonly manifest: Uint8Array;
  readonly config: Uint8Array;
  /** Of each layer, `sha256:` and lower-case hex. */
  readonly diffIds: readonly string[];
}

/** Writes an OCI image layout (`image-layout.md`) into an empty folder, or one that it makes. */
export async function writeLayout(folder: string, image: ContainerImage): Promise<WrittenLayout> {
  requireImage(image);
  const blobs = await makeFolder(folder);
  const layers = await addLayers(blobs, image.layers);
  const titles = image.layers.map(({ title }) => title);
  const facts = layers.map(({ digest }, index) => ({ diffId: digest, title: titles[index] ?? '' }));
  const config = json(imageConfig(image.run, facts));
  const manifest = json({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.manifest,
    config: await addBlob(blobs, MEDIA_TYPE.config, config),
    layers,
    annotations: {
      ...sorted(image.annotations ?? {}),
      'org.opencontainers.image.title': image.name,
      'org.opencontainers.image.version': image.version,
    },
  });
  const descriptor = await addBlob(blobs, MEDIA_TYPE.manifest, manifest);
  await writeFile(join(folder, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
  await writeFile(join(folder, 'index.json'), json(indexOf(descriptor, image)));
  return { digest: descriptor.digest, manifest, config, diffIds: layers.map(({ digest }) => digest) };
}

/** The files of a layout, for an archive of it: blobs are read from the folder when they are needed. */
export async function layoutTree(folder: string): Promise<Tree> {
  const tree = new Tree();
  const blobs = (await readdir(join(folder, 'blobs/sha256'))).map((name) => `blobs/sha256/${name}`);
  for (const path of ['oci-layout', 'index.json', ...blobs]) {
    tree.add(path, { kind: 'file', mode: 0o644, content: await contentOf(join(folder, path)) });
  }
  return tree;
}

function requireImage({ name, version, layers }: ContainerImage): void {
  if (!/^[a-z0-9]+(?:[._-][a-z0-9]+)*$/.test(name) || !/^[\w][\w.-]{0,127}$/.test(version)) {
    throw new DeployError('DEPLOY_OPTIONS_INVALID', `an image cannot be called ${name}:${version}`);
  }
  if (layers.length === 0) throw new DeployError('DEPLOY_OPTIONS_INVALID', 'an image has a layer at least');
}

async function makeFolder(folder: string): Promise<string> {
  const blobs = join(folder, 'blobs/sha256');
  try {
    await mkdir(blobs, { recursive: true });
    if ((await readdir(folder)).length > 1 || (await readdir(blobs)).length > 0) {
      throw new DeployError('DEPLOY_OUTPUT_FAILED', `${folder} is not empty`);
    }
  } catch (cause) {
    if (cause instanceof DeployError) throw cause;
    throw new DeployError('DEPLOY_OUTPUT_FAILED', `${folder} cannot be made`, { cause });
  }
  return blobs;
}

async function addLayers(blobs: string, layers: readonly Layer[]): Promise<readonly Descriptor[]> {
  const descriptors: Descriptor[] = [];
  for (const { tar } of layers) {
    const content = await contentOf(tar);
    const hex = await sha256Of(content);
    await copyFile(tar, join(blobs, hex));
    descriptors.push({ mediaType: MEDIA_TYPE.layer, digest: `sha256:${hex}`, size: sizeOf(content) });
  }
  return descriptors;
}

async function addBlob(blobs: string, mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  const hex = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(blobs, hex), bytes);
  return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
}

/** The index names one image, by its version. */
function indexOf(manifest: Descriptor, { version }: ContainerImage): object {
  const entry = {
    ...manifest,
    platform: { architecture: 'amd64', os: 'linux' },
    annotations: { 'org.opencontainers.image.ref.name': version },
  };
  return { schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests: [entry] };
}

function json(value: object): Uint8Array {
  return utf8(JSON.stringify(value));
}

function sorted(members: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(members).sort(([a], [b]) => (a < b ? -1 : 1)));
}
