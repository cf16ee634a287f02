import { CliError } from '../../../src/cli/exit.ts';
import { inspectBytes, printInspection, type Inspection } from '../../../src/cli/inspect.ts';
import { Terminal } from '../../../src/cli/terminal.ts';

/** What a terminal of so many columns shows. */
export function printed(inspection: Inspection, columns = 80): string {
  let text = '';
  const stream = { columns, isTTY: false, write: (more: string) => ((text += more), true) };
  const terminal = new Terminal(stream as unknown as NodeJS.WriteStream, {});
  printInspection(terminal, inspection, 'file');
  return text;
}

/** Everything that the output says, a line for each row, without breaks inside of values. */
export function said({ name, encoding, sections }: Inspection): string {
  const blocks = sections.map(({ title, rows }) => [title, ...rows.map((row) => row.join('  '))].join('\n'));
  return [name, encoding ?? '', ...blocks].join('\n');
}

/** Why a file cannot be shown; undefined where it can. Anything but a `CliError` fails the test. */
export function unreadable(bytes: Uint8Array): CliError | undefined {
  try {
    inspectBytes(bytes, 'file');
    return undefined;
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
}
