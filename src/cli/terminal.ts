import pc from 'picocolors';

/** Columns of the widest line; terminals that are narrower wrap earlier. */
const MAX_COLUMNS = 100;
const MIN_COLUMNS = 40;

type Colors = ReturnType<typeof pc.createColors>;

/** Text for one stream: coloured where it is a terminal, plain where it is a file or NO_COLOR is set. */
export class Terminal {
  readonly #stream: NodeJS.WriteStream;
  readonly c: Colors;
  readonly columns: number;

  constructor(stream: NodeJS.WriteStream, environment: NodeJS.ProcessEnv = process.env) {
    this.#stream = stream;
    this.c = pc.createColors(hasColor(stream, environment));
    this.columns = Math.max(MIN_COLUMNS, Math.min(MAX_COLUMNS, stream.columns || MAX_COLUMNS));
  }

  get isTerminal(): boolean {
    return this.#stream.isTTY;
  }

  line(text = ''): void {
    this.#stream.write(`${text}\n`);
  }

  /** Writes over the current line of a terminal. */
  redraw(text: string): void {
    this.#stream.write(`\r\u001b[2K${text}`);
  }

  /** One value as indented JSON. */
  json(value: unknown): void {
    this.line(JSON.stringify(value, undefined, 2));
  }
}

/** See no-color.org; FORCE_COLOR is what it is elsewhere. */
function hasColor(stream: NodeJS.WriteStream, { NO_COLOR, FORCE_COLOR, TERM }: NodeJS.ProcessEnv): boolean {
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '' && FORCE_COLOR !== '0') return true;
  return stream.isTTY && TERM !== 'dumb';
}

export const stdout = new Terminal(process.stdout);
export const stderr = new Terminal(process.stderr);

/**
 * Text from files and services without what a terminal acts on: escape sequences could repaint a refusal as an
 * acceptance, and right-to-left marks turn a line around.
 */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\u{fffd}');
}

/** The same for text of several lines. */
export function printableLines(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .split('\n')
    .map((line) => line.split('\t').map(printable).join('\t'))
    .join('\n');
}

/** Breaks text at spaces, and longer words anywhere, into lines of at most `width` characters, at least one. */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of printable(text).split(/ +/)) {
    for (const piece of pieces(word, Math.max(1, width))) {
      if (line !== '' && line.length + 1 + piece.length > width) {
        lines.push(line);
        line = '';
      }
      line = line === '' ? piece : `${line} ${piece}`;
    }
  }
  return [...lines, line];
}

/** Cuts a word; the two halves of a character beyond 16 bits stay together. */
function* pieces(word: string, width: number): Generator<string> {
  if (word.length <= width) yield word;
  else {
    for (let start = 0, end; start < word.length; start = end) {
      end = start + width;
      if (isPair(word, end - 1)) end += width === 1 ? 1 : -1;
      yield word.slice(start, end);
    }
  }
}

function isPair(text: string, position: number): boolean {
  return (text.codePointAt(position) ?? 0) > 0xffff;
}
