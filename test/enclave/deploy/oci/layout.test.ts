import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../../../attestation/bytes/bytes.ts';
import { layoutTree, writeLayout, type ContainerImage } from '../../../../enclave/deploy/oci/layout.ts';
import { readTar } from '../../../../enclave/image/inputs/tarReader.ts';
import { writeTar } from '../../../../enclave/image/inputs/tarWriter.ts';
import { Tree } from '../../../../enclave/image/tree.ts';
import { inFolder } from '../../../support/folder.ts';
import { testWith } from '../../../support/programs.ts';

const run = promisify(execFile);
const RUN = { entrypoint: ['/usr/bin/node', 'main.js'], environment: ['PATH=/usr/bin'], ports: [8080] };
const REFUSED: unknown = expect.objectContaining({ code: 'DEPLOY_OPTIONS_INVALID' });

function service(): Tree {
  const tree = new Tree();
  tree.add('usr/bin/node', { kind: 'file', mode: 0o755, content: utf8('#!') });
  tree.add('bin', { kind: 'link', target: 'usr/bin' });
  return tree;
}

/** Two layers, written into `folder/layout`. */
async function written(folder: string, change: Partial<ContainerImage> = {}) {
  const layers = [
    { tar: join(folder, 'service.tar'), title: 'the service' },
    { tar: join(folder, 'models.tar'), title: 'models' },
  ];
  await writeTar(service(), layers[0]!.tar);
  const models = new Tree();
  models.add('models/a/model.onnx', { kind: 'file', mode: 0o644, content: utf8('model') });
  await writeTar(models, layers[1]!.tar);
  const image = { name: 'vouchsafe', version: '1.2.3', run: RUN, layers, ...change };
  return { layout: join(folder, 'layout'), facts: await writeLayout(join(folder, 'layout'), image) };
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** A blob by its descriptor, which has to be true. */
async function blobOf(layout: string, { digest, size }: Descriptor): Promise<Uint8Array> {
  const [, hex] = digest.split(':');
  const bytes = await readFile(join(layout, 'blobs/sha256', hex!));
  expect(bytes.length).toBe(size);
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(hex);
  return bytes;
}

const parse = (bytes: Uint8Array): unknown => JSON.parse(Buffer.from(bytes).toString());

describe('writeLayout', () => {
  test('leads from the index to every layer, each by its digest', async () => {
    await inFolder(async (folder) => {
      const { layout, facts } = await written(folder);
      expect(parse(await readFile(join(layout, 'oci-layout')))).toEqual({ imageLayoutVersion: '1.0.0' });
      const index = parse(await readFile(join(layout, 'index.json'))) as { manifests: Descriptor[] };
      expect(index.manifests).toHaveLength(1);
      expect(index.manifests[0]!.digest).toBe(facts.digest);
      const manifest = parse(await blobOf(layout, index.manifests[0]!)) as {
        config: Descriptor;
        layers: Descriptor[];
      };
      const config = parse(await blobOf(layout, manifest.config));
      expect(config).toMatchObject({
        created: '1970-01-01T00:00:00Z',
        architecture: 'amd64',
        os: 'linux',
        config: { User: '0:0', Entrypoint: RUN.entrypoint, Env: RUN.environment, WorkingDir: '/' },
        rootfs: { type: 'layers', diff_ids: manifest.layers.map(({ digest }) => digest) },
      });
      const [first, second] = await Promise.all(manifest.layers.map((layer) => blobOf(layout, layer)));
      expect(readTar(first!).get('usr/bin/node')).toMatchObject({ kind: 'file', mode: 0o755 });
      expect(readTar(second!).get('models/a/model.onnx')).toMatchObject({ kind: 'file' });
      expect(await readdir(join(layout, 'blobs/sha256'))).toHaveLength(4);
    });
  });

  test('the image has no command that could be added to, and no shell', async () => {
    await inFolder(async (folder) => {
      const { facts } = await written(folder);
      const { config } = parse(facts.config) as { config: Record<string, unknown> };
      expect(config).not.toHaveProperty('Cmd');
      expect(config).not.toHaveProperty('Shell');
      expect(config).not.toHaveProperty('Volumes');
    });
  });

  test('the same in another folder, at another time, gives the same digest', async () => {
    const [one, other] = await Promise.all([
      inFolder(async (folder) => (await written(folder)).facts),
      inFolder(async (folder) => (await written(folder)).facts),
    ]);
    expect(one).toEqual(other);
    expect(one.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test('anything of it changes the digest', async () => {
    const digestOf = (change: Partial<ContainerImage>) =>
      inFolder(async (folder) => (await written(folder, change)).facts.digest);
    const digests = await Promise.all(
      [
        {},
        { version: '1.2.4' },
        { run: { ...RUN, entrypoint: ['/usr/bin/node'] } },
        { run: { ...RUN, environment: [] } },
        { annotations: { 'org.opencontainers.image.source': 'x' } },
      ].map(digestOf),
    );
    expect(new Set(digests).size).toBe(digests.length);
  });

  test('the archive of a layout is the same files in one', async () => {
    await inFolder(async (folder) => {
      const { layout, facts } = await written(folder);
      const archive = join(folder, 'image.tar');
      await writeTar(await layoutTree(layout), archive);
      const tree = readTar(await readFile(archive));
      expect(tree.get(`blobs/sha256/${facts.digest.slice(7)}`)).toMatchObject({ content: facts.manifest });
      expect(tree.get('index.json')).toMatchObject({ kind: 'file', mode: 0o644 });
    });
  });

  test('a folder with something in it is not written to', async () => {
    await inFolder(async (folder) => {
      await mkdir(join(folder, 'layout'));
      await writeFile(join(folder, 'layout/old'), '');
      await expect(written(folder)).rejects.toMatchObject({ code: 'DEPLOY_OUTPUT_FAILED' });
      expect((await stat(join(folder, 'layout/old'))).size).toBe(0);
    });
  });

  test.each<[string, Partial<ContainerImage>]>([
    ['a name with a slash', { name: 'a/b' }],
    ['a version with a colon', { version: '1:2' }],
    ['no layers', { layers: [] }],
    ['no program', { run: { ...RUN, entrypoint: [] } }],
    ['a program that would be looked up', { run: { ...RUN, entrypoint: ['node'] } }],
    ['a variable without a value', { run: { ...RUN, environment: ['PATH'] } }],
    ['a variable of two lines', { run: { ...RUN, environment: ['A=b\nNODE_OPTIONS=c'] } }],
    ['an argument of two lines', { run: { ...RUN, entrypoint: ['/a', 'b\nc'] } }],
    ['no port', { run: { ...RUN, ports: [0] } }],
  ])('refuses %s', async (_name, change) => {
    await inFolder((folder) => expect(written(folder, change)).rejects.toEqual(REFUSED));
  });

  test('a layer that is not there is refused', async () => {
    const layers = [{ tar: '/nowhere/layer.tar', title: 'x' }];
    await inFolder((folder) =>
      expect(written(folder, { layers })).rejects.toMatchObject({ code: 'DEPLOY_PART_INVALID' }),
    );
  });
});

describe('other tools read it', () => {
  testWith('skopeo', 'skopeo names the same digest, and copies folder and archive alike', async (skopeo) => {
    await inFolder(async (folder) => {
      const { layout, facts } = await written(folder);
      const { stdout } = await run(skopeo, ['inspect', `oci:${layout}:1.2.3`]);
      expect(JSON.parse(stdout)).toMatchObject({
        Digest: facts.digest,
        Architecture: 'amd64',
        Layers: facts.diffIds,
        Env: RUN.environment,
      });
      await writeTar(await layoutTree(layout), join(folder, 'image.tar'));
      const copy = join(folder, 'copy');
      await run(skopeo, [
        'copy',
        '--insecure-policy',
        `oci-archive:${join(folder, 'image.tar')}`,
        `dir:${copy}`,
      ]);
      expect(await readFile(join(copy, 'manifest.json'))).toEqual(Buffer.from(facts.manifest));
    });
  });

  testWith('umoci', 'umoci unpacks the files', async (umoci) => {
    await inFolder(async (folder) => {
      const { layout } = await written(folder);
      await run(umoci, ['raw', 'unpack', '--rootless', '--image', `${layout}:1.2.3`, join(folder, 'root')]);
      expect(await readFile(join(folder, 'root/bin/node'), 'utf8')).toBe('#!');
      expect(await readFile(join(folder, 'root/models/a/model.onnx'), 'utf8')).toBe('model');
    });
  });
});
