/** Which files of a source become part of a release. */
export type Selection = (path: string) => boolean;

/** What git keeps beside the files of a repository; signers leave it out, unless they name it. */
const OF_GIT = /^(?:\.git|\.github)\/|^\.git(?:attributes|ignore)$/;
/** The name under which a signature lies beside the model that it signs. */
export const SIGNATURE_NAME = 'model.sig';

/** Patterns match a whole path, or its last part where they have no `/`: `*` within a part, `**` across parts. */
export function makeSelection(include: readonly string[], exclude: readonly string[]): Selection {
  const [taken, left] = [include.map(toMatcher), exclude.map(toMatcher)];
  return (path) =>
    (taken.length === 0 || path === SIGNATURE_NAME || taken.some((matches) => matches(path))) &&
    !left.some((matches) => matches(path));
}

export function isOfGit(path: string): boolean {
  return OF_GIT.test(path);
}

function toMatcher(pattern: string): Selection {
  const parts = pattern.split(/(\*\*\/?|\*|\?)/).map((part) => {
    if (part === '**/') return '(?:.*/)?';
    if (part === '**') return '.*';
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    return part.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&');
  });
  const expression = new RegExp(`^${parts.join('')}$`);
  if (pattern.includes('/')) return (path) => expression.test(path);
  return (path) => expression.test(path.slice(path.lastIndexOf('/') + 1));
}
