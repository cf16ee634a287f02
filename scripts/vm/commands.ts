import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The program from its source: it finds the sources of an image beside it. */
const PROGRAM = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
const MAX_OUTPUT = 16 * 1024 * 1024;

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Setting {
  readonly environment?: Readonly<Record<string, string>>;
  /** Put before the command, such as `unshare --uts`. */
  readonly wrapper?: readonly string[];
  readonly umask?: number;
}

/** Runs `vouchsafe` as a person does, and waits for its end. */
export function vouchsafe(args: readonly string[], setting: Setting = {}): Promise<Outcome> {
  const { environment = {}, wrapper = [], umask } = setting;
  const [command = process.execPath, ...rest] = [
    ...wrapper,
    process.execPath,
    '--import',
    'tsx',
    PROGRAM,
    ...args,
  ];
  const before = umask === undefined ? undefined : process.umask(umask);
  // A child takes the umask of its start.
  const child = spawn(command, rest, {
    cwd: CHECKOUT,
    env: { ...process.env, NO_COLOR: '1', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (before !== undefined) process.umask(before);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout: stdout(), stderr: stderr() }));
  });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    if (text.length < MAX_OUTPUT) text += chunk;
  });
  return () => text;
}
