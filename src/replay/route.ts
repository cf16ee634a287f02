import type { InferencePath } from '../http/inferenceRoutes.ts';

/** A route with the parameters of one path. */
export interface MatchedRoute extends InferencePath {
  readonly params: Readonly<Record<string, string>>;
}

/** Finds the inference route of a path, query and all, as express does: case and a last slash do not matter. */
export function matchRoute(routes: readonly InferencePath[], path: string): MatchedRoute | undefined {
  const segments = segmentsOf(path.replace(/[?#].*$/s, ''));
  for (const candidate of routes) {
    const params = match(segmentsOf(candidate.path), segments);
    if (params) return { ...candidate, params };
  }
  return undefined;
}

const segmentsOf = (path: string): readonly string[] => path.replace(/\/$/, '').split('/');

function match(
  pattern: readonly string[],
  segments: readonly string[],
): Readonly<Record<string, string>> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, expected] of pattern.entries()) {
    const segment = segments[i] ?? '';
    if (expected.startsWith(':')) {
      const value = decode(segment);
      if (value === undefined || value === '') return undefined;
      params[expected.slice(1)] = value;
    } else if (expected.toLowerCase() !== segment.toLowerCase()) return undefined;
  }
  return params;
}

function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
