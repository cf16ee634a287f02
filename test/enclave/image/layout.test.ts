import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { commandLine, GUIDS, parametersOf, saltOf } from '../../../enclave/image/layout.ts';

const verity = (digit: string) => ({ rootHash: digit.repeat(64), dataBlocks: 21_876, salt: '5a'.repeat(32) });

describe('layout of an image', () => {
  test('the command line names volumes by partition, root hash, blocks and salt', () => {
    const words = commandLine(verity('1'), verity('2')).split(' ');
    expect(words.slice(-2)).toEqual([
      `vouchsafe.root=${GUIDS.root},${GUIDS.rootTree},${'1'.repeat(64)},21876,${'5a'.repeat(32)}`,
      `vouchsafe.models=${GUIDS.models},${GUIDS.modelsTree},${'2'.repeat(64)},21876,${'5a'.repeat(32)}`,
    ]);
    expect(commandLine(verity('1'), undefined)).not.toContain('vouchsafe.models');
  });

  test('the first program knows every word of the command line', () => {
    const init = readFileSync(new URL('../../../enclave/image/guest/init.c', import.meta.url), 'utf8');
    const words = commandLine(verity('1'), undefined).split(' ');
    expect(words.filter((word) => !word.startsWith('vouchsafe.') && !init.includes(`"${word}"`))).toEqual([]);
  });

  test('salts differ and have 32 bytes', () => {
    expect(saltOf('root')).toHaveLength(32);
    expect(saltOf('models')).not.toEqual(saltOf('root'));
  });

  test('GUIDs differ', () => {
    expect(new Set(Object.values(GUIDS)).size).toBe(Object.keys(GUIDS).length);
    expect(parametersOf()['guid.root']).toBe(GUIDS.root);
  });
});
