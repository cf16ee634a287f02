import { describe, expect, test } from '@jest/globals';
import { columnsFor } from '../../../../src/engine/decoder/columns.ts';

describe('columns of a cache', () => {
  test('grow by half in steps of 64', () => {
    const widths = new Set(Array.from({ length: 1200 }, (_, tokens) => columnsFor(tokens, 1_000_000)));
    expect([...widths]).toEqual([64, 128, 192, 320, 512, 768, 1152, 1728]);
  });

  test('have room for the next token', () => {
    for (let tokens = 1; tokens < 5000; tokens++)
      expect(columnsFor(tokens, 1_000_000)).toBeGreaterThan(tokens);
  });

  test('change where a sequence fills them', () => {
    expect([63, 64, 127, 128].map((tokens) => columnsFor(tokens, 4096))).toEqual([64, 128, 128, 192]);
  });

  test('leave room for the step within the context, whose last token no step follows', () => {
    for (const context of [2, 40, 64, 65, 256, 300]) {
      for (let tokens = 1; tokens < context - 1; tokens++) {
        const columns = columnsFor(tokens, context);
        expect(columns).toBeGreaterThan(tokens);
        expect(columns).toBeLessThan(context);
      }
    }
  });
});
