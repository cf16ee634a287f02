import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { GpuCase } from '../corpus/gpu/case.ts';
import { loadGpuCase } from '../corpus/load.ts';

const CORPUS = fileURLToPath(new URL('../../../shared/evidence/gpu', import.meta.url));
const FULL = 'h100-550.90.07-full';

/** A genuine H100 with all that it is verified by; undefined where this clone has no corpus beside it. */
export function fullGpuCase(): GpuCase | undefined {
  return existsSync(`${CORPUS}/${FULL}`) ? loadGpuCase(CORPUS, FULL) : undefined;
}
