import { describe, expect, test } from '@jest/globals';
import { cropTo, drawText } from '../../examples/picture.ts';
import { textBoxes } from '../../examples/textBoxes.ts';

const [WIDTH, HEIGHT] = [64, 32];

/** A map of probabilities with rectangles of text: `[left, top, right, bottom, probability]`. */
function mapOf(...rectangles: readonly (readonly [number, number, number, number, number])[]) {
  const data = new Float32Array(WIDTH * HEIGHT);
  for (const [left, top, right, bottom, probability] of rectangles) {
    for (let y = top; y < bottom; y += 1) data.fill(probability, y * WIDTH + left, y * WIDTH + right);
  }
  return { shape: [1, 1, HEIGHT, WIDTH], data };
}

describe('boxes of text', () => {
  test('grow by the ratio of area and circumference', () => {
    // 20 × 4 pixels: 80 * 1.5 / 48 is 2.5, rounded to 3.
    expect(textBoxes(mapOf([10, 10, 30, 14, 0.9]))).toEqual([{ left: 7, top: 7, right: 33, bottom: 17 }]);
  });

  test('end at the edge of the picture', () => {
    expect(textBoxes(mapOf([0, 0, 64, 8, 0.9]))).toEqual([{ left: 0, top: 0, right: 64, bottom: 13 }]);
  });

  test('come in reading order: rows from above, each from the left', () => {
    const boxes = textBoxes(mapOf([40, 3, 60, 7, 0.9], [4, 4, 24, 8, 0.9], [4, 20, 24, 24, 0.9]));
    expect(boxes.map(({ left, top }) => [left, top])).toEqual([[1, 1], [37, 0], [1, 17]]); // prettier-ignore
  });

  test('two that touch at the ends of neighbouring rows are two', () => {
    expect(textBoxes(mapOf([56, 8, 64, 12, 0.9], [0, 9, 8, 13, 0.9]))).toHaveLength(2);
  });

  test.each([
    ['is too small', [10, 10, 15, 13, 0.9]],
    ['is not sure enough', [10, 10, 30, 14, 0.5]],
    ['is below the threshold', [10, 10, 30, 14, 0.29]],
  ] as const)('what %s is none', (_name, rectangle) => {
    expect(textBoxes(mapOf(rectangle))).toEqual([]);
  });
});

describe('pictures', () => {
  test('have sides of whole 32 pixels, black strokes on white', () => {
    const { width, height, pixels } = drawText(['I']);
    expect([width % 32, height % 32, pixels.length]).toEqual([0, 0, width * height]);
    expect([Math.min(...pixels), Math.max(...pixels)]).toEqual([0, 255]);
  });

  test('a letter without strokes is refused', () => {
    expect(() => drawText(['Ä'])).toThrow(RangeError);
  });

  test('a crop keeps proportions, and the values where the size stays', () => {
    const pixels = Uint8Array.from({ length: 16 * 8 }, (_, i) => i);
    const box = { left: 2, top: 1, right: 8, bottom: 4 };
    const same = cropTo({ width: 16, height: 8, pixels }, box, 3);
    expect([...same.pixels.subarray(0, 6)]).toEqual([18, 19, 20, 21, 22, 23]);
    expect(cropTo({ width: 16, height: 8, pixels }, box, 6)).toMatchObject({ width: 12, height: 6 });
  });
});
