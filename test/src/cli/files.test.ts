import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EXIT } from '../../../src/cli/exit.ts';
import { readInput } from '../../../src/cli/files.ts';
import { prepareFolder } from '../../../src/cli/saved.ts';
import { programName } from '../../../src/cli/programName.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-files-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function write(name: string, content: string): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

describe('readInput', () => {
  test('gives all bytes of a file', async () => {
    expect(Buffer.from(await readInput(write('some', 'x'.repeat(100_000)))).toString()).toBe(
      'x'.repeat(100_000),
    );
    expect(await readInput(write('none', ''))).toHaveLength(0);
  });

  test('a file that is too large is not read', async () => {
    truncateSync(write('large', ''), 2 ** 40);
    await expect(readInput(join(folder, 'large'))).rejects.toMatchObject({ exit: EXIT.unreadable });
  });

  test('a device without an end ends', async () => {
    await expect(readInput('/dev/zero')).rejects.toMatchObject({ exit: EXIT.unreadable });
  });

  test.each(['', 'missing'])('«%s» says why it cannot be read', async (name) => {
    const path = join(folder, name);
    await expect(readInput(path)).rejects.toMatchObject({ exit: EXIT.unreadable });
  });
});

describe('prepareFolder', () => {
  test('makes a folder and those above it, for the owner only', async () => {
    const path = join(folder, 'a', 'b');
    await prepareFolder(path);
    await prepareFolder(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });

  test('a file in the way is misuse', async () => {
    const path = write('file', '');
    await expect(prepareFolder(path)).rejects.toMatchObject({ exit: EXIT.misuse });
    await expect(prepareFolder(join(path, 'below'))).rejects.toMatchObject({ exit: EXIT.misuse });
  });

  test('a place that takes no folders is misuse, and found out', async () => {
    await expect(prepareFolder('/proc/vouchsafe')).rejects.toMatchObject({ exit: EXIT.misuse });
  });
});

test('the program is named as it was called', () => {
  expect(programName({})).toBe('vouchsafe');
  expect(programName({ npm_lifecycle_event: 'start' })).toBe('npx vouchsafe');
});
