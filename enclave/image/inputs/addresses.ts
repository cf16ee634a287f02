import type { Archive, Pin } from './pins.ts';

/**
 * Where files of Debian are asked for, in this order: `{archive}`, `{snapshot}` and `{path}` stand for what the pin says.
 * Whoever answers decides nothing: size and digest are pinned. A path in place of an address is a folder of this machine.
 */
export const DEFAULT_MIRRORS: readonly string[] = [
  'https://deb.debian.org/{archive}/{path}',
  'https://snapshot.debian.org/archive/{archive}/{snapshot}/{path}',
];

/** Addresses that may have the file of a pin. */
export function addressesOf(
  pin: Pin,
  mirrors: readonly string[],
  registry: string,
  snapshots: Readonly<Partial<Record<Archive, string>>>,
): readonly string[] {
  if (pin.kind === 'npm') return [`${registry.replace(/\/+$/, '')}/${pin.path}`];
  // A plus sign stands for itself in a path, yet some mirrors read it as a space.
  const escaped = pin.path.replaceAll('+', '%2B');
  return mirrors.map((mirror) =>
    mirror
      .replace('{archive}', pin.archive)
      .replace('{snapshot}', snapshots[pin.archive] ?? '')
      .replace('{path}', /^https?:/.test(mirror) ? escaped : pin.path),
  );
}
