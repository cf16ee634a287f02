import { type Body, invalid, type Neutral } from './generationSettings.ts';

/** The members of these names, where they are there. */
export function pick(body: Body, names: readonly string[]): Body {
  return Object.fromEntries(Object.entries(body).filter(([name]) => names.includes(name)));
}

/**
 * Refuses by its name what is not read, unless its value changes nothing; null is as if it were not there. `within`
 * names the object whose members these are.
 */
export function refuseOthers(
  body: Body,
  names: readonly string[],
  { neutral = {}, within = '' }: { readonly neutral?: Neutral; readonly within?: string } = {},
): void {
  for (const [name, value] of Object.entries(body)) {
    if (names.includes(name) || value === null) continue;
    const isNeutral = Object.hasOwn(neutral, name) ? neutral[name] : undefined;
    if (isNeutral?.(value)) continue;
    const param = within === '' ? name.slice(0, 64) : `${within}.${name.slice(0, 64)}`;
    throw invalid(param, 'a parameter is not supported with this value');
  }
}

export function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
