import { HostingError } from '../hostingErrors.ts';

/** A name, or a version: both together are shorter than the longest model id. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** An alias is a model id. */
const ALIAS = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** Stands for the release of a name that was added last; no release may be called so. */
export const LATEST = 'latest';

export interface ReleaseName {
  readonly name: string;
  readonly version: string;
}

/** `name@version` of a release that is to be made. */
export function parseNewRelease(text: string): ReleaseName {
  const parsed = parseReference(text);
  if (parsed.version !== LATEST) return parsed;
  throw new HostingError('RELEASE_NAME_INVALID', `${JSON.stringify(text)} is no name of a new release`);
}

/** `name@version`, or `name@latest`. */
export function parseReference(text: string): ReleaseName {
  const [name = '', version = '', ...rest] = text.split('@');
  if (WORD.test(name) && WORD.test(version) && rest.length === 0) return { name, version };
  throw new HostingError('RELEASE_NAME_INVALID', `${JSON.stringify(text)} is no name@version`);
}

export function isReference(text: string): boolean {
  const [name = '', version = '', ...rest] = text.split('@');
  return WORD.test(name) && WORD.test(version) && rest.length === 0;
}

export function isAlias(text: string): boolean {
  return ALIAS.test(text);
}

export function referenceOf({ name, version }: ReleaseName): string {
  return `${name}@${version}`;
}
