import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { FILES, outputOf } from '../../../../enclave/image/release/manifest.ts';
import { packageUrl } from '../../../../enclave/image/release/packageUrl.ts';
import { type Minted, mintImage } from './mintedImage.ts';

interface Component {
  readonly 'bom-ref': string;
  readonly name: string;
  readonly group?: string;
  readonly purl?: string;
  readonly scope: string;
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
  readonly licenses?: readonly unknown[];
}

interface Bom {
  readonly specVersion: string;
  readonly serialNumber: string;
  readonly metadata: { readonly timestamp?: string; readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly dependsOn: readonly string[] }[];
}

let minted: Minted;
let bom: Bom;

const bomOf = async ({ folder }: Minted): Promise<Bom> =>
  JSON.parse(await readFile(join(folder, FILES.sbom), 'utf8')) as Bom;

beforeAll(async () => {
  minted = await mintImage();
  bom = await bomOf(minted);
});

describe('the SBOM', () => {
  test('names each input as a package, with its digests and licence', () => {
    const node = bom.components.find(({ name }) => name === 'node-linux-x64');
    expect(node).toMatchObject({
      group: '@scope',
      purl: 'pkg:npm/%40scope/node-linux-x64@24.0.0',
      licenses: [{ expression: 'MIT' }],
    });
    expect(node?.hashes).toEqual([
      { alg: 'SHA-256', content: minted.manifest.inputs.find(({ kind }) => kind === 'npm')!.sha256 },
      { alg: 'SHA-512', content: Buffer.alloc(64, '24.0.0').toString('hex') },
    ]);
    expect(bom.components.find(({ name }) => name === 'libstdc++6')).toMatchObject({
      purl: 'pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64',
      licenses: [{ license: { name: 'see the copyright file' } }],
    });
  });

  test('says which inputs are in the image, and which only helped to build it', () => {
    const refs = bom.components
      .filter(({ scope }) => scope === 'required')
      .map((component) => component['bom-ref']);
    expect(bom.dependencies[0]?.dependsOn).toEqual(refs);
    expect(bom.components.filter(({ scope }) => scope === 'excluded').map(({ name }) => name)).toEqual([
      'tcc',
    ]);
    expect(new Set(bom.components.map((component) => component['bom-ref'])).size).toBe(bom.components.length);
  });

  test('is of this disk', () => {
    const disk = outputOf(minted.manifest, 'disk')!;
    expect(bom.metadata.component.hashes).toEqual([{ alg: 'SHA-256', content: disk.sha256 }]);
  });

  test('has no time, and a serial number that follows from its content', async () => {
    expect(bom.metadata.timestamp).toBeUndefined();
    expect(bom.serialNumber).toMatch(
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    expect((await bomOf(await mintImage())).serialNumber).toBe(bom.serialNumber);
    expect((await bomOf(await mintImage({ nodeVersion: '24.1.0' }))).serialNumber).not.toBe(bom.serialNumber);
  });
});

test('an architecture of a package is that of its file', () => {
  const [debian] = minted.manifest.inputs.filter(({ kind }) => kind === 'debian');
  expect(packageUrl({ ...debian!, name: 'a', version: '1:2~b+c', path: 'pool/a_2_all.deb' })).toBe(
    'pkg:deb/debian/a@1:2~b%2Bc?arch=all',
  );
  expect(packageUrl({ ...debian!, kind: 'configuration' })).toBeUndefined();
});
