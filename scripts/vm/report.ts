/** One thing that was tried. */
export interface Row {
  readonly what: string;
  /** Who had to refuse, or `accepted`. */
  readonly expected: string;
  readonly seen: string;
  readonly isRight: boolean;
  readonly detail: string;
  readonly seconds: number;
}

/** Lines of a table, the failures marked. */
export function tableOf(rows: readonly Row[]): readonly string[] {
  const width = (of: (row: Row) => string): number => Math.max(...rows.map((row) => of(row).length));
  const [what, expected] = [width((row) => row.what), width((row) => row.expected)];
  return rows.flatMap((row) => {
    const mark = row.isRight ? '✓' : '✗';
    const seen = row.isRight ? '' : ` seen: ${row.seen}`;
    const head = `${mark} ${row.what.padEnd(what)}  ${row.expected.padEnd(expected)}  ${row.seconds.toFixed(0).padStart(4)} s${seen}`;
    return row.detail === '' ? [head] : [head, `    ${row.detail}`];
  });
}
