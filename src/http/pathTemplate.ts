import { ServiceError } from './errors.ts';

/** Parameters of a path by their names. */
export type PathParameters = Readonly<Record<string, string>>;

/**
 * The parameters of a path, without its query, that has the form of a template as express writes it: `:name` for a
 * segment. Undefined where it has another form. Throws `PATH_INVALID` where a parameter cannot be decoded.
 */
export function matchPath(template: string, path: string): PathParameters | undefined {
  const [wanted, given] = [template.split('/'), path.split('/')];
  if (wanted.length !== given.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [i, name] of wanted.entries()) {
    const segment = given[i] ?? '';
    if (!name.startsWith(':')) {
      if (segment !== name) return undefined;
    } else if (segment === '') return undefined;
    else parameters[name.slice(1)] = decode(segment);
  }
  return parameters;
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new ServiceError('PATH_INVALID', 'the path cannot be decoded');
  }
}
