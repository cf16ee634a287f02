import { HostingError } from '../hostingErrors.ts';

/** Where a model comes from, as people name it. */
export type Source =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'web'; readonly url: URL }
  | {
      readonly kind: 'hugging-face';
      readonly repository: string;
      /** Branch, tag or commit. */
      readonly revision: string;
    }
  | {
      readonly kind: 'oci';
      /** Host, and port where one is given. */
      readonly registry: string;
      readonly repository: string;
      readonly tag: string | undefined;
      /** Of the manifest, lower-case hex. */
      readonly sha256: string | undefined;
    };

/** Hugging Face: names of owner and repository, each up to 96 characters. */
const HUGGING_FACE =
  /^hf:(?:\/\/)?([A-Za-z0-9][A-Za-z0-9._-]{0,95}\/[A-Za-z0-9][A-Za-z0-9._-]{0,95})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{0,127}))?$/;
/** The grammar of the OCI distribution specification v1.1, section «Pulling manifests». */
const OCI =
  /^oci:\/\/((?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?)\/([a-z0-9]+(?:(?:\.|_|__|-+|\/)[a-z0-9]+)*)(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@sha256:([0-9a-f]{64}))?$/;

/** Reads how a person names a source. */
export function parseSource(text: string): Source {
  if (text.startsWith('hf:')) return parseHuggingFace(text);
  if (text.startsWith('oci:')) return parseOci(text);
  if (/^https?:\/\//i.test(text)) return parseWeb(text);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text) || text === '') throw invalid(text);
  return { kind: 'path', path: text };
}

function parseHuggingFace(text: string): Source {
  const [, repository, revision = 'main'] = HUGGING_FACE.exec(text) ?? [];
  if (repository === undefined || revision.includes('..') || revision.includes('//')) throw invalid(text);
  return { kind: 'hugging-face', repository, revision };
}

function parseOci(text: string): Source {
  const [, registry, repository, tag, sha256] = OCI.exec(text) ?? [];
  if (registry === undefined || repository === undefined || repository.length > 255) throw invalid(text);
  if (!URL.canParse(`https://${registry}`)) throw invalid(text);
  const named = tag ?? (sha256 === undefined ? 'latest' : undefined);
  return { kind: 'oci', registry, repository, tag: named, sha256 };
}

function parseWeb(text: string): Source {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.username !== '' || url.password !== '') throw invalid(text);
  url.hash = '';
  return { kind: 'web', url };
}

/** Of an address only what holds no secret: neither what is before `@` nor the query. */
function invalid(text: string): HostingError {
  const [shown = ''] = text.slice(0, 300).split('?', 1);
  const name = JSON.stringify(shown.replace(/\/\/[^/]*@/, '//'));
  return new HostingError('SOURCE_INVALID', `${name} names no source`);
}
