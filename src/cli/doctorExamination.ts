import type { Config } from '../config/schema.ts';
import { cudaStatus } from '../engine/cuda/status.ts';
import { type Examined, examineDataFolder, examineSystem, toExamined } from '../main/findings.ts';
import { lookAtHardware, openHardware } from '../main/hardware.ts';
import { readStore } from '../models/store.ts';

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
  const service = [
    examineSystem(),
    await models(config),
    await examineDataFolder(config),
    await cuda(config),
  ];
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
