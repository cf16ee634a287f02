import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ImageError } from '../errors.ts';

/** The registry that npm itself would ask here. */
export async function npmRegistry(): Promise<string> {
  const cli = process.env['npm_execpath'];
  const [command, first] = cli?.endsWith('npm-cli.js') === true ? [process.execPath, [cli]] : ['npm', []];
  try {
    const { stdout } = await promisify(execFile)(command, [...first, 'config', 'get', 'registry'], {
      timeout: 30_000,
    });
    return new URL(stdout.trim()).href;
  } catch (error) {
    throw new ImageError('IMAGE_INPUT_UNAVAILABLE', 'npm does not say which registry it uses', {
      cause: error,
    });
  }
}
