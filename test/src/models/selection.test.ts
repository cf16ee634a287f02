import { describe, expect, test } from '@jest/globals';
import { makeSelection } from '../../../src/models/import/selection.ts';

describe('patterns of what is taken', () => {
  test.each<readonly [string, string, boolean]>([
    ['*.json', 'config.json', true],
    ['*.json', 'deep/down/config.json', true],
    ['*.json', 'config.jsonl', false],
    ['onnx/*', 'onnx/model.onnx', true],
    ['onnx/*', 'onnx/parts/w.bin', false],
    ['onnx/**', 'onnx/parts/w.bin', true],
    ['**/w.bin', 'w.bin', true],
    ['**/w.bin', 'onnx/parts/w.bin', true],
    ['**/w.bin', 'onnx/xw.bin', false],
    ['a/**/b', 'a/b', true],
    ['a/**/b', 'a/c/d/b', true],
    ['a/**/b', 'a/cb', false],
    ['model?.onnx', 'model1.onnx', true],
    ['model?.onnx', 'model.onnx', false],
    ['a/?b', 'a//b', false],
    ['w+(1).bin', 'w+(1).bin', true],
    ['w+(1).bin', 'ww1.bin', false],
    ['**', 'any/thing', true],
    ['', '', true],
  ])('%s and %s', (pattern, path, wanted) => {
    expect(makeSelection([pattern], [])(path)).toBe(wanted);
  });

  test('leave out after they take', () => {
    const select = makeSelection(['*.bin'], ['big*']);
    expect(['a.bin', 'big.bin', 'a.txt', 'model.sig'].map(select)).toEqual([true, false, false, true]);
  });

  test('with many stars are done at once with a path that is made for them', () => {
    const select = makeSelection([`${'*a'.repeat(12)}b`, `x/${'**/a'.repeat(12)}b`], []);
    expect(select('a'.repeat(2048))).toBe(false);
    expect(select(`x/${'a/'.repeat(1000)}`)).toBe(false);
  }, 2_000);

  test.each([
    ['taken', makeSelection([], [])],
    ['left out', makeSelection([], ['**'])],
  ])('refuse a path that is too long, where it would be %s', (_, select) => {
    select('a'.repeat(2048));
    expect(() => select('a'.repeat(2049))).toThrow(expect.objectContaining({ code: 'PATH_REFUSED' }));
  });
});
