import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { Config } from '../config/schema.ts';
import { cudaStatus } from '../engine/cuda/status.ts';
import { hasSystemCode } from '../errors/systemCode.ts';
import { lookAtHardware, openHardware } from '../main/hardware.ts';
import { readStore } from '../models/store.ts';

/** One thing that was looked at. */
export interface Examined {
  readonly what: string;
  readonly state: 'usable' | 'absent' | 'unusable';
  readonly detail: string;
  readonly fix?: string | undefined;
}

/** What a machine offers to the service. */
export interface Examination {
  readonly cpu: readonly Examined[];
  readonly devices: readonly Examined[];
  readonly service: readonly Examined[];
  /** Hardware that the service would take; undefined where it would not start. */
  readonly taken: string | undefined;
  readonly simulated: boolean;
  /** Why it would not start. */
  readonly problem?: { readonly code: string; readonly message: string; readonly advice: string };
}

/** Looks at hardware, models and folders as the service would. Evidence is not asked for. */
export async function examine(config: Config): Promise<Examination> {
  const look = await lookAtHardware(config);
  const toExamined = ({ way, ...finding }: (typeof look)['devices']): Examined => ({ what: way, ...finding });
  const service = [system(), await models(config), await dataFolder(config), await cuda(config)];
  return {
    cpu: look.cpu.map(toExamined),
    devices: [toExamined(look.devices)],
    service,
    ...(await takenOf(config)),
  };
}

async function takenOf(config: Config): Promise<Pick<Examination, 'taken' | 'simulated' | 'problem'>> {
  try {
    const hardware = await openHardware(config);
    await hardware.close();
    return { taken: hardware.name, simulated: hardware.name === 'simulated' };
  } catch (error) {
    const { code, advice } = error as { readonly code?: unknown; readonly advice?: unknown };
    if (!(error instanceof Error) || typeof code !== 'string') throw error;
    const problem = { code, message: error.message, advice: typeof advice === 'string' ? advice : '' };
    return { taken: undefined, simulated: false, problem };
  }
}

function system(): Examined {
  const user = process.getuid?.() === 0 ? 'root' : `user ${process.getuid?.() ?? 'unknown'}`;
  const detail = `Linux ${release()}, Node ${process.versions.node}, ${user}`;
  return { what: 'system', state: 'usable', detail };
}

/** Without CUDA, models run on the CPU where that is allowed. */
async function cuda({ engine: { provider } }: Config): Promise<Examined> {
  const what = 'cuda';
  if (provider === 'cpu') return { what, state: 'absent', detail: 'engine.provider is cpu' };
  const { missing, runtime } = await cudaStatus();
  if (!missing) return { what, state: 'usable', detail: `onnxruntime ${runtime} loads it` };
  const detail = `${missing.file} ${missing.detail}`;
  if (provider === 'auto') return { what, state: 'absent', detail: `${detail}; models run on the CPU` };
  return { what, state: 'unusable', detail, fix: '`vouchsafe cuda install`, then `vouchsafe cuda status`.' };
}

async function models({ models: { directory, signing } }: Config): Promise<Examined> {
  const what = 'models';
  try {
    const { models: usable, refused } = await readStore(directory, signing);
    const [refusal] = refused;
    if (refusal) return { what, state: 'unusable', detail: refusal.message, fix: refusal.advice };
    const names = usable.map(({ id }) => id).join(', ');
    if (usable.length > 0) return { what, state: 'usable', detail: `${usable.length}: ${names}` };
    return { what, state: 'absent', detail: `${directory} is empty`, fix: 'vouchsafe models add FOLDER' };
  } catch (error) {
    const { message, advice } = error as Error & { readonly advice?: string };
    return { what, state: 'unusable', detail: message, fix: advice };
  }
}

async function dataFolder({ data: { directory } }: Config): Promise<Examined> {
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
