import { readFile } from 'node:fs/promises';
import { Refusal } from '../../attestation/errors.ts';
import { JsonError, parseStrictJson } from '../../attestation/json/strict.ts';
import { parsePolicy, type Policy } from '../../attestation/policy/policy.ts';
import { ConfigError } from '../config/errors.ts';
import type { Config } from '../config/schema.ts';
import { KeyReleaser } from './keyReleaser.ts';
import type { Vouching } from './vouching.ts';
import { wrappingKeysIn } from './wrappingKeys.ts';

/** Who releases data keys here, as the configuration has it; undefined where nobody does. Throws `ConfigError`. */
export async function configuredKeyReleaser(
  { keyRelease: { keys, policy } }: Pick<Config, 'keyRelease'>,
  vouching: Vouching,
  now: () => number,
): Promise<KeyReleaser | undefined> {
  if (keys === undefined || policy === undefined) return undefined;
  return new KeyReleaser({
    vouching,
    policy: await readReleasePolicy(policy),
    unwrap: wrappingKeysIn(keys),
    now,
  });
}

async function readReleasePolicy(path: string): Promise<Policy> {
  try {
    return parsePolicy(parseStrictJson(await readFile(path)));
  } catch (error) {
    if (error instanceof JsonError || error instanceof Refusal) {
      throw new ConfigError('CONFIG_INVALID', `keyRelease.policy: ${path}: ${error.message}`);
    }
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new ConfigError('CONFIG_UNREADABLE', `keyRelease.policy: ${path}: ${code}`);
  }
}
