import type { Examined } from '../main/findings.ts';
import type { Examination } from './doctorExamination.ts';
import { printable, type Terminal, wrap } from './terminal.ts';

const NAME_COLUMNS = 15;

/** One line for each thing, and what to do below what is in the way. */
export function printExamination(terminal: Terminal, examination: Examination): void {
  printSection(terminal, 'evidence of the CPU', examination.cpu);
  printSection(terminal, 'evidence of GPUs and switches', examination.devices);
  printSection(terminal, 'service', examination.service);
  printConclusion(terminal, examination);
}

function printSection(terminal: Terminal, title: string, things: readonly Examined[]): void {
  const { c } = terminal;
  terminal.line(c.bold(title));
  for (const { what, state, detail, fix } of things) {
    const mark = { usable: c.green('✓'), absent: c.dim('–'), unusable: c.red('✗') }[state];
    const lines = wrap(detail, terminal.columns - NAME_COLUMNS - 4);
    for (const [i, line] of lines.entries()) {
      const start = i === 0 ? `${mark} ${what.padEnd(NAME_COLUMNS)}` : ' '.repeat(NAME_COLUMNS + 2);
      terminal.line(`  ${start}${state === 'absent' ? c.dim(line) : line}`);
    }
    if (fix === undefined || state === 'usable') continue;
    for (const line of wrap(fix, terminal.columns - NAME_COLUMNS - 4)) {
      terminal.line(`  ${' '.repeat(NAME_COLUMNS + 2)}${state === 'absent' ? c.dim(line) : c.cyan(line)}`);
    }
  }
  terminal.line();
}

function printConclusion(terminal: Terminal, { taken, simulated, problem }: Examination): void {
  const { c } = terminal;
  if (problem) {
    terminal.line(`${c.red('✗')} ${c.bold('The service would not start.')} ${problem.code}`);
    for (const text of [problem.message, problem.advice]) {
      for (const line of wrap(text, terminal.columns - 2)) terminal.line(`  ${line}`);
    }
  } else if (simulated) {
    const what = 'The service would take SIMULATED hardware: its evidence proves nothing.';
    terminal.line(`${c.yellow('!')} ${c.bold(what)}`);
  } else {
    terminal.line(`${c.green('✓')} ${c.bold(`The service would take ${printable(taken ?? '')}.`)}`);
  }
}
