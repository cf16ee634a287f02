import type { ManifestInput } from './manifest.ts';

/** Characters that a part of a package URL keeps (ECMA-427, section 5.4). */
const KEPT = /[^A-Za-z0-9.\-_~:]/gu;

/** The package URL of an input; undefined of what is no package. */
export function packageUrl({ kind, name, version, path }: ManifestInput): string | undefined {
  switch (kind) {
    case 'debian': {
      const architecture = /_([a-z0-9]+)\.deb$/.exec(path)?.[1] ?? 'amd64';
      return `pkg:deb/debian/${encode(name)}@${encode(version)}?arch=${architecture}`;
    }
    case 'npm':
      return `pkg:npm/${name.split('/').map(encode).join('/')}@${encode(version)}`;
    case 'source':
    case 'configuration':
    case 'model':
    case 'firmware':
      return undefined;
  }
}

function encode(text: string): string {
  return text.replaceAll(KEPT, (character) =>
    [...Buffer.from(character)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );
}
