import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes. */
export interface MemoryUse {
  /** What is still reachable after a full collection, buffers outside V8's heap included. */
  readonly collected: number;
  /** Resident: also what V8 keeps of what it collected. */
  readonly resident: number;
}

/** V8 gives its collector to contexts that are made after the flag is set; nobody has to start Node with it. */
function exposeCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

/** Collects twice: what the first run finds dead may hold memory that is freed in the turn after it. */
export async function measureMemory(): Promise<MemoryUse> {
  const collect = exposeCollector();
  collect();
  await nextTurn();
  collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { collected: heapUsed + external, resident: rss };
}
