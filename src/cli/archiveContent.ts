import type { Command } from 'commander';
import { z } from 'zod';
import { askService, withService, type ArchiveFlags } from './archiveAccess.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { printableLines, stdout } from './terminal.ts';

interface ContentFlags extends ArchiveFlags {
  readonly rule: string;
}

const bytes = z.string().regex(/^[A-Za-z0-9_-]*$/);
const CONTENT = z.object({
  receipt: z.string(),
  k: bytes,
  request: bytes,
  response: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('body'), body: bytes }),
    z.object({ kind: z.literal('stream'), chunks: z.array(bytes) }),
  ]),
});

export function contentCommand(): Command {
  const command = newCommand('content', 'Show request and answer of a receipt, where they were kept', [
    ['with the key that made the request', 'vouchsafe archive content 00112233445566778899aabbccddeeff'],
    [
      'as the admin: the look is logged under the rule',
      'vouchsafe archive content 00112233445566778899aabbccddeeff --rule "case 7"',
    ],
  ])
    .argument('<receipt>', 'id of the receipt, 32 hex digits')
    .option('--rule <text>', 'rule under which an admin looks', 'content read on the command line');
  return withService(command).action(runContent);
}

async function runContent(receipt: string, flags: ContentFlags): Promise<void> {
  const query = new URLSearchParams({ rule: flags.rule });
  const path = `/v1/archive/receipts/${encodeURIComponent(receipt)}/content?${query.toString()}`;
  const parsed = CONTENT.safeParse(await askService(flags, path));
  if (!parsed.success) throw new CliError(EXIT.unreadable, 'the answer is no content');
  const { request, response } = parsed.data;
  if (flags.json) {
    stdout.json(parsed.data);
    return;
  }
  const { c } = stdout;
  stdout.line(c.bold('request'));
  stdout.line(textOf(request));
  stdout.line(c.bold('answer'));
  for (const part of response.kind === 'body' ? [response.body] : response.chunks) stdout.line(textOf(part));
}

function textOf(part: string): string {
  return printableLines(Buffer.from(part, 'base64url').toString('utf8'));
}
