import { type Command, Option } from 'commander';
import { appraiseBundle, appraiseEvidence, appraiseReceipt } from '../../attestation/appraise.ts';
import { type Collateral, mergeCollateral, NO_COLLATERAL } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import type { Exchange } from '../../attestation/receipt/appraise.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import type { JudgedInput } from '../../attestation/verification/parts.ts';
import type { ShownContent } from '../../attestation/receipt/openingsAppraisal.ts';
import { fetchAttestation, freshNonce, parseAttestation } from '../client/attestation.ts';
import { EvidenceTls } from '../client/evidenceTls.ts';
import { serviceAt } from '../client/http.ts';
import { newCommand, EXIT_HELP } from './command.ts';
import { EAR_FORMS } from './earToken.ts';
import { exchangeOf, nonceOf, timeOf, type ExchangeFlags } from './exchangeFiles.ts';
import { CliError, EXIT, exitOfDecision } from './exit.ts';
import { sayAnchors, type AnchoredVerdict } from './extraAnchors.ts';
import { isFolder, readInput } from './files.ts';
import { addJudgingOptions, anchorsOf, collateralOf, policyOf, type JudgingFlags } from './judging.ts';
import { KIND_NAMES, kindOf } from '../../attestation/recognition/ownKinds.ts';
import { receiptRows, type Row } from './receiptText.ts';
import { savedExchange } from './saved.ts';
import { printable, stdout, wrap } from './terminal.ts';
import { printVerdict } from './verdictText.ts';
import { extractShown, judgeDisclosure, printShown, shownJson } from './verifyDisclosure.ts';
import {
  checkOutput,
  jsonText,
  type OutputFlags,
  type OutputParts,
  put,
  writeOutput,
} from './verifyOutput.ts';
import { unfit } from './verifyUnfit.ts';

interface VerifyFlags extends JudgingFlags, ExchangeFlags, OutputFlags {
  readonly at?: string;
  readonly receipt?: string;
  readonly evidence?: string;
  readonly extract?: string;
  readonly verbose?: boolean;
}

/** What was judged, and what came of it. */
interface Judged extends Pick<OutputParts, 'inputs' | 'context'> {
  /** Such as `bundle answer.cbor`. */
  readonly input: string;
  readonly verdict: AnchoredVerdict;
  readonly claims?: ReceiptClaims | undefined;
  /** Content that a disclosure opens. */
  readonly shown?: readonly ShownContent[];
  /** What would make the verdict say more. */
  readonly hints: readonly string[];
}

const EXAMPLES = [
  [
    'a bundle, offline, with the content that it vouches for',
    'vouchsafe verify bundle.cbor --request request.bin --response response.bin --commitment-key commitment-key.txt',
  ],
  ['everything that `vouchsafe ask --save answer` wrote', 'vouchsafe verify answer'],
  [
    'a live service: asks for evidence with a fresh nonce',
    'vouchsafe verify https://inference.example --policy policy.json',
  ],
  ['as it was on a day', 'vouchsafe verify bundle.cbor --at 2026-11-21T12:00:00Z'],
  [
    'evidence of a TPM whose maker you know, by the key that vouches for it',
    'vouchsafe verify bundle.cbor --policy policy.json --anchor tpm:9f05…0d3c',
  ],
] as const;

export function verifyCommand(): Command {
  const command = newCommand(
    'verify',
    'Judge a bundle, a receipt, an evidence document or a live service',
    EXAMPLES,
  )
    .argument('[target]', 'file, folder written by --save, or address of a service')
    .option('--receipt <file>', 'receipt, to be judged with --evidence')
    .option('--evidence <file>', 'the evidence document or attestation answer that the receipt cites')
    .option('--nonce <hex>', 'the nonce that you chose: of the evidence, or of the request of a receipt')
    .option('--request <file>', 'body of the request, as it was before sealing')
    .option('--response <file>', 'body of the response, as it was after opening')
    .option('--commitment-key <file|base64url>', 'the key `k` that came with the response')
    .option('--tenant <name>', 'the name that the operator gave the key that asked')
    .option('--extract <folder>', 'write what a disclosure opens to files, where it is accepted')
    .option('--at <time>', 'judge for this time, ISO 8601 (default: now)');
  return addJudgingOptions(command)
    .option('--verbose', 'give the reason of checks that passed, too')
    .option('--json', 'print the verdict as JSON')
    .addOption(
      new Option(
        '--ear [form]',
        'give the verdict as an EAT attestation result (EAR): unsigned claims, or signed as a JWT or CWT, also where it refuses',
      )
        .choices(EAR_FORMS)
        .preset('claims'),
    )
    .option(
      '--ear-key <pem>',
      'private key that signs the result, Ed25519 or P-256; whoever has the public key believes you',
    )
    .option('--steps', 'give the verdict as a document: what each step read, compared and proves')
    .option('--out <file>', 'write --ear, --steps or --json there; the file must not exist')
    .addHelpText('after', EXIT_HELP)
    .action(runVerify);
}

async function runVerify(target: string | undefined, flags: VerifyFlags): Promise<void> {
  checkOutput(flags);
  const given = await judge(target, flags);
  const verdict = sayAnchors(given.verdict, flags.anchor);
  const judged = { ...given, verdict };
  if (!(await writeOutput(flags, judged))) {
    if (flags.json) await put(flags.out, jsonText(judgedJson(judged)));
    else printJudged(judged, flags.verbose ?? false);
  }
  process.exitCode = exitOfDecision(verdict.decision);
}

function judgedJson({ input, verdict, shown, hints }: Judged): object {
  return { input, verdict, ...(shown && { shown: shownJson(shown) }), hints };
}

function printJudged({ input, verdict, claims, shown = [], hints }: Judged, verbose: boolean): void {
  const { c } = stdout;
  stdout.line(c.bold(printable(input)));
  for (const [name, value] of claims ? receiptRows(claims) : ([] as readonly Row[])) {
    stdout.line(`  ${c.dim(name.padEnd(10))} ${printable(value)}`);
  }
  stdout.line();
  printShown(stdout, shown);
  printVerdict(stdout, verdict, { verbose });
  for (const hint of hints)
    for (const line of wrap(`hint: ${hint}`, stdout.columns)) stdout.line(c.cyan(line));
}

async function judge(target: string | undefined, flags: VerifyFlags): Promise<Judged> {
  if (target === undefined) return judgeLooseReceipt(flags);
  if (/^https?:\/\//.test(target)) return judgeService(target, flags);
  if (await isFolder(target)) return judge(...(await savedExchange(target, flags)));
  return judgeFile(target, flags);
}

async function contextOf(flags: VerifyFlags): Promise<AppraisalContext> {
  const [policy, collateral] = await Promise.all([policyOf(flags), collateralOf(flags)]);
  return { policy, collateral, anchors: anchorsOf(flags), now: timeOf(flags.at), crypto: nodeCrypto };
}

/** The caller's statements of vendors, and those that came with what is judged. */
function withCollateral(context: AppraisalContext, brought: Collateral = NO_COLLATERAL): AppraisalContext {
  return { ...context, collateral: mergeCollateral(context.collateral, brought) };
}

async function judgeFile(path: string, flags: VerifyFlags): Promise<Judged> {
  const bytes = await readInput(path);
  const error = unfit(path, bytes);
  if (error) throw error;
  const kind = kindOf(bytes);
  if (kind === 'disclosure') return judgeDisclosed(path, bytes, flags);
  if (kind === 'bundle') return judgeBundle(path, bytes, flags);
  if (kind === 'receipt') return judgeReceipt(path, bytes, flags);
  return judgeEvidence(path, bytes, flags);
}

async function judgeBundle(path: string, bytes: Uint8Array, flags: VerifyFlags): Promise<Judged> {
  const exchange = await exchangeOf(flags);
  const context = await contextOf(flags);
  const { verdict, receipt } = await appraiseBundle(bytes, exchange, context);
  const inputs = [{ kind: 'bundle', name: path, bytes }] as const;
  const hints = contentHints(exchange);
  return { input: `bundle ${path}`, inputs, context, verdict, claims: receipt?.claims, hints };
}

async function judgeDisclosed(path: string, bytes: Uint8Array, flags: VerifyFlags): Promise<Judged> {
  const { evidence } = flags;
  const read = evidence === undefined ? undefined : readEvidence(await readInput(evidence));
  const context = await contextOf(flags);
  const judging = withCollateral(context, read?.collateral);
  const result = await judgeDisclosure(bytes, read?.document, judging);
  const { verdict, receipt, shown } = result;
  if (flags.extract !== undefined && shown.length > 0) await extractShown(flags.extract, shown);
  const inputs: readonly JudgedInput[] = [
    { kind: 'disclosure', name: path, bytes },
    ...(read ? [{ kind: 'document', name: evidence ?? '', bytes: read.document } as const] : []),
  ];
  return {
    input: `disclosure ${path}`,
    inputs,
    context: judging,
    verdict,
    claims: receipt?.claims,
    shown,
    hints: [],
  };
}

function contentHints({ opening }: Exchange): readonly string[] {
  const missing = '--request, --response and --commitment-key check that the receipt is of this content';
  return opening ? [] : [`no content was compared: ${missing}`];
}

async function judgeEvidence(path: string, bytes: Uint8Array, flags: VerifyFlags): Promise<Judged> {
  const context = await contextOf(flags);
  const nonce = nonceOf(flags.nonce);
  const read = readEvidence(bytes);
  const judging = withCollateral(context, read.collateral);
  const proof = nonce && { nonce, ...read.place };
  const { verdict } = await appraiseEvidence(read.document, proof, judging);
  const inputs = [{ kind: 'document', name: path, bytes: read.document }] as const;
  const answers = read.answers === undefined ? '' : ` (it says that it answers ${read.answers})`;
  const hints = nonce
    ? []
    : [`--nonce takes the nonce that you chose${answers}; without it the evidence may be old`];
  return { input: `${KIND_NAMES[kindOf(bytes)]} ${path}`, inputs, context: judging, verdict, hints };
}

/** A bare document does not say where it holds a nonce: an asker who was alone is number 0 of 1. */
function readEvidence(bytes: Uint8Array) {
  if (kindOf(bytes) === 'attestation') return parseAttestation(bytes);
  const place = { index: 0, path: [] };
  return { document: bytes, place, answers: undefined, collateral: NO_COLLATERAL };
}

async function judgeLooseReceipt(flags: VerifyFlags): Promise<Judged> {
  if (flags.receipt !== undefined) return judgeReceipt(flags.receipt, await readInput(flags.receipt), flags);
  throw new CliError(EXIT.misuse, 'nothing to verify was named', 'See `vouchsafe verify --help`.');
}

async function judgeReceipt(path: string, bytes: Uint8Array, flags: VerifyFlags): Promise<Judged> {
  if (flags.evidence === undefined) {
    const advice =
      'Name the evidence document that it cites with --evidence FILE, or fetch the bundle of the receipt, which holds both.';
    throw new CliError(
      EXIT.misuse,
      'a receipt alone cannot be judged: its key is vouched for by evidence',
      advice,
    );
  }
  const read = readEvidence(await readInput(flags.evidence));
  const exchange = await exchangeOf(flags);
  const context = await contextOf(flags);
  const judging = withCollateral(context, read.collateral);
  const { verdict, receipt } = await appraiseReceipt(bytes, read.document, exchange, judging);
  const covered = 'a bundle also shows the later hardware report that covers the receipt';
  const hints = [...contentHints(exchange), covered];
  const inputs = [
    { kind: 'receipt', name: path, bytes },
    { kind: 'document', name: flags.evidence, bytes: read.document },
  ] as const;
  return { input: `receipt ${path}`, inputs, context: judging, verdict, claims: receipt?.claims, hints };
}

async function judgeService(url: string, flags: VerifyFlags): Promise<Judged> {
  if (flags.nonce !== undefined)
    throw new CliError(EXIT.misuse, 'a live service is asked with a fresh nonce');
  const context = await contextOf(flags);
  const nonce = freshNonce();
  const tls = new EvidenceTls();
  const attestation = await fetchAttestation(serviceAt(url, tls.fetch, undefined), nonce);
  const judging = withCollateral(context, attestation.collateral);
  const proof = { nonce, ...attestation.place };
  const { verdict, appraisal } = await appraiseEvidence(attestation.document, proof, judging);
  if (verdict.decision === 'accepted') tls.judge(appraisal.document?.keyset.tlsSpki);
  const inputs = [{ kind: 'document', name: url, bytes: attestation.document }] as const;
  return { input: `service ${url}`, inputs, context: judging, verdict, hints: [] };
}
