import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { npmRegistry } from '../../enclave/image/inputs/registry.ts';
import {
  parsePins,
  type Archive,
  type DebianPin,
  type NpmPin,
  type SourcePin,
} from '../../enclave/image/inputs/pins.ts';
import { readIndex, type Index, type Paragraph } from './debianIndex.ts';
import { compareVersions } from './debianVersion.ts';
import { NODE, SUITES, WANTED } from './wanted.ts';

export interface PinOptions {
  readonly file: string;
  /** Of Debian, such as `https://deb.debian.org`. */
  readonly mirror: string;
  readonly notice: (line: string) => void;
}

interface Found {
  readonly paragraph: Paragraph;
  readonly archive: Archive;
}

/** Pins the newest packages of the archives in place of those that are pinned. */
export async function updatePins({ file, mirror, notice }: PinOptions): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vouchsafe-pins-'));
  try {
    const indexes: Index[] = [];
    for (const { archive, suite } of SUITES) {
      notice(`reading ${archive} ${suite}`);
      indexes.push(await readIndex({ mirror, archive, suite, folder, notice }));
    }
    const now = `${new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`;
    const debian = WANTED.map(({ name, uses }) => pinOf(newest(indexes, name), uses));
    const pins = {
      version: 'vouchsafe/pins/1',
      // Snapshot archives answer with the newest state that is not newer than this.
      snapshots: Object.fromEntries(indexes.map(({ archive }) => [archive, now])),
      inputs: [...debian, await pinNode()],
      sources: sourcesOf(indexes, debian),
    };
    const text = `${JSON.stringify(pins, undefined, 2)}\n`;
    parsePins(Buffer.from(text));
    writeFileSync(file, text);
    for (const { name, version } of pins.inputs) notice(`${name} ${version}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function newest(indexes: readonly Index[], name: RegExp): Found {
  const found = indexes
    .flatMap(({ archive, packages }) => packages.map((paragraph) => ({ paragraph, archive })))
    .filter(({ paragraph }) => name.test(paragraph.get('Package') ?? ''))
    .sort((a, b) => compareVersions(field(a.paragraph, 'Version'), field(b.paragraph, 'Version')))
    .at(-1);
  if (found === undefined) throw new Error(`no package is called ${name.source}`);
  return found;
}

function pinOf({ paragraph, archive }: Found, uses: DebianPin['uses']): DebianPin {
  return {
    kind: 'debian',
    name: field(paragraph, 'Package'),
    version: field(paragraph, 'Version'),
    archive,
    path: field(paragraph, 'Filename'),
    bytes: Number(field(paragraph, 'Size')),
    sha256: field(paragraph, 'SHA256'),
    source: sourceNames(paragraph),
    uses: [...uses],
  };
}

/** `Source` where it is called otherwise, with its version where that differs; and what was built in. */
function sourceNames(paragraph: Paragraph): DebianPin['source'] {
  const own = /^(\S+)(?: \((.+)\))?$/.exec(paragraph.get('Source') ?? field(paragraph, 'Package'));
  const builtIn = (paragraph.get('Built-Using') ?? '').matchAll(/([^\s,]+) \(= ([^)]+)\)/g);
  return [
    { name: own?.[1] ?? '', version: own?.[2] ?? field(paragraph, 'Version') },
    ...[...builtIn].map(([, name = '', version = '']) => ({ name, version })),
  ];
}

function sourcesOf(indexes: readonly Index[], pins: readonly DebianPin[]): readonly SourcePin[] {
  const wanted = new Map(
    pins.flatMap(({ source }) => source).map((source) => [`${source.name} ${source.version}`, source]),
  );
  return [...wanted.values()].flatMap(({ name, version }) => {
    for (const { archive, sources } of indexes) {
      const paragraph = sources.find(
        (candidate) => candidate.get('Package') === name && candidate.get('Version') === version,
      );
      if (paragraph !== undefined) return filesOf(paragraph, archive);
    }
    throw new Error(`no archive has the source ${name} ${version}`);
  });
}

function filesOf(paragraph: Paragraph, archive: Archive): readonly SourcePin[] {
  const folder = field(paragraph, 'Directory');
  const [name, version] = [field(paragraph, 'Package'), field(paragraph, 'Version')];
  return field(paragraph, 'Checksums-Sha256')
    .split('\n')
    .map((line) => {
      const [sha256 = '', bytes = '', file = ''] = line.trim().split(/ +/);
      return {
        kind: 'source',
        name,
        version,
        archive,
        path: `${folder}/${file}`,
        bytes: Number(bytes),
        sha256,
      };
    });
}

async function pinNode(): Promise<NpmPin> {
  const registry = await npmRegistry();
  const { versions } = (await (await fetch(`${registry.replace(/\/$/, '')}/${NODE.name}`)).json()) as {
    versions: Record<string, { dist: { integrity: string } } | undefined>;
  };
  const version = Object.keys(versions)
    .filter((candidate) => new RegExp(`^${NODE.major}\\.\\d+\\.\\d+$`).test(candidate))
    .sort(compareVersions)
    .at(-1);
  const integrity = versions[version ?? '']?.dist.integrity;
  if (version === undefined || integrity === undefined)
    throw new Error(`${NODE.name} has no version ${NODE.major}`);
  return {
    kind: 'npm',
    name: NODE.name,
    version,
    path: `${NODE.name}/-/${NODE.name}-${version}.tgz`,
    integrity,
    licence: 'MIT',
    uses: ['root'],
  };
}

function field(paragraph: Paragraph, name: string): string {
  const value = paragraph.get(name);
  if (value === undefined) throw new Error(`a paragraph of an index has no ${name}`);
  return value;
}
