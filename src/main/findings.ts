import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { Finding } from '../../enclave/collect/finding.ts';
import type { Config } from '../config/schema.ts';
import { hasSystemCode } from '../errors/systemCode.ts';

/** One thing of this machine that was looked at. */
export interface Examined {
  readonly what: string;
  readonly state: 'usable' | 'absent' | 'unusable';
  readonly detail: string;
  readonly fix?: string | undefined;
}

/** A way to evidence, by its name. */
export function toExamined({ way, ...finding }: Finding): Examined {
  return { what: way, ...finding };
}

/** What the console shows of the machine: the ways to evidence as they were found, the system, and the folder of data. */
export async function findingsAtStart(
  config: Config,
  ways: readonly Finding[],
): Promise<readonly Examined[]> {
  return [...ways.map(toExamined), examineSystem(), await examineDataFolder(config)];
}

export function examineSystem(): Examined {
  const user = process.getuid?.() === 0 ? 'root' : `user ${process.getuid?.() ?? 'unknown'}`;
  const detail = `Linux ${release()}, Node ${process.versions.node}, ${user}`;
  return { what: 'system', state: 'usable', detail };
}

export async function examineDataFolder({ data: { directory } }: Config): Promise<Examined> {
  const [what, path] = ['data', resolve(directory)];
  try {
    await access(path, constants.W_OK).catch(async (error: unknown) => {
      // It is made at the first start.
      if (!hasSystemCode(error, 'ENOENT')) throw error;
      await access(dirname(path), constants.W_OK);
    });
    return { what, state: 'usable', detail: path };
  } catch (error) {
    const detail = error instanceof Error ? error.message : path;
    return { what, state: 'unusable', detail, fix: 'Set data.directory to a folder that may be written.' };
  }
}
