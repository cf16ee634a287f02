import { Option, type Command } from 'commander';
import { z } from 'zod';
import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { Answer } from '../client/answer.ts';
import { connectOnNode } from '../client/connectOnNode.ts';
import { ClientError } from '../client/errors.ts';
import { isLoopback } from '../client/http.ts';
import type { Session, Verification } from '../client/session.ts';
import { CliError, EXIT, exitOfDecision } from './exit.ts';
import { sayAnchors, type AnchoredVerdict } from './extraAnchors.ts';
import { addJudgingOptions, anchorsOf, collateralOf, policyOf, type JudgingFlags } from './judging.ts';
import { programName } from './programName.ts';
import { prepareFolder, saveExchange } from './saved.ts';
import { printable, stderr, stdout } from './terminal.ts';
import { decisionLine, printBadges, printVerdict } from './verdictText.ts';

/** Options of every command that sends content to a service. */
export interface ServiceFlags extends JudgingFlags {
  readonly url: string;
  readonly apiKey?: string;
  readonly model?: string;
  readonly save?: string;
  readonly fresh?: boolean;
  readonly unbound?: boolean;
  readonly verbose?: boolean;
  readonly json?: boolean;
}

export function addServiceOptions(command: Command): Command {
  command
    .addOption(
      new Option('--url <url>', 'address of the service')
        .env('VOUCHSAFE_URL')
        .default('http://127.0.0.1:8080'),
    )
    .addOption(new Option('--api-key <key>', 'key from the operator of the service').env('VOUCHSAFE_API_KEY'))
    .option('--model <id>', 'model (default: the first that can do this)');
  return addJudgingOptions(command)
    .option(
      '--save <folder>',
      'keep bundle, request, response, commitment key and nonce, for `vouchsafe verify`',
    )
    .option('--fresh', 'wait until a later hardware report covers the receipt')
    .option('--unbound', 'send in the clear, to this machine only: nothing binds the channel to the hardware')
    .option('--verbose', 'print every check of the receipt')
    .option('--json', 'print answer and verdicts as JSON');
}

/** One kind of question: where it goes, and how its answer is read and shown. */
export interface Question<T> {
  readonly path: string;
  readonly task: 'embed' | 'generate';
  readonly body: (model: string) => object;
  /** May throw a ZodError for what is not an answer. */
  readonly read: (answer: unknown) => T;
  readonly print: (answer: T) => void;
}

/** Judges the evidence, and only then asks; prints the answer, then what vouches for it. */
export async function exchange<T>(flags: ServiceFlags, question: Question<T>): Promise<void> {
  if (flags.unbound) warnUnbound(flags.url);
  const session = await openSession(flags);
  const model = flags.model ?? (await defaultModel(session, question.task));
  if (flags.save !== undefined) await prepareFolder(flags.save);
  const request = { path: question.path, body: JSON.stringify(question.body(model)) };
  const answer = flags.unbound ? await session.sendUnbound(request) : await session.send(request);
  if (answer.status !== 200) throw rejected(answer);
  const value = readAnswer(answer, question);
  if (!flags.json) question.print(value);
  const checked = await checkReceipt(session, answer, flags);
  if (flags.save !== undefined) {
    const manifest = await manifestOf(session, checked);
    await saveExchange(flags.save, answer, checked.bundle, manifest);
  }
  if (flags.json) stdout.json({ sent: true, answer: value, ...documentOf(session, answer, checked, flags) });
  else printChecked(sayAnchors(checked.verdict, flags.anchor), flags);
  process.exitCode = exitOfDecision(checked.verdict.decision);
}

/** The manifest whose digest the receipt states, so that `replay` can say what of a model differs. */
async function manifestOf(session: Session, { receipt }: Verification): Promise<Uint8Array | undefined> {
  if (!receipt) return undefined;
  const { model, manifestDigest } = receipt.claims;
  const manifest = await session.manifest(model).catch(() => undefined);
  if (!manifest || !equalBytes(nodeCrypto.hash('sha256', manifest), manifestDigest)) return undefined;
  return manifest;
}

function warnUnbound(url: string): void {
  if (!URL.canParse(url) || !isLoopback(url)) {
    throw new CliError(
      EXIT.misuse,
      '--unbound goes to this machine only',
      'Leave it out: the request is then sealed.',
    );
  }
  const { c } = stderr;
  const badge = c.red(c.inverse(c.bold(' UNBOUND ')));
  stderr.line(
    `${badge} ${c.red('sent in the clear: nothing binds this channel to the hardware that was judged')}`,
  );
}

/** Prints why, where the evidence is not accepted. Nothing was sent then. */
async function openSession(flags: ServiceFlags): Promise<Session> {
  const [policy, collateral] = await Promise.all([policyOf(flags), collateralOf(flags)]);
  const anchors = anchorsOf(flags);
  try {
    const apiKey = flags.apiKey === undefined ? {} : { apiKey: flags.apiKey };
    return await connectOnNode(flags.url, { policy, collateral, anchors, ...apiKey });
  } catch (error) {
    if (error instanceof TypeError) throw new CliError(EXIT.misuse, `--url: ${error.message}`);
    if (error instanceof ClientError && error.verdict)
      showRefusal(sayAnchors(error.verdict, flags.anchor), flags);
    throw error;
  }
}

function showRefusal(verdict: AnchoredVerdict, { json = false, verbose = false }: ServiceFlags): void {
  if (json) stdout.json({ sent: false, evidence: verdict });
  else printVerdict(stderr, verdict, { verbose });
}

async function defaultModel(session: Session, task: Question<unknown>['task']): Promise<string> {
  const models = await session.models();
  const model = models.find(({ tasks }) => tasks === undefined || tasks.includes(task));
  if (model) return model.id;
  throw new CliError(EXIT.misuse, `the service has no model for this (${task})`, 'Name one with --model.');
}

/** An error as the OpenAI routes of the service write it. */
const errorSchema = z.object({ error: z.object({ message: z.string(), code: z.string() }) });

/** The service's own error, inside the seal: the model is not there, or the request cannot be served. */
function rejected({ status, body }: Answer): CliError {
  const text = Buffer.from(body).toString();
  return new CliError(
    status < 500 ? EXIT.misuse : EXIT.unreadable,
    `the service answered HTTP ${status}: ${printable(errorText(text).slice(0, 400)).trim()}`,
  );
}

function errorText(body: string): string {
  try {
    const { error } = errorSchema.parse(JSON.parse(body));
    return `${error.code}: ${error.message}`;
  } catch {
    return body;
  }
}

function readAnswer<T>({ body }: Answer, question: Question<T>): T {
  try {
    return question.read(JSON.parse(Buffer.from(body).toString()));
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof z.ZodError)) throw error;
    throw new ClientError('BAD_ANSWER', 'the answer is not in the form of the API', { cause: error });
  }
}

async function checkReceipt(session: Session, answer: Answer, flags: ServiceFlags): Promise<Verification> {
  const { receiptId } = answer;
  if (receiptId === undefined) throw new ClientError('RECEIPT_MISSING', 'the answer came without a receipt');
  const policy = await policyOf(flags);
  const fresh = flags.fresh ?? policy.coverage === 'required';
  return session.judge(await session.bundle(receiptId, { fresh }), answer);
}

/** Answer and verdicts as one document. */
function documentOf(
  session: Session,
  answer: Answer,
  { verdict, receipt }: Verification,
  { anchor }: ServiceFlags,
): object {
  return {
    model: receipt?.claims.model,
    receiptId: answer.receiptId,
    nonce: toHex(answer.nonce),
    keysetDigest: session.keysetDigest,
    evidence: sayAnchors(session.verdict, anchor),
    receipt: sayAnchors(verdict, anchor),
  };
}

/** One line under the answer, apart from it: the answer alone goes to a pipe. */
function printChecked(verdict: AnchoredVerdict, flags: ServiceFlags): void {
  const { verbose = false } = flags;
  stderr.line();
  if (verbose || verdict.decision !== 'accepted') printVerdict(stderr, verdict, { verbose });
  else {
    printBadges(stderr, verdict);
    stderr.line(decisionLine(stderr, verdict));
  }
  if (flags.save !== undefined) stderr.line(stderr.c.dim(`saved: ${verifyLine(flags.save, flags)}`));
}

/** The command line that judges what was saved as it was judged here. */
function verifyLine(
  folder: string,
  { policy, allowSimulated = false, collateral = [], anchor = [] }: ServiceFlags,
): string {
  const words = [
    programName(),
    'verify',
    ...(allowSimulated ? ['--allow-simulated'] : []),
    ...(policy === undefined ? [] : ['--policy', policy]),
    ...anchor.flatMap((given) => ['--anchor', given]),
    folder,
    ...(collateral.length > 0 ? ['--collateral', ...collateral] : []),
  ];
  return words.map((word) => quoted(printable(word))).join(' ');
}

/** As a shell takes it for one word. */
function quoted(word: string): string {
  return /^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
