import { execFile, spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { ROOT } from '../support/sources.ts';
import { startTestService } from '../support/service.ts';

const SCRIPT = join(ROOT, 'examples/by-hand/by-hand.sh');
const TOOLS = [
  ['bash', '--version'],
  ['curl', '--version'],
  ['openssl', 'version'],
  ['tac', '--version'],
] as const;
const missing = TOOLS.filter(([name, argument]) => spawnSync(name, [argument]).status !== 0).map(
  ([name]) => name,
);

interface Ran {
  readonly code: number;
  readonly stdout: string;
}

async function run(url: string, environment: Record<string, string> = {}): Promise<Ran> {
  const env = { ...process.env, ...environment };
  try {
    const { stdout } = await promisify(execFile)('bash', [SCRIPT, url, 'fake'], { env });
    return { code: 0, stdout };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout: stdout + stderr };
  }
}

const folderOf = (stdout: string): string => /files are in (\S+)/.exec(stdout)?.[1] ?? '';

if (missing.length > 0) {
  test.skip(`skipped: ${missing.join(', ')} is not here`, () => undefined);
} else {
  describe('examples/by-hand', () => {
    test('checks evidence, request, receipt and log of a live service, and refuses another root', async () => {
      const { url } = await startTestService(
        {},
        { world: { now: Date.now, hardware: { now: () => new Date() } } },
      );
      // One after the other: evidence that another asks for meanwhile is newer than what the first has checked.
      const good = await run(url);
      const root = await run(url, { CPU_ROOT: '00'.repeat(32) });
      for (const { stdout } of [good, root]) rmSync(folderOf(stdout), { recursive: true, force: true });
      expect(good).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('signature of the head') as unknown,
      });
      expect(root.code).toBe(1);
      expect(root.stdout).toContain('REFUSED: root key of the CPU');
    }, 60_000);
  });
}
