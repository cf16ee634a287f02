import { readFile } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import { isInside, socketAddress } from '../../../../enclave/image/guest/interface.ts';
import { resolverFile } from '../../../../enclave/image/guest/network.ts';
import { isPress } from '../../../../enclave/image/guest/powerButton.ts';
import { commandLine } from '../../../../enclave/image/layout.ts';

describe('the command line of an image', () => {
  test('has only words that the first program knows', async () => {
    const source = await readFile(new URL('../../../../enclave/image/guest/init.c', import.meta.url), 'utf8');
    const list = /KERNEL_WORDS\[\] = \{([^}]*)\}/.exec(source)?.[1] ?? '';
    const known = [...list.matchAll(/"([^"]+)"/g)].map(([, word]) => word);
    const volume = { rootHash: 'ab'.repeat(32), dataBlocks: 30_000, salt: 'cd'.repeat(32) };
    const words = commandLine(volume, volume).split(' ');
    const named = words.filter((word) => word.startsWith('vouchsafe.'));
    expect(words.filter((word) => !named.includes(word) && !known.includes(word))).toEqual([]);
    const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
    const form = new RegExp(
      `^vouchsafe\\.(?:root|models)=${uuid},${uuid},[0-9a-f]{64},[1-9][0-9]{0,9},[0-9a-f]{64}$`,
    );
    expect(named).toHaveLength(2);
    for (const word of named) expect(word).toMatch(form);
  });
});

describe('addresses', () => {
  test('are socket addresses of the kernel', () => {
    expect([...socketAddress('10.0.2.15', 68)]).toEqual([2, 0, 0, 68, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  test('lie inside a network or beyond it', () => {
    expect(isInside('10.0.2.2', '10.0.2.15', '255.255.255.0')).toBe(true);
    expect(isInside('10.0.3.2', '10.0.2.15', '255.255.255.0')).toBe(false);
    expect(isInside('10.0.2.2', '10.0.2.15', '255.255.255.255')).toBe(false);
  });

  test('of name servers are one in each line', () => {
    expect(resolverFile({ nameServers: ['10.0.2.3', '1.1.1.1'] })).toBe(
      'nameserver 10.0.2.3\nnameserver 1.1.1.1\n',
    );
    expect(resolverFile({ nameServers: [] })).toBe('');
  });
});

describe('an event of an input device', () => {
  const event = (type: number, code: number, value: number): Uint8Array => {
    const bytes = Buffer.alloc(24);
    bytes.writeUInt16LE(type, 16);
    bytes.writeUInt16LE(code, 18);
    bytes.writeInt32LE(value, 20);
    return bytes;
  };

  test('is a press of the power button, or something else', () => {
    expect(isPress(event(1, 116, 1))).toBe(true);
    for (const other of [event(1, 116, 0), event(1, 30, 1), event(0, 0, 0)])
      expect(isPress(other)).toBe(false);
  });
});
