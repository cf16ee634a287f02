import { writeFile } from 'node:fs/promises';
import { InvalidArgumentError, type Command } from 'commander';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { LeafRange } from '../../attestation/log/subtrees.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { encodeDisclosure, type Disclosure } from '../../attestation/receipt/disclosure.ts';
import { openItems, type KeptContent, type Selection } from '../../attestation/receipt/openItems.ts';
import { appraiseOpenings } from '../../attestation/receipt/openingsAppraisal.ts';
import { parseReceipt } from '../../attestation/receipt/receipt.ts';
import { newCommand, repeated } from './command.ts';
import { readKept, readParameters, type KeptFlags } from './disclosureContent.ts';
import { CliError, EXIT } from './exit.ts';
import { printable, stdout, wrap } from './terminal.ts';

interface DiscloseFlags extends KeptFlags {
  readonly request?: boolean;
  readonly response?: boolean;
  readonly chunks?: LeafRange;
  readonly receiptOnly?: boolean;
  readonly out: string;
  readonly json?: boolean;
}

const EXAMPLES = [
  [
    'show the question of a saved exchange, and not the answer',
    'vouchsafe disclose answer --request --out question.disclosure',
  ],
  ['seven chunks of a stream', 'vouchsafe disclose answer --chunks 3..9 --out part.disclosure'],
  [
    'who asked, from files',
    'vouchsafe disclose bundle.cbor --commitment-key key.txt --tenant analytics --out tenant.disclosure',
  ],
  ['judge what someone disclosed', 'vouchsafe verify question.disclosure --extract shown'],
] as const;

const WORDS = `
A disclosure opens the items that you name, and no others: neither the
commitment key nor anything that opens the rest is in it. It does show what the
receipt says openly (model, path, times, counts of tokens, chunks and bytes),
how long each opened item is and, where all but one chunk are opened, how long
that one is. Whoever has it can hand it on.

Exit codes:
  0 written   4 unreadable input, or content that is not the receipt's   64 misuse
`;

export function discloseCommand(): Command {
  return newCommand('disclose', 'Open chosen items of a receipt to someone else, and no others', EXAMPLES)
    .argument('<folder|bundle>', 'what --save wrote, or the bundle of a receipt')
    .option('--request', 'open the request')
    .option('--response', 'open the response; of a stream, all its chunks')
    .option('--chunks <first..last>', 'open these chunks of a stream, counted from 0', rangeOf)
    .option(
      '--parameter <name[=file]>',
      'open a parameter that the receipt commits to (may be repeated)',
      repeated,
    )
    .option('--tenant <name>', 'open the tenant: the name that the operator gave your key')
    .requiredOption('--out <file>', 'where to write the disclosure; the file must not exist')
    .option('--request-from <file>', 'body of the request, as it was before sealing')
    .option('--response-from <file>', 'body of the response, as it was after opening')
    .option('--commitment-key <file|base64url>', 'the key `k` that came with the response')
    .option('--receipt-only', 'bring the receipt without its bundle: who judges it needs the evidence')
    .option('--json', 'print what was opened as JSON')
    .addHelpText('after', WORDS)
    .action(runDisclose);
}

/** `3..9` or `3`; both ends are opened. */
function rangeOf(given: string): LeafRange {
  const [, first = '', last = first] = /^(\d{1,15})(?:\.\.(\d{1,15}))?$/.exec(given) ?? [];
  const range = { start: Number(first), end: Number(last) + 1 };
  if (first !== '' && range.start < range.end) return range;
  throw new InvalidArgumentError('It is a number, or the first and the last such as 3..9.');
}

async function runDisclose(target: string, flags: DiscloseFlags): Promise<void> {
  const { bundle, kept: read } = await readKept(target, flags);
  const { receipt } = parseBundle(bundle);
  const { claims } = parseReceipt(receipt);
  const parameters = await readParameters(flags.parameter ?? [], claims, read);
  const kept = { ...read, parameters };
  const openings = open(claims, kept, selectionOf(flags, claims, kept));
  const source = flags.receiptOnly
    ? ({ kind: 'receipt', bytes: receipt } as const)
    : ({ kind: 'bundle', bytes: bundle } as const);
  await write(flags.out, encodeDisclosure({ source, ...openings }));
  print({ source, ...openings }, claims, flags);
}

function selectionOf(flags: DiscloseFlags, claims: ReceiptClaims, kept: KeptContent): Selection {
  const { request, response = false, tenant, chunks } = flags;
  const isStream = claims.response.kind === 'stream';
  if (response && isStream && chunks) {
    throw new CliError(EXIT.misuse, '--response opens all chunks of a stream; leave --chunks out');
  }
  const selection: Selection = {
    request,
    response: response && !isStream,
    chunks: response && isStream ? { start: 0, end: claims.response.count } : chunks,
    parameters: [...(kept.parameters?.keys() ?? [])],
    tenant: tenant !== undefined,
  };
  const opened = [selection.request, selection.response, selection.chunks, selection.tenant];
  if (opened.some(Boolean) || (selection.parameters?.length ?? 0) > 0) return selection;
  throw new CliError(
    EXIT.misuse,
    'nothing to open was named',
    'Name --request, --response, --chunks, --parameter or --tenant.',
  );
}

function open(claims: ReceiptClaims, kept: KeptContent, selection: Selection): Omit<Disclosure, 'source'> {
  try {
    return openItems(claims, kept, selection, nodeCrypto);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const advice = 'Nothing was written. Give the content, name and key of exactly this receipt.';
    throw new CliError(EXIT.unreadable, `${error.code}: ${error.message}`, advice);
  }
}

/** It holds content: its owner decides who reads it. */
async function write(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(path, bytes, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new CliError(EXIT.misuse, `--out: ${path} cannot be written: ${code}`);
  }
}

/** As wide as the word before each item. */
const WORD = ' '.repeat(10);

function print(disclosure: Disclosure, claims: ReceiptClaims, { out, json = false }: DiscloseFlags): void {
  const { checks } = appraiseOpenings(disclosure, claims, nodeCrypto);
  const items = checks.map(({ id, subject, code, reason }) => {
    const item = subject === 'disclosure' ? id.replace('disclosure.', '') : subject;
    return { item, opened: code === 'OK', reason };
  });
  if (json) {
    stdout.json({
      out,
      receipt: toHex(claims.id),
      items: items.map(({ item, opened }) => ({ item, opened })),
    });
    return;
  }
  const { c } = stdout;
  stdout.line(c.bold(`${printable(out)}: receipt ${toHex(claims.id)}`));
  for (const { item, opened, reason } of items) {
    const what = opened && item === 'chunks' ? reason : item;
    const [first = '', ...rest] = wrap(what, stdout.columns - WORD.length);
    stdout.line(`${opened ? c.yellow('  opened  ') : '  hidden  '}${first}`);
    for (const line of rest) stdout.line(`${WORD}${line}`);
  }
}
