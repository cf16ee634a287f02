import type { Output } from './tensors.ts';
import type { Box } from './picture.ts';

/** As PaddleOCR has them: what counts as text, how sure of a whole box, and by how much a box grows. */
const PIXEL_THRESHOLD = 0.3;
const BOX_THRESHOLD = 0.6;
const UNCLIP_RATIO = 1.5;
const LEAST_PIXELS = 16;

/**
 * Upright boxes around what the detection model takes for text, as one reads them. The model gives shrunken text, which is
 * why boxes grow. Text that is turned or bent needs contours, as in PaddleOCR itself.
 */
export function textBoxes({ shape, data }: Output): readonly Box[] {
  const [height = 0, width = 0] = shape.slice(-2);
  const seen = new Uint8Array(data.length);
  const boxes: Box[] = [];
  data.forEach((probability, start) => {
    if (probability <= PIXEL_THRESHOLD || seen[start]) return;
    const region = regionFrom(start, data, seen, width);
    const sure = region.reduce((sum, at) => sum + (data[at] ?? 0), 0) / region.length;
    if (region.length >= LEAST_PIXELS && sure >= BOX_THRESHOLD) boxes.push(boxAround(region, width, height));
  });
  return inReadingOrder(boxes);
}

/** From above; boxes that begin beside each other are one row, from the left. */
function inReadingOrder(boxes: readonly Box[]): readonly Box[] {
  const rows: Box[][] = [];
  for (const box of boxes.toSorted((a, b) => a.top - b.top)) {
    const row = rows.at(-1);
    const [first] = row ?? [];
    if (row && first && box.top < (first.top + first.bottom) / 2) row.push(box);
    else rows.push([box]);
  }
  return rows.flatMap((row) => row.toSorted((a, b) => a.left - b.left));
}

/** All pixels of text that touch one another, marked as seen. */
function regionFrom(start: number, data: Float32Array, seen: Uint8Array, width: number): readonly number[] {
  const region = [start];
  seen[start] = 1;
  for (const at of region) {
    const column = at % width;
    const sides = [
      at - width,
      at + width,
      ...(column > 0 ? [at - 1] : []),
      ...(column < width - 1 ? [at + 1] : []),
    ];
    for (const next of sides) {
      if (seen[next] !== 0 || (data[next] ?? 0) <= PIXEL_THRESHOLD) continue;
      seen[next] = 1;
      region.push(next);
    }
  }
  return region;
}

function boxAround(region: readonly number[], width: number, height: number): Box {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (const at of region) {
    const [x, y] = [at % width, Math.floor(at / width)];
    [left, top] = [Math.min(left, x), Math.min(top, y)];
    [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
  }
  const [w, h] = [right - left, bottom - top];
  const grow = Math.round((w * h * UNCLIP_RATIO) / (2 * (w + h)));
  return {
    left: Math.max(0, left - grow),
    top: Math.max(0, top - grow),
    right: Math.min(width, right + grow),
    bottom: Math.min(height, bottom + grow),
  };
}
