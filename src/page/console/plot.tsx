import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import UPlot from 'uplot';
import { amount, clock, hour } from './words.ts';

export interface Line {
  readonly label: string;
  /** Null where there is none. */
  readonly values: readonly (number | null)[];
}

interface PlotProps {
  readonly title: string;
  readonly unit: string;
  /** Seconds since 1970, rising. */
  readonly times: readonly number[];
  /** The first is drawn through, the second is dashed. */
  readonly lines: readonly Line[];
}

const HEIGHT = 160;
/** The picture of a service that has just begun is not stretched. */
const LEAST_SECONDS = 300;
const DASHES: readonly (readonly number[])[] = [[], [6, 4]];
/** Rows of the table that says the same as the picture. */
const ROWS = 12;

/** A plot with its newest values in words, and a table of the last minute for who does not see it. */
export function Plot({ title, unit, times, lines }: PlotProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const drawn = useRef<UPlot | undefined>(undefined);
  const look = useLook();
  const data: UPlot.AlignedData = [[...times], ...lines.map(({ values }) => [...values])];
  useEffect(() => {
    if (!place.current) return undefined;
    const plot = draw(place.current, look, lines, data);
    drawn.current = plot;
    const watch = new ResizeObserver(([entry]) => {
      if (entry) plot.setSize({ width: Math.floor(entry.contentRect.width), height: HEIGHT });
    });
    watch.observe(place.current);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
  }, [look]);
  useEffect(() => drawn.current?.setData(data), [times, lines]);
  return (
    <figure class="plot">
      <figcaption>
        <h3>{title}</h3>
        <Legend unit={unit} lines={lines} />
      </figcaption>
      <div ref={place} class="canvas" aria-hidden="true" />
      <Table title={title} unit={unit} times={times} lines={lines} />
    </figure>
  );
}

/** The newest value of each line, and the largest. */
function Legend({ unit, lines }: Pick<PlotProps, 'unit' | 'lines'>): JSX.Element {
  return (
    <ul class="legend">
      {lines.map(({ label, values }, i) => (
        <li key={label} class={`line-${i}`}>
          <span class="mark" aria-hidden="true" />
          {label} <strong>{amount(newest(values), unit)}</strong>
          <span class="quiet"> at most {amount(largest(values), unit)}</span>
        </li>
      ))}
    </ul>
  );
}

function Table({ title, unit, times, lines }: PlotProps): JSX.Element {
  const [open, setOpen] = useState(false);
  const from = Math.max(0, times.length - ROWS);
  const rows = times.slice(from).map((time, i) => ({ time, at: from + i }));
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{title.replace(/ \(.*/, '')} as a table</summary>
      {open && (
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              {lines.map(({ label }) => (
                <th key={label} scope="col" class="number">
                  {label}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.reverse().map(({ time, at }) => (
              <tr key={at}>
                <td>{clock(time, time)}</td>
                {lines.map(({ label, values }) => (
                  <td key={label} class="number">
                    {amount(values[at], unit)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </details>
  );
}

function newest(values: Line['values']): number | null {
  return values.findLast((value) => value !== null) ?? null;
}

function largest(values: Line['values']): number | null {
  return values.reduce<number | null>(
    (most, value) => (value !== null && value > (most ?? -1) ? value : most),
    null,
  );
}

/** Colours as the style sheet has them for this look. */
interface Look {
  readonly text: string;
  readonly grid: string;
  readonly lines: readonly string[];
}

function readLook(): Look {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  return {
    text: colour('--quiet'),
    grid: colour('--border'),
    lines: [colour('--line-0'), colour('--line-1')],
  };
}

const LOOKS = ['(prefers-color-scheme: dark)', 'print'];

/** Read anew when the system goes from light to dark, and for print. */
function useLook(): Look {
  const [look, setLook] = useState(readLook);
  useEffect(() => {
    const change = (): void => setLook(readLook());
    const queries = LOOKS.map((query) => matchMedia(query));
    for (const query of queries) query.addEventListener('change', change);
    return () => {
      for (const query of queries) query.removeEventListener('change', change);
    };
  }, []);
  return look;
}

function draw(place: HTMLElement, look: Look, lines: readonly Line[], data: UPlot.AlignedData): UPlot {
  const axis = {
    stroke: look.text,
    grid: { stroke: look.grid, width: 1 },
    ticks: { stroke: look.grid, width: 1 },
    font: '12px system-ui, sans-serif',
  };
  const options: UPlot.Options = {
    width: Math.max(120, Math.floor(place.clientWidth)),
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: true, range: (_plot, low, high) => [Math.min(low, high - LEAST_SECONDS), high] },
      y: { range: (_plot, _low, high) => [0, Math.max(1, high * 1.1)] },
    },
    axes: [
      { ...axis, space: 60, size: 28, values: (_plot, times) => times.map(hour) },
      { ...axis, size: 46, space: 30 },
    ],
    series: [
      {},
      ...lines.map(({ label }, i) => ({
        label,
        stroke: look.lines[i] ?? look.text,
        width: 2,
        dash: [...(DASHES[i] ?? [])],
        points: { show: false },
        spanGaps: true,
      })),
    ],
  };
  return new UPlot(options, data, place);
}
