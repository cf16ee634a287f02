import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { encodeDc, type Dc, type DcMap } from '../../attestation/cbor/deterministic.ts';
import { JsonError, parseStrictJson, parseStrictJsonText } from '../../attestation/json/strict.ts';
import { checkAci } from './aci.ts';
import { ConfigError } from './errors.ts';
import { checkHardware } from './hardware.ts';
import { type Config, CONFIG_SCHEMA, exposedHost, keysRequired, type Setting, SETTINGS } from './schema.ts';
import { checkTls } from './tls.ts';

/** The file that is read where no other is named; it may be absent. */
export const DEFAULT_FILE = 'vouchsafe.config.json';
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const DIGEST_LABEL = 'vouchsafe/service-config/1';

/** Where the value of a setting comes from, weakest first. */
export type Origin = 'default' | 'file' | 'env' | 'cli';

type Values = Readonly<Record<string, unknown>>;
/** Settings by section, as the command line gives them. */
export type ConfigOverrides = {
  readonly [S in keyof Config]?: { readonly [N in keyof Config[S]]?: Config[S][N] | undefined } | undefined;
};

export interface ConfigSources {
  /** File that must exist; without it `vouchsafe.config.json` is read where it is. */
  readonly file?: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly cli?: ConfigOverrides;
}

export interface LoadedConfig {
  readonly config: Config;
  /** By `section.name`. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** Path of the file that was read. */
  readonly file: string | undefined;
  /** SHA-256 over the measured settings; receipts state it. */
  readonly digest: Uint8Array;
}

/** Reads the configuration: command line over environment over file over defaults. Throws `ConfigError`. */
export async function loadConfig({ file, environment, cli = {} }: ConfigSources): Promise<LoadedConfig> {
  const found = await readConfigFile(file);
  const layers: readonly (readonly [Origin, Values])[] = [
    ['file', found?.values ?? {}],
    ['env', readEnvironment(environment)],
    ['cli', cli],
  ];
  const origins = new Map<string, Origin>(
    SETTINGS.map(({ section, name }) => [`${section}.${name}`, 'default']),
  );
  const merged: Record<string, Record<string, unknown>> = {};
  for (const { section } of SETTINGS) merged[section] ??= {};
  for (const [origin, values] of layers) mergeLayer(merged, origins, origin, values);
  const config = checkConfig(merged);
  return { config, origins, file: found?.path, digest: configDigest(config) };
}

/** Checks a whole configuration. For callers that build one; `loadConfig` does it, too. */
export function checkConfig(values: unknown): Config {
  const parsed = CONFIG_SCHEMA.safeParse(values);
  if (!parsed.success) throw toConfigError(parsed.error.issues);
  const config = parsed.data;
  checkHardware(config);
  checkTls(config);
  checkAci(config);
  if (keysRequired(config) && config.keys.apiKeys.length === 0) {
    const host = exposedHost(config) ?? config.server.host;
    throw new ConfigError('KEYS_MISSING', `keys are required on ${host}, and there is none`);
  }
  return config;
}

/** `SHA-256(dc(["vouchsafe/service-config/1", {section: {name: value}}]))` over the measured settings. */
export function configDigest(config: Config): Uint8Array {
  const sections = new Map<string, DcMap>();
  for (const { section, name, measured } of SETTINGS) {
    if (!measured) continue;
    const settings = new Map(sections.get(section));
    sections.set(section, settings.set(name, valueOf(config, section, name) as Dc));
  }
  return createHash('sha256')
    .update(encodeDc([DIGEST_LABEL, sections]))
    .digest();
}

/** One setting as `config print` shows it. */
export interface ConfigLine {
  /** `section.name`. */
  readonly name: string;
  /** Secrets are left out; undefined where nothing is set. */
  readonly value: unknown;
  readonly origin: Origin;
  readonly variable: string;
  readonly measured: boolean;
  readonly description: string;
}

/** Every setting with its value and where that comes from. Holds no secret. */
export function describeConfig({ config, origins }: LoadedConfig): readonly ConfigLine[] {
  return SETTINGS.map((setting) => {
    const { section, variable, measured, description } = setting;
    const name = `${section}.${setting.name}`;
    const value = shownValue(setting, valueOf(config, section, setting.name));
    return { name, value, origin: origins.get(name) ?? 'default', variable, measured, description };
  });
}

function shownValue({ secret }: Setting, value: unknown): unknown {
  if (!secret || value === undefined) return value;
  if (!Array.isArray(value)) return '(set)';
  return (value as Config['keys']['apiKeys']).map(({ name }) => ({ name, sha256: '(set)' }));
}

function valueOf(config: Config, section: string, name: string): unknown {
  return (config as Readonly<Record<string, Values>>)[section]?.[name];
}

async function readConfigFile(
  path: string | undefined,
): Promise<{ readonly path: string; readonly values: Values } | undefined> {
  const resolved = resolve(path ?? DEFAULT_FILE);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(resolved);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    if (path === undefined && code === 'ENOENT') return undefined;
    throw new ConfigError('CONFIG_UNREADABLE', `${resolved}: ${code}`);
  }
  if (bytes.length > MAX_FILE_BYTES) throw new ConfigError('CONFIG_MALFORMED', `${resolved}: is too large`);
  const values = parseJson(resolved, () => parseStrictJson(bytes));
  if (!isObject(values)) throw new ConfigError('CONFIG_MALFORMED', `${resolved}: is no object`);
  return { path: resolved, values };
}

function parseJson(what: string, parse: () => unknown): unknown {
  try {
    return parse();
  } catch (error) {
    if (error instanceof JsonError) throw new ConfigError('CONFIG_MALFORMED', `${what}: ${error.message}`);
    throw error;
  }
}

function isObject(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `VOUCHSAFE_<SECTION>_<NAME>`, and `PORT` below it. A variable with the prefix of a section must be a setting. */
function readEnvironment(environment: ConfigSources['environment']): Values {
  const values: Record<string, Record<string, unknown>> = {};
  const set = ({ section, name }: Setting, value: unknown): void => {
    values[section] = { ...values[section], [name]: value };
  };
  const { PORT } = environment;
  const port = SETTINGS.find(({ variable }) => variable === 'VOUCHSAFE_SERVER_PORT');
  if (port && PORT !== undefined && PORT !== '') set(port, readVariable('PORT', PORT, port));
  for (const [variable, text] of Object.entries(environment)) {
    if (text === undefined || !isSettingName(variable)) continue;
    const setting = SETTINGS.find((candidate) => candidate.variable === variable);
    if (!setting) throw new ConfigError('CONFIG_UNKNOWN', `${variable} is no setting`);
    set(setting, readVariable(variable, text, setting));
  }
  return values;
}

function isSettingName(variable: string): boolean {
  return SETTINGS.some(({ section }) => variable.startsWith(`VOUCHSAFE_${section.toUpperCase()}_`));
}

/** Text stands for itself where the setting takes text; else it is JSON, such as 9000, true or a list of keys. */
function readVariable(variable: string, text: string, { schema }: Setting): unknown {
  if (schema.safeParse(text).success) return text;
  const value = parseVariable(text);
  const parsed = schema.safeParse(value);
  if (parsed.success) return value;
  throw new ConfigError(
    'CONFIG_INVALID',
    `${variable}: ${parsed.error.issues[0]?.message ?? 'cannot be used'}`,
  );
}

function parseVariable(text: string): unknown {
  try {
    return parseStrictJsonText(text);
  } catch {
    return text;
  }
}

function mergeLayer(
  merged: Record<string, Record<string, unknown>>,
  origins: Map<string, Origin>,
  origin: Origin,
  values: Values,
): void {
  for (const [section, settings] of Object.entries(values)) {
    const target = Object.hasOwn(merged, section) ? merged[section] : undefined;
    if (!target) throw new ConfigError('CONFIG_UNKNOWN', `${section} is no section`);
    if (settings === undefined) continue;
    if (!isObject(settings)) throw new ConfigError('CONFIG_INVALID', `${section}: is no object`);
    for (const [name, value] of Object.entries(settings)) {
      if (value === undefined) continue;
      target[name] = value;
      origins.set(`${section}.${name}`, origin);
    }
  }
}

function toConfigError(
  issues: readonly { code: string; path: PropertyKey[]; message: string }[],
): ConfigError {
  const [issue] = issues;
  const where = issue?.path.join('.') ?? '';
  const code = issue?.code === 'unrecognized_keys' ? 'CONFIG_UNKNOWN' : 'CONFIG_INVALID';
  return new ConfigError(code, `${where === '' ? '' : `${where}: `}${issue?.message ?? 'is not valid'}`);
}
