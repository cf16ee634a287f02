import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from '@jest/globals';
import { toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { writeDisk } from '../../../../enclave/image/disk/disk.ts';
import { PARTITION_TYPES } from '../../../../enclave/image/disk/gpt.ts';
import { guidText } from '../../../../enclave/image/disk/guid.ts';
import { buildVerity } from '../../../../enclave/image/disk/verity.ts';
import type { ImageFacts, InputFact } from '../../../../enclave/image/release/facts.ts';
import type { ImageManifest } from '../../../../enclave/image/release/manifest.ts';
import type { LaunchProfile } from '../../../../enclave/image/release/profiles.ts';
import { writeManifest } from '../../../../enclave/image/release/writeManifest.ts';
import { Tree } from '../../../../enclave/image/tree.ts';
import { mintPe } from '../../../support/mintedFirmware.ts';

/** What differs from one minted image to the next. */
export interface MintedImage {
  readonly name?: string;
  readonly program?: string;
  readonly init?: string;
  readonly kernel?: string;
  readonly quiet?: boolean;
  readonly nodeVersion?: string;
  readonly models?: string;
  readonly modelManifest?: string;
  readonly profiles?: readonly LaunchProfile[];
}

export interface Minted {
  readonly folder: string;
  readonly manifest: ImageManifest;
}

const SALT = new Uint8Array(32).fill(7);
const BLOCK = 4096;
const DISK_GUID = '6f4a1f0e-6a0a-4d7c-9d38-4f6b0c1d2e3f';

const folders: string[] = [];
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

/** An image without code: all formats are real, and nothing in it runs. */
export async function mintImage(changes: MintedImage = {}): Promise<Minted> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-image-'));
  folders.push(folder);
  const {
    program = 'program',
    init = 'init',
    kernel: kernelText = 'kernel',
    models,
    quiet = false,
  } = changes;
  const root = await writeLayer(folder, 'root', program);
  const modelLayer = models === undefined ? undefined : await writeLayer(folder, 'models', models);
  const layers = [root, ...(modelLayer ? [modelLayer] : [])];
  const kernel = mintPe({ sections: [{ name: '.text', data: utf8(kernelText) }] });
  const words = layers.map(
    (layer) => `vouchsafe.${layer.name}=${layer.guids.data},${layer.guids.tree},${layer.rootHash}`,
  );
  const cmdline = ['console=ttyS0', ...words, ...(quiet ? ['quiet'] : [])].join(' ');
  const uki = mintPe({
    sections: [
      { name: '.text', data: utf8('stub') },
      { name: '.sbat', data: utf8('sbat,1') },
      { name: '.osrel', data: utf8('ID=vouchsafe\n') },
      { name: '.cmdline', data: utf8(cmdline) },
      { name: '.uname', data: utf8('6.12.0') },
      { name: '.initrd', data: utf8(init) },
      { name: '.linux', data: kernel },
    ],
  });
  await writeFile(join(folder, 'vouchsafe.efi'), uki);
  await writeFile(join(folder, 'kernel'), kernel);
  await writeFile(join(folder, 'initrd'), utf8(init));
  await writeFile(join(folder, 'cmdline'), cmdline);
  await writeFile(join(folder, 'esp'), Buffer.concat([Buffer.alloc(1024, 1), uki, Buffer.alloc(512)]));
  await writeDisk(join(folder, 'disk.raw'), DISK_GUID, [
    {
      name: 'esp',
      type: PARTITION_TYPES.esp,
      guid: '0b5a1c9e-0000-4000-8000-000000000001',
      readOnly: false,
      path: join(folder, 'esp'),
    },
    ...layers.flatMap((layer) => layer.partitions),
  ]);
  const manifest = await writeManifest(folder, factsOf(changes, root, modelLayer));
  return { folder, manifest };
}

interface Layer {
  readonly name: 'root' | 'models';
  readonly rootHash: string;
  readonly dataBlocks: number;
  readonly guids: { readonly data: string; readonly tree: string };
  readonly partitions: Parameters<typeof writeDisk>[2];
}

async function writeLayer(folder: string, name: 'root' | 'models', text: string): Promise<Layer> {
  const [data, tree] = [join(folder, `${name}.erofs`), join(folder, `${name}.verity`)];
  await writeFile(data, Buffer.alloc(3 * BLOCK, text));
  const { rootHash, dataBlocks } = await buildVerity(data, tree, SALT);
  // Those of real images are fixed. Here another root makes another table, so that a difference of PCR 5 is seen.
  const guids = { data: guidText(rootHash.subarray(0, 16)), tree: guidText(rootHash.subarray(-16)) };
  return {
    name,
    rootHash: toHex(rootHash),
    dataBlocks,
    guids,
    partitions: [
      { name, type: PARTITION_TYPES[name], guid: guids.data, readOnly: true, path: data },
      {
        name: `${name}-verity`,
        type: PARTITION_TYPES[`${name}Verity`],
        guid: guids.tree,
        readOnly: true,
        path: tree,
      },
    ],
  };
}

function factsOf(changes: MintedImage, root: Layer, models: Layer | undefined): ImageFacts {
  const { name = 'vouchsafe-1.0.0', program = 'program', init = 'init', profiles, modelManifest } = changes;
  const rootTree = new Tree();
  rootTree.add('usr/bin/node', { kind: 'file', mode: 0o755, content: utf8(program) });
  rootTree.add('usr/bin/nodejs', { kind: 'link', target: 'node' });
  const initrdTree = new Tree();
  initrdTree.add('init', { kind: 'file', mode: 0o755, content: utf8(init) });
  const modelsTree = new Tree();
  modelsTree.add('tiny/model.onnx', { kind: 'file', mode: 0o644, content: utf8(changes.models ?? '') });
  const verity = ({ rootHash, dataBlocks }: Layer) => ({ rootHash, dataBlocks, salt: toHex(SALT) });
  return {
    name,
    version: '1.0.0',
    source: { commit: 'ab'.repeat(20), tree: 'cd'.repeat(32) },
    stub: 'systemd-257',
    uname: '6.12.0',
    parameters: { 'disk.guid': DISK_GUID },
    inputs: inputsOf(changes),
    outputs: {
      disk: 'disk.raw',
      uki: 'vouchsafe.efi',
      kernel: 'kernel',
      initrd: 'initrd',
      cmdline: 'cmdline',
      root: 'root.erofs',
      rootTree: 'root.verity',
      ...(models && { models: 'models.erofs', modelsTree: 'models.verity' }),
    },
    root: verity(root),
    models: models && { ...verity(models), models: [{ name: 'tiny', manifest: modelManifest }] },
    trees: { root: rootTree, initrd: initrdTree, models: models && modelsTree },
    profiles,
  };
}

function inputsOf({ nodeVersion = '24.0.0', kernel = 'kernel' }: MintedImage): readonly InputFact[] {
  const digest = (text: string): string => Buffer.from(text.padEnd(32, '.')).toString('hex').slice(0, 64);
  return [
    {
      kind: 'npm',
      name: '@scope/node-linux-x64',
      version: nodeVersion,
      path: `@scope/node-linux-x64/-/node-linux-x64-${nodeVersion}.tgz`,
      bytes: 100,
      sha256: digest(`node ${nodeVersion}`),
      integrity: `sha512-${Buffer.alloc(64, nodeVersion).toString('base64')}`,
      licence: 'MIT',
      uses: ['root'],
    },
    {
      kind: 'debian',
      name: 'libstdc++6',
      version: '14.2.0-19',
      path: 'pool/main/g/gcc-14/libstdc++6_14.2.0-19_amd64.deb',
      bytes: 200,
      sha256: digest('libstdc++6'),
      licence: 'see the copyright file',
      uses: ['root'],
    },
    {
      kind: 'debian',
      name: 'linux-image-6.12.0-cloud-amd64',
      version: '6.12.0-1',
      path: 'pool/main/l/linux/linux-image-6.12.0-cloud-amd64_6.12.0-1_amd64.deb',
      bytes: 300,
      sha256: digest(kernel),
      uses: ['kernel', 'initrd'],
    },
    {
      kind: 'debian',
      name: 'tcc',
      version: '0.9.27',
      path: 'pool/main/t/tcc/tcc_0.9.27_amd64.deb',
      bytes: 400,
      sha256: digest('tcc'),
      uses: ['tool'],
    },
    {
      kind: 'configuration',
      name: 'config.json',
      version: '',
      path: '',
      bytes: 2,
      sha256: digest('config'),
      uses: ['root'],
    },
  ];
}
