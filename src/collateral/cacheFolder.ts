import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** Below XDG_CACHE_HOME, else below `~/.cache`; a relative XDG_CACHE_HOME counts as none (XDG base directories). */
export function defaultCacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const { XDG_CACHE_HOME: base } = environment;
  const root = base !== undefined && isAbsolute(base) ? base : join(homedir(), '.cache');
  return join(root, 'vouchsafe', 'collateral');
}
