import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('../plots/', import.meta.url));
const [WIDTH, HEIGHT, MARGIN] = [640, 320, 56];
const COLOURS = ['#1b6ca8', '#5aa9a3', '#c9772f', '#8a8f98'] as const;

export interface Plot {
  readonly title: string;
  /** Names of the groups of bars. */
  readonly x: readonly string[];
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
}

/** Writes grouped bars from zero as `plots/<name>.svg`. */
export function writePlot(name: string, plot: Plot): void {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, `${name}.svg`), drawBars(plot));
}

export function drawBars({ title, x, series }: Plot): string {
  const top = Math.max(1, ...series.flatMap(({ values }) => values));
  const [left, right, bottom] = [MARGIN, WIDTH - 16, HEIGHT - MARGIN];
  const group = (right - left) / x.length;
  const bar = (group * 0.8) / series.length;
  const y = (value: number): number => bottom - ((bottom - MARGIN) * value) / top;
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const at = y(share * top).toFixed(1);
    const label = text(left - 6, Number(at) + 4, short(share * top), 'end');
    return `<line x1="${left}" y1="${at}" x2="${right}" y2="${at}" stroke="#ddd"/>${label}`;
  });
  const bars = series.flatMap(({ name, values }, s) =>
    values.map((value, i) => {
      const from = left + i * group + group * 0.1 + s * bar;
      const height = (bottom - y(value)).toFixed(1);
      const shape = `<rect x="${from.toFixed(1)}" y="${y(value).toFixed(1)}" width="${(bar - 2).toFixed(1)}" height="${height}" fill="${colour(s)}">`;
      return `${shape}<title>${escape(name)}, ${escape(x[i] ?? '')}: ${short(value)}</title></rect>${text(from + bar / 2 - 1, y(value) - 4, short(value), 'middle')}`;
    }),
  );
  const names = x.map((label, i) => text(left + (i + 0.5) * group, bottom + 18, label, 'middle'));
  const legend = series.map(({ name }, s) => {
    const from = left + (s * (right - left)) / series.length;
    return `<rect x="${from.toFixed(1)}" y="${HEIGHT - 20}" width="10" height="10" fill="${colour(s)}"/>${text(from + 15, HEIGHT - 11, name, 'start')}`;
  });
  const parts = [text(left, 24, title, 'start', 15), ...marks, ...bars, ...names, ...legend];
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="11">`;
  return `${head}<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>${parts.join('')}</svg>\n`;
}

const colour = (index: number): string => COLOURS[index % COLOURS.length] ?? COLOURS[0];

function text(x: number, y: number, value: string, anchor: string, size = 11): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" font-size="${size}">${escape(value)}</text>`;
}

function escape(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Three digits that matter. */
function short(value: number): string {
  return value >= 1000 ? `${(value / 1000).toPrecision(3)}k` : value.toPrecision(3);
}
