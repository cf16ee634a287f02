import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import type { Difference } from '../replay/difference.ts';
import type { ManifestDifference } from '../replay/manifest.ts';
import type { ModelComparison, Replay } from '../replay/replay.ts';
import { receiptRows } from './receiptText.ts';
import { printable, type Terminal, wrap } from './terminal.ts';

const INDENT = '    ';

/** A replay for people: the receipt, whether the model is the same, where the answers differ, and the result last. */
export function printReplay(terminal: Terminal, path: string, claims: ReceiptClaims, result: Replay): void {
  const { c } = terminal;
  terminal.line(c.bold(printable(`bundle ${path}`)));
  for (const [name, value] of receiptRows(claims)) {
    terminal.line(`  ${c.dim(name.padEnd(10))} ${printable(value)}`);
  }
  terminal.line();
  printModel(terminal, result.model);
  printAnswer(terminal, result);
  terminal.line();
  printResult(terminal, result);
}

function printModel(terminal: Terminal, { equal, recorded, loaded, differences }: ModelComparison): void {
  const { c } = terminal;
  if (equal) {
    terminal.line(`${c.green('✓')} model   the one of the receipt`);
    return;
  }
  printLines(
    terminal,
    `${c.red('✗')} model   `,
    `not the one of the receipt: manifest ${loaded}, the receipt states ${recorded}`,
  );
  if (differences) for (const difference of differences) printLine(terminal, difference);
  else {
    const how = '--manifest FILE with the manifest of the receipt says which file or option differs';
    printLines(terminal, INDENT, how, c.cyan);
  }
}

function printLine(terminal: Terminal, { name, recorded = '-', loaded = '-' }: ManifestDifference): void {
  printLines(terminal, INDENT, printable(`${name}: recorded ${recorded}, here ${loaded}`));
}

function printAnswer(terminal: Terminal, result: Replay): void {
  const { c } = terminal;
  const { answerEqual, bytes, differences, differenceCount, seed, sharedRun } = result;
  const drawn = seed === undefined ? '' : `, with the seed of the receipt`;
  if (answerEqual) terminal.line(`${c.green('✓')} answer  equal, ${bytes} bytes${drawn}`);
  else terminal.line(`${c.red('✗')} answer  differs${drawn}`);
  for (const difference of differences) printDifference(terminal, difference);
  const untold = differenceCount - differences.length;
  if (untold > 0) terminal.line(`${INDENT}and ${untold} more places`);
  if (sharedRun) {
    const { rows, own } = sharedRun;
    const shared = `made in a shared run: ${own} of ${rows} rows; it may round otherwise than alone, as here`;
    printLines(terminal, INDENT, shared, c.yellow);
  }
}

function printDifference(terminal: Terminal, difference: Difference): void {
  const { where, position, token, recorded, replayed, differing, total, largest } = difference;
  const at = position && position.unit !== 'chunk' ? `, ${position.unit} ${position.index}` : '';
  const atToken = token === undefined ? '' : ` (token ${token})`;
  const unit = position && total !== 1 ? ` ${position.unit}s` : '';
  const counted =
    differing === undefined || total === undefined ? '' : `; ${differing} of ${total}${unit} differ`;
  const most = largest === undefined ? '' : `, by at most ${largest}`;
  const text = `${where}${at}${atToken}: recorded ${recorded}, now ${replayed}${counted}${most}`;
  // Names of members are what the service wrote.
  printLines(terminal, INDENT, printable(text));
}

function printResult(terminal: Terminal, { equal, model, answerEqual, differenceCount }: Replay): void {
  const { c } = terminal;
  if (equal) {
    terminal.line(`${c.green(c.inverse(c.bold(' EQUAL ')))} the same model gives the same answer`);
    return;
  }
  const badge = c.red(c.inverse(c.bold(' DIFFERS ')));
  const same = answerEqual && differenceCount === 0;
  const what = model.equal ? 'the same model' : 'what ran is not what the receipt names, and';
  terminal.line(`${badge} ${what} gives ${same ? 'the same' : 'another'} answer`);
}

function printLines(
  terminal: Terminal,
  head: string,
  text: string,
  color: (line: string) => string = (line) => line,
): void {
  const [first = '', ...rest] = wrap(text, terminal.columns - INDENT.length);
  terminal.line(`${head}${color(first)}`);
  for (const line of rest) terminal.line(`${INDENT}${color(line)}`);
}

/** A replay for scripts. */
export function replayJson(claims: ReceiptClaims, result: Replay): object {
  const { equal, ...rest } = result;
  return { equal, receiptId: toHex(claims.id), modelId: claims.model, path: claims.path, ...rest };
}
