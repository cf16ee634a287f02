import { HostingError } from '../hostingErrors.ts';
import { MAX_PATH_LENGTH } from '../release/pathSet.ts';

/** Which files of a source become part of a release. */
export type Selection = (path: string) => boolean;

/** What git keeps beside the files of a repository; signers leave it out, unless they name it. */
const OF_GIT = /^(?:\.git|\.github)\/|^\.git(?:attributes|ignore)$/;
/** The name under which a signature lies beside the model that it signs. */
export const SIGNATURE_NAME = 'model.sig';

/**
 * Patterns match a whole path, or its last part where they have no `/`: `*` within a part, `**` across parts. Asked
 * before anything else: a path that is longer than any that a release may have is refused, not left out.
 */
export function makeSelection(include: readonly string[], exclude: readonly string[]): Selection {
  const [taken, left] = [include.map(toMatcher), exclude.map(toMatcher)];
  return (path) => {
    requireShort(path);
    const isTaken = taken.length === 0 || path === SIGNATURE_NAME || taken.some((matches) => matches(path));
    return isTaken && !left.some((matches) => matches(path));
  };
}

export function isOfGit(path: string): boolean {
  return OF_GIT.test(path);
}

function requireShort(path: string): void {
  if (path.length <= MAX_PATH_LENGTH) return;
  const message = `${JSON.stringify(path.slice(0, 300))}… has ${path.length} characters, at most ${MAX_PATH_LENGTH}`;
  throw new HostingError('PATH_REFUSED', message);
}

function toMatcher(pattern: string): Selection {
  const tokens = pattern.match(/\*\*\/?|[^]/g) ?? [];
  if (pattern.includes('/')) return (path) => isMatch(tokens, path);
  return (path) => isMatch(tokens, path.slice(path.lastIndexOf('/') + 1));
}

/**
 * Walks every way through the pattern at once. The paths are the source's: as a regular expression, which tries one way
 * after the other, they would cost their length to the power of the stars.
 */
function isMatch(tokens: readonly string[], path: string): boolean {
  let places = placesFrom(tokens, 0);
  for (let i = 0; i < path.length && places.size > 0; i++) {
    const character = path.charAt(i);
    places = new Set([...places].flatMap((place) => [...placesAfter(tokens, place, character)]));
  }
  return places.has(tokens.length);
}

/** A place in the pattern, and those that follow it without a character. */
function placesFrom(tokens: readonly string[], place: number): ReadonlySet<number> {
  const places = new Set([place]);
  for (let at = place; ['*', '**', '**/'].includes(tokens[at] ?? ''); at++) places.add(at + 1);
  return places;
}

/** Negative places are within the folders that two stars and a slash stand for; the slash ends them. */
function placesAfter(tokens: readonly string[], place: number, character: string): ReadonlySet<number> {
  const at = place < 0 ? -1 - place : place;
  const token = tokens[at];
  const isSlash = character === '/';
  if (token === '**/') return new Set([-1 - at, ...(isSlash ? placesFrom(tokens, at + 1) : [])]);
  if (token === '**' || (token === '*' && !isSlash)) return placesFrom(tokens, at);
  if (token === character || (token === '?' && !isSlash)) return placesFrom(tokens, at + 1);
  return new Set();
}
