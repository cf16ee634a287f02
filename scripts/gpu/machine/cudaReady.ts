import { execFile } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { z } from 'zod';
import { foldersOf } from './libraries.ts';

const STATUS = z.object({
  loads: z.boolean(),
  needs: z.array(
    z.object({ name: z.string(), required: z.boolean(), advice: z.string(), found: z.boolean() }),
  ),
  missing: z.object({ file: z.string(), detail: z.string() }).nullable(),
});
type Status = z.infer<typeof STATUS>;

/**
 * Makes the libraries of CUDA known to processes that are started from here on, and asks `vouchsafe cuda status`.
 * Returns why CUDA does not load, in lines; none where it does.
 */
export async function readyCuda(root: string, folders: readonly string[]): Promise<readonly string[]> {
  const first = await cudaStatus(root);
  const lacking = first.needs.filter(({ found }) => !found).map(({ name }) => name);
  const found = foldersOf(lacking, [join(root, 'lib'), ...folders]);
  if (found.length > 0) {
    const before = process.env['LD_LIBRARY_PATH'];
    process.env['LD_LIBRARY_PATH'] = [...found, ...(before ? [before] : [])].join(':');
  }
  const { loads, missing, needs } = found.length > 0 ? await cudaStatus(root) : first;
  if (loads) return [];
  return [
    `CUDA does not load: ${missing ? `${missing.file} ${missing.detail}` : 'no reason is given'}`,
    ...needs.filter((need) => need.required && !need.found).map(({ name, advice }) => `${name}: ${advice}`),
  ];
}

/** The linker reads its path once for each process: this asks a new one. */
function cudaStatus(root: string): Promise<Status> {
  const program = join(root, 'dist', 'src', 'cli', 'main.js');
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [program, 'cuda', 'status', '--json'], (error, stdout, stderr) => {
      // It ends with 3 where something is missing, and says so in the same document.
      try {
        resolve(STATUS.parse(JSON.parse(stdout)));
      } catch {
        reject(new Error(`vouchsafe cuda status failed: ${stderr.trim()}`, { cause: error }));
      }
    });
  });
}
