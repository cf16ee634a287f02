import { readFile, stat } from 'node:fs/promises';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { Refusal } from '../../attestation/errors.ts';
import { KEY_TYPE, parseVkey, type Vkey } from '../../attestation/log/vkey.ts';
import { WitnessError } from './errors.ts';

const MAX_LINES = 10_000;

/** The logs that a witness looks after. */
export interface LogList {
  /** A log's name is its origin; it may have several keys. */
  readonly logs: readonly Vkey[];
  /** Services whose instances each have a log of their own, whose keys they are asked for. */
  readonly services: readonly string[];
}

/** Lines are vkeys, with or without `log ` before them, or `service <url>`; empty lines and comments are passed over. */
export function parseLogList(text: string): LogList {
  const lines = text.split('\n').map((line) => line.trim());
  if (lines.length > MAX_LINES) throw invalid(`more than ${MAX_LINES} lines`);
  const kept = lines.filter((line) => line !== '' && !line.startsWith('#'));
  const services = kept.flatMap((line) => {
    const [, url] = /^service\s+(\S+)$/.exec(line) ?? [];
    return url === undefined ? [] : [requireUrl(url)];
  });
  const logs = kept.filter((line) => !line.startsWith('service ')).map(parseLine);
  return { logs, services };
}

function parseLine(line: string): Vkey {
  try {
    const vkey = parseVkey(line.replace(/^log\s+/, ''), sha256With(nodeCrypto));
    if (vkey.type === KEY_TYPE.ed25519) return vkey;
  } catch (error) {
    if (error instanceof Refusal) throw invalid(error.message, error);
    throw error;
  }
  throw invalid('a log does not sign with the key of a cosigner');
}

function requireUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:') throw invalid(`${text} is no address`);
  return text.replace(/\/$/, '');
}

function invalid(detail: string, cause?: unknown): WitnessError {
  return new WitnessError('LOGS_INVALID', detail, { cause });
}

/** The list in a file, read again when the file changed: logs are added while the witness runs. */
export class LogListFile {
  readonly #path: string;
  readonly #onProblem: (error: unknown) => void;
  #list: LogList;
  #stamp: string;

  private constructor(path: string, onProblem: (error: unknown) => void, list: LogList, stamp: string) {
    this.#path = path;
    this.#onProblem = onProblem;
    this.#list = list;
    this.#stamp = stamp;
  }

  static async open(path: string, onProblem: (error: unknown) => void): Promise<LogListFile> {
    const stamp = await stampOf(path);
    return new LogListFile(path, onProblem, parseLogList(await readFile(path, 'utf8')), stamp);
  }

  /** A file that became unreadable leaves the list as it was. */
  async current(): Promise<LogList> {
    try {
      const stamp = await stampOf(this.#path);
      if (stamp === this.#stamp) return this.#list;
      this.#stamp = stamp;
      this.#list = parseLogList(await readFile(this.#path, 'utf8'));
    } catch (error) {
      this.#onProblem(error);
    }
    return this.#list;
  }
}

async function stampOf(path: string): Promise<string> {
  const { mtimeMs, size, ino } = await stat(path);
  return `${mtimeMs}:${size}:${ino}`;
}
