/** A picture in shades of grey. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** 0 is black, 255 white; row by row. */
  readonly pixels: Uint8Array;
}

/** Letters as strokes of a pen: points `xy` on a grid of 5 columns and 7 rows, from the upper left; `|` lifts the pen. */
const STROKES: Readonly<Record<string, string>> = {
  A: '06 20 46|14 34', B: '00 06 36 45 44 33 03|33 42 41 30 00', C: '41 30 10 01 05 16 36 45',
  D: '00 06 26 44 42 20 00', E: '40 00 06 46|03 33', F: '40 00 06|03 33', G: '41 30 10 01 05 16 36 45 43 23',
  H: '00 06|40 46|03 43', I: '20 26', J: '40 45 36 16 05', K: '00 06|40 03 46', L: '00 06 46',
  M: '06 00 23 40 46', N: '06 00 46 40', O: '10 30 41 45 36 16 05 01 10', P: '06 00 30 41 42 33 03',
  Q: '10 30 41 45 36 16 05 01 10|24 46', R: '06 00 30 41 42 33 03|23 46', S: '41 30 10 01 02 13 33 44 45 36 16 05',
  T: '00 40|20 26', U: '00 05 16 36 45 40', V: '00 26 40', W: '00 16 23 36 40', X: '00 46|40 06',
  Y: '00 23 40|23 26', Z: '00 40 06 46', 0: '10 30 41 45 36 16 05 01 10', 1: '02 20 26',
  2: '01 10 30 41 42 06 46', 3: '01 10 30 41 42 33 13|33 44 45 36 16 05', 4: '36 30 04 44', 5: '40 00 02 32 43 45 36 06',
  6: '30 10 01 05 16 36 45 44 33 03', 7: '00 40 16', 8: '13 02 01 10 30 41 42 33 13 04 05 16 36 45 44 33',
  9: '43 13 02 01 10 30 41 45 36 16', ' ': '',
}; // prettier-ignore

/** Columns from one letter to the next. */
const ADVANCE = 6;
/** Half the width of the pen, in columns. */
const PEN = 0.55;

type Point = readonly [x: number, y: number];
type Line = readonly [from: Point, to: Point];

/** Size of a column and of a row, pixels. */
const UNIT = 6;
/** Empty columns and rows on each side of the text. */
const MARGIN = 4;
/** Rows from one line to the next. */
const LINE_ADVANCE = 12;

/** Draws lines of capital letters, digits and spaces, black on white. Both sides are multiples of 32 pixels. */
export function drawText(lines: readonly string[]): Picture {
  const columns = ADVANCE * Math.max(...lines.map((text) => text.length));
  const width = roundUp((columns + 2 * MARGIN) * UNIT);
  const height = roundUp((LINE_ADVANCE * lines.length + MARGIN) * UNIT);
  const picture = { width, height, pixels: new Uint8Array(width * height).fill(255) };
  lines.forEach((text, row) => {
    Array.from(text).forEach((letter, column) => {
      const left = (MARGIN + column * ADVANCE) * UNIT;
      drawLetter(picture, linesOf(letter), [left, (MARGIN + row * LINE_ADVANCE) * UNIT]);
    });
  });
  return picture;
}

const roundUp = (size: number): number => Math.ceil(size / 32) * 32;

function linesOf(letter: string): readonly Line[] {
  const strokes = STROKES[letter];
  if (strokes === undefined)
    throw new RangeError(`only A to Z, digits and spaces can be drawn, not ${letter}`);
  return strokes.split('|').flatMap((stroke) => {
    const points = (stroke.match(/\d\d/g) ?? []).map((xy): Point => [Number(xy[0]), Number(xy[1])]);
    return points.slice(1).map((to, i): Line => [points[i] ?? to, to]);
  });
}

function drawLetter(picture: Picture, lines: readonly Line[], [left, top]: Point): void {
  for (let y = top - UNIT; y < Math.min(top + 8 * UNIT, picture.height); y += 1) {
    for (let x = left - UNIT; x < Math.min(left + 6 * UNIT, picture.width); x += 1) {
      const point: Point = [(x - left) / UNIT, (y - top) / UNIT];
      const distance = Math.min(...lines.map((line) => distanceTo(line, point)));
      // The edge of the pen is one pixel wide, so that strokes have no steps.
      const ink = Math.min(1, Math.max(0, (PEN - distance) * UNIT + 0.5));
      const at = y * picture.width + x;
      picture.pixels[at] = Math.min(picture.pixels[at] ?? 0, Math.round(255 * (1 - ink)));
    }
  }
}

function distanceTo([[ax, ay], [bx, by]]: Line, [x, y]: Point): number {
  const [dx, dy] = [bx - ax, by - ay];
  const along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy);
  const part = Math.min(1, Math.max(0, along));
  return Math.hypot(x - ax - part * dx, y - ay - part * dy);
}

/** A part of a picture, at another height, with its proportions; between pixels by linear interpolation. */
export function cropTo(picture: Picture, box: Box, height: number): Picture {
  const [w, h] = [box.right - box.left, box.bottom - box.top];
  const width = Math.max(1, Math.round((w * height) / h));
  const pixels = new Uint8Array(width * height);
  for (let i = 0; i < pixels.length; i += 1) {
    const x = box.left + (((i % width) + 0.5) * w) / width - 0.5;
    const y = box.top + ((Math.floor(i / width) + 0.5) * h) / height - 0.5;
    pixels[i] = Math.round(between(picture, x, y));
  }
  return { width, height, pixels };
}

/** Pixels from `left` and `top` up to, but without, `right` and `bottom`. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

function between({ width, height, pixels }: Picture, x: number, y: number): number {
  const clamp = (value: number, end: number) => Math.min(end - 1, Math.max(0, value));
  const at = (column: number, row: number) => pixels[clamp(row, height) * width + clamp(column, width)] ?? 0;
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [right, bottom] = [x - left, y - top];
  const upper = at(left, top) * (1 - right) + at(left + 1, top) * right;
  const lower = at(left, top + 1) * (1 - right) + at(left + 1, top + 1) * right;
  return upper * (1 - bottom) + lower * bottom;
}
