import type { Section } from './inspectEvidence.ts';
import { printable, wrap, type Terminal } from './terminal.ts';

/** A heading and its rows, names and values in two columns. */
export function printSection(terminal: Terminal, { title, rows }: Section): void {
  terminal.line();
  terminal.line(terminal.c.bold(printable(title)));
  const names = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) printRow(terminal, name.padEnd(names), value);
}

function printRow(terminal: Terminal, name: string, value: string): void {
  const { c, columns } = terminal;
  const [first = '', ...rest] = wrap(value, columns - name.length - 4);
  terminal.line(`  ${c.dim(printable(name))}  ${first}`);
  for (const line of rest) terminal.line(`${' '.repeat(name.length + 4)}${line}`);
}
