import { createRequire } from 'node:module';
import type koffi from 'koffi';

type Koffi = typeof koffi;
type Prctl = (operation: number, ...parameters: readonly [number, number, number, number]) => number;

/** linux/prctl.h */
const PR_GET_DUMPABLE = 3;
const PR_SET_DUMPABLE = 4;
const SUID_DUMP_DISABLE = 0;

/**
 * Keeps what is in the memory of this process off the disk: the kernel writes no core dump of it, whatever the limits and
 * the pattern of this machine are, and other processes of the same user cannot read its memory (prctl(2),
 * PR_SET_DUMPABLE). It ends with the process: what that starts has to do it again.
 *
 * Returns what an operator must know where it is not so. `prepare` is called before a library is loaded.
 */
export function forbidCoreDumps(prepare: (native: Koffi) => void = () => undefined): string | undefined {
  try {
    // At once: nothing secret comes into this process before.
    const native = createRequire(import.meta.url)('koffi') as Koffi;
    prepare(native);
    // Variadic in C, but on x86-64 and AArch64 Linux passes integers to it as to any other function.
    const types = ['int', ...Array<string>(4).fill('unsigned long')];
    const prctl = native.load(null).func('prctl', 'int', types) as unknown as Prctl;
    prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE, 0, 0, 0);
    const state = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    return state === SUID_DUMP_DISABLE ? undefined : warning(`PR_GET_DUMPABLE is ${state}`);
  } catch (error) {
    return warning(error instanceof Error ? error.message : String(error));
  }
}

function warning(reason: string): string {
  return `A core dump would write private keys and content to disk: it could not be forbidden (${reason}). Start the service with \`ulimit -c 0\`.`;
}
