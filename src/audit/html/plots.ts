import { html, type Markup } from './markup.ts';

const WIDTH = 720;
const LEFT = 44;
const COLORS = {
  pass: '#1a7f4b',
  fail: '#b3261e',
  skip: '#c98a00',
  none: '#d5dae1',
  fill: '#3563b8',
} as const;
export type CellColor = keyof typeof COLORS;

const HOUR_MS = 3_600_000;
const MAX_BARS = 96;
/** Hours of one bar: that the bars are few enough, and of a length that people know. */
const STEPS = [1, 3, 6, 12, 24, 72, 168, 672, 2160, 8760];

interface Bar {
  readonly from: number;
  readonly count: number;
}

function barsOf(hours: ReadonlyMap<number, number>): {
  readonly bars: readonly Bar[];
  readonly step: number;
} {
  const [first, last] = [Math.min(...hours.keys()), Math.max(...hours.keys())];
  const step =
    STEPS.find((length) => (last - first) / length < MAX_BARS) ?? Math.ceil((last - first + 1) / MAX_BARS);
  const counts = new Map<number, number>();
  for (const [hour, count] of hours) {
    const from = Math.floor(hour / step) * step;
    counts.set(from, (counts.get(from) ?? 0) + count);
  }
  const bars: Bar[] = [];
  for (let from = Math.floor(first / step) * step; from <= last; from += step) {
    bars.push({ from, count: counts.get(from) ?? 0 });
  }
  return { bars, step };
}

/** Receipts over time. A bar without receipts is a gap in use, or one in the record: the text says which is known. */
export function volumePlot(hours: ReadonlyMap<number, number>): Markup {
  if (hours.size === 0) return html`<p class="dim">There are no receipts.</p>`;
  const { bars, step } = barsOf(hours);
  const most = Math.max(...bars.map(({ count }) => count));
  const height = 140;
  const width = (WIDTH - LEFT) / bars.length;
  const rects = bars.map(({ count, from }, i) => {
    const tall = (count / most) * (height - 10);
    const title = `${dayOf(from)}: ${count}`;
    const at = {
      x: round(LEFT + i * width),
      y: round(height - tall),
      w: round(Math.max(0.5, width - 0.6)),
      h: round(tall),
    };
    return html`<rect x="${at.x}" y="${at.y}" width="${at.w}" height="${at.h}" fill="${COLORS.fill}"
      ><title>${title}</title></rect
    >`;
  });
  const last = bars.at(-1);
  return html`<figure>
    <svg viewBox="0 0 ${WIDTH} ${height + 18}" role="img" aria-label="Receipts over time">
      <line x1="${LEFT}" y1="${height}" x2="${WIDTH}" y2="${height}" stroke="#5b6675" />
      ${rects}
      <text x="${LEFT - 4}" y="12" text-anchor="end">${most}</text>
      <text x="${LEFT - 4}" y="${height}" text-anchor="end">0</text>
      <text x="${LEFT}" y="${height + 13}">${dayOf(bars[0]?.from ?? 0)}</text>
      <text x="${WIDTH}" y="${height + 13}" text-anchor="end">${dayOf((last?.from ?? 0) + step - 1)}</text>
    </svg>
    <figcaption>Receipts in each ${stepName(step)}, by the times that the receipts state.</figcaption>
  </figure>`;
}

function stepName(step: number): string {
  if (step < 24) return step === 1 ? 'hour' : `${step} hours`;
  return step === 24 ? 'day' : `${Math.round(step / 24)} days`;
}

function dayOf(hour: number): string {
  return new Date(Math.max(-8.64e15, Math.min(8.64e15, hour * HOUR_MS)))
    .toISOString()
    .slice(0, 16)
    .replace('T', ' ');
}

export interface StripRow {
  readonly name: string;
  /** Parts of the row by place on its scale, with what people read about them. */
  readonly parts: readonly {
    readonly from: number;
    readonly to: number;
    readonly color: CellColor;
    readonly title: string;
  }[];
}

const MAX_PARTS = 2000;
const ROW = 20;

/** Rows of coloured parts over one scale from `start` to `end`. */
export function stripPlot(
  label: string,
  rows: readonly StripRow[],
  scale: {
    readonly start: number;
    readonly end: number;
    readonly startText: string;
    readonly endText: string;
  },
  caption: string,
): Markup {
  const left = 150;
  const span = Math.max(1, scale.end - scale.start);
  const place = (value: number): number => round(left + ((value - scale.start) / span) * (WIDTH - left));
  const lines = rows.map(({ name, parts }, row) => {
    const y = row * ROW;
    const cells = parts.slice(0, MAX_PARTS).map(({ color, from, title, to }) => {
      const width = Math.max(0.8, place(to) - place(from) - 0.3);
      return html`<rect
        x="${place(from)}"
        y="${y + 3}"
        width="${round(width)}"
        height="${ROW - 6}"
        fill="${COLORS[color]}"
        ><title>${title}</title></rect
      >`;
    });
    const short = name.length > 24 ? `${name.slice(0, 11)}…${name.slice(-11)}` : name;
    return html`<text x="${left - 6}" y="${y + 14}" text-anchor="end">${short}</text>${cells}`;
  });
  const height = rows.length * ROW;
  return html`<figure>
    <svg viewBox="0 0 ${WIDTH} ${height + 16}" role="img" aria-label="${label}">
      ${lines}
      <text x="${left}" y="${height + 12}">${scale.startText}</text>
      <text x="${WIDTH}" y="${height + 12}" text-anchor="end">${scale.endText}</text>
    </svg>
    <figcaption>${caption}</figcaption>
  </figure>`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
