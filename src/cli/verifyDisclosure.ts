import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { appraiseDisclosure, type DisclosureResult } from '../../attestation/appraiseDisclosure.ts';
import { fromUtf8, toBase64Url } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import type { ShownContent } from '../../attestation/receipt/openingsAppraisal.ts';
import { CliError, EXIT } from './exit.ts';
import { printableLines, type Terminal } from './terminal.ts';

/** Longest text of one opened item on a terminal; `--extract` writes all of it. */
const MAX_SHOWN = 2000;

/** Judges a disclosure; what it opens is given only where the verdict accepts. */
export async function judgeDisclosure(
  bytes: Uint8Array,
  cited: Uint8Array | undefined,
  context: AppraisalContext,
): Promise<DisclosureResult> {
  const result = await appraiseDisclosure(bytes, { cited }, context);
  return result.verdict.decision === 'accepted' ? result : { ...result, shown: [] };
}

interface ShownItem {
  /** Such as `request`, `chunk 4`, `parameter stop`. */
  readonly item: string;
  readonly file: string;
  readonly bytes: Uint8Array;
}

function itemsOf(shown: readonly ShownContent[]): readonly ShownItem[] {
  return shown.flatMap((content): readonly ShownItem[] => {
    switch (content.kind) {
      case 'request':
      case 'response':
        return [{ item: content.kind, file: `${content.kind}.bin`, bytes: content.bytes }];
      case 'tenant':
        return [{ item: 'tenant', file: 'tenant.txt', bytes: content.bytes }];
      case 'parameter': {
        const { name, bytes } = content;
        return [{ item: `parameter ${name}`, file: `parameter-${name}.json`, bytes }];
      }
      case 'chunks':
        return content.chunks.map((bytes, i) => {
          const number = content.start + i;
          return { item: `chunk ${number}`, file: `chunk-${number}.bin`, bytes };
        });
    }
  });
}

/** What was opened, as programs take it: text where it is UTF-8. */
export function shownJson(shown: readonly ShownContent[]): readonly object[] {
  return itemsOf(shown).map(({ item, bytes }) => {
    const text = textOf(bytes);
    return {
      item,
      length: bytes.length,
      ...(text === undefined ? { base64url: toBase64Url(bytes) } : { text }),
    };
  });
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return fromUtf8(bytes);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

export function printShown(terminal: Terminal, shown: readonly ShownContent[]): void {
  const { c } = terminal;
  for (const { item, bytes } of itemsOf(shown)) {
    terminal.line(c.bold(`opened: ${item}, ${bytes.length} bytes`));
    terminal.line(shortened(textOf(bytes) ?? 'no text; --extract writes it to a file'));
  }
  if (shown.length > 0) terminal.line();
}

function shortened(text: string): string {
  if (text.length <= MAX_SHOWN) return printableLines(text);
  const cut = printableLines(text.slice(0, MAX_SHOWN));
  return `${cut}… (${text.length - MAX_SHOWN} more characters, see --extract)`;
}

/** Writes each opened item to a file of its own. The names are ours; nothing that exists is written over. */
export async function extractShown(folder: string, shown: readonly ShownContent[]): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const { file, bytes } of itemsOf(shown)) {
      await writeFile(join(folder, file), bytes, { mode: 0o600, flag: 'wx' });
    }
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new CliError(EXIT.misuse, `--extract: ${folder} cannot be written: ${code}`);
  }
}
