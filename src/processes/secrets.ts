import { type Config, SETTINGS } from '../config/schema.ts';

/** Whoever authenticates needs the digests of keys. */
const SECRETS = SETTINGS.filter(({ secret, section }) => secret && section !== 'keys');

/** Variables that would hand secrets on to other processes. */
export const SECRET_VARIABLES: readonly string[] = SECRETS.map(({ variable }) => variable);

/** The configuration for a process that serves HTTP: archive and object store are not its own to reach. */
export function withoutSecrets(config: Config): Config {
  const sections = Object.entries(config).map(([section, settings]) => {
    const names = SECRETS.filter((secret) => secret.section === section).map(({ name }) => name);
    const kept = Object.entries(settings).filter(([name]) => !names.includes(name));
    return [section, Object.fromEntries(kept)];
  });
  return Object.fromEntries(sections) as Config;
}
