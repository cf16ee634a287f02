import { writeFile } from 'node:fs/promises';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { appraiseEvidence } from '../../attestation/appraise.ts';
import { equalBytes, fromHex, toHex } from '../../attestation/bytes/bytes.ts';
import { mergeCollateral } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { instanceUrn } from '../../attestation/keyset.ts';
import {
  MAX_TEXT_LENGTH,
  OPERATOR_STATEMENT_TYPE,
  parseOperatorStatement,
} from '../../attestation/operator/statement.ts';
import { checkOperatorStatement, organisationOf } from '../../attestation/operator/verify.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { fetchAttestation, freshNonce } from '../client/attestation.ts';
import { readBody, rejection, send, serviceAt, type Service } from '../client/http.ts';
import { readCertificates } from './collateralCertificates.ts';
import { newCommand, EXIT_HELP, repeated } from './command.ts';
import { CliError, EXIT, exitOfDecision } from './exit.ts';
import { sayAnchors } from './extraAnchors.ts';
import { readInput } from './files.ts';
import { addJudgingOptions, anchorsOf, collateralOf, policyOf, type JudgingFlags } from './judging.ts';
import { signOperatorStatement } from './operatorSigning.ts';
import { readPrivateKey } from './privateKey.ts';
import { secondsText } from './receiptText.ts';
import { printable, stderr, stdout } from './terminal.ts';
import { printVerdict } from './verdictText.ts';

interface SignFlags extends JudgingFlags {
  readonly key: string;
  readonly chain: readonly string[];
  readonly url?: string;
  readonly instance?: Uint8Array;
  readonly image?: Uint8Array;
  readonly statement: string;
  readonly days: number;
  readonly out: string;
}

interface PutFlags extends JudgingFlags {
  readonly url: string;
  readonly apiKey: string;
}

const DAY_SECONDS = 86_400;
const MAX_ANSWER_BYTES = 65_536;
const TIMEOUT_MS = 60_000;

const EXAMPLES = [
  [
    'sign for a service whose evidence is accepted, with a key that stays here',
    'vouchsafe operator sign --key org.key --chain org.pem --url https://inference.example --policy policy.json --statement "Example GmbH operates this service." --days 90 --out operator.cose',
  ],
  [
    'hand it to the service, whose evidence carries it from then on',
    'vouchsafe operator put operator.cose --url https://inference.example --policy policy.json',
  ],
  [
    'judge who answers for an answer, by the key of the organisation',
    'vouchsafe verify answer --anchor operator:3f2a…9c01',
  ],
] as const;

export function operatorCommand(): Command {
  return newCommand('operator', 'State who answers for an instance', EXAMPLES)
    .addCommand(signCommand())
    .addCommand(putCommand());
}

function signCommand(): Command {
  const command = newCommand('sign', 'Sign a statement of who answers for an instance', EXAMPLES.slice(0, 1))
    .requiredOption('--key <pem>', 'private key of the organisation; VOUCHSAFE_KEY_PASSPHRASE opens it')
    .requiredOption('--chain <file>', 'its certificates, leaf first, PEM or DER (may be repeated)', repeated)
    .addOption(new Option('--url <url>', 'the service, whose evidence is judged first').conflicts('instance'))
    .option('--instance <id>', 'the instance, 32 hex digits or as a UUID', instanceOf)
    .option('--image <hex>', 'what policies know the image by: 64 hex digits', imageOf)
    .requiredOption('--statement <text>', `what the organisation says, up to ${MAX_TEXT_LENGTH} characters`)
    .option('--days <number>', 'how long it holds', daysOf, 30)
    .requiredOption('--out <file>', 'where to write the statement; the file must not exist');
  return addJudgingOptions(command).addHelpText('after', EXIT_HELP).action(runSign);
}

function putCommand(): Command {
  const command = newCommand('put', 'Have a service carry a statement in its evidence', EXAMPLES.slice(1, 2))
    .argument('<file>', 'what `operator sign` wrote')
    .requiredOption('--url <url>', 'the service, whose evidence is judged first')
    .addOption(
      new Option('--api-key <key>', 'the admin key of the service')
        .env('VOUCHSAFE_API_KEY')
        .makeOptionMandatory(),
    );
  return addJudgingOptions(command).addHelpText('after', EXIT_HELP).action(runPut);
}

function instanceOf(given: string): Uint8Array {
  const hex = given
    .replace(/^urn:uuid:/, '')
    .replaceAll('-', '')
    .toLowerCase();
  if (/^[0-9a-f]{32}$/.test(hex)) return fromHex(hex);
  throw new InvalidArgumentError('It is 32 hex digits or a UUID.');
}

function imageOf(given: string): Uint8Array {
  if (/^[0-9a-f]{64}$/.test(given)) return fromHex(given);
  throw new InvalidArgumentError('It is 64 lower-case hex digits.');
}

function daysOf(given: string): number {
  const days = Number(given);
  if (/^\d{1,4}$/.test(given) && days > 0) return days;
  throw new InvalidArgumentError('It is a number of days.');
}

async function runSign(flags: SignFlags): Promise<void> {
  const [key, certificates] = await Promise.all([readPrivateKey(flags.key), readCertificates(flags.chain)]);
  const { url } = flags;
  const instance = url === undefined ? flags.instance : await judgedInstance(serviceOf(url), flags);
  if (!instance) throw new CliError(EXIT.misuse, 'no instance was named', 'Give --url or --instance.');
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    organisation: organisation(certificates),
    instance,
    image: flags.image,
    text: flags.statement,
    notBefore: now,
    notAfter: now + flags.days * DAY_SECONDS,
  };
  const encoded = signOperatorStatement(claims, key, certificates);
  await requireGood(encoded, instance);
  await write(flags.out, encoded);
  const { c } = stdout;
  stdout.line(c.bold(`${printable(flags.out)}: ${printable(claims.organisation)} answers for`));
  stdout.line(`  ${instanceUrn(instance)} until ${secondsText(claims.notAfter)}`);
  stdout.line(`  statement ${toHex(nodeCrypto.hash('sha256', encoded))}`);
}

function organisation([leaf]: readonly Uint8Array[]): string {
  if (!leaf) throw new CliError(EXIT.misuse, '--chain names no certificate');
  return organisationOf(parseCertificate(leaf));
}

/** What no verifier would take is not written: another key than the certificate's, or a chain that does not hold. */
async function requireGood(encoded: Uint8Array, instance: Uint8Array): Promise<void> {
  try {
    const statement = parseOperatorStatement(encoded);
    await checkOperatorStatement(statement, { instance, now: Date.now(), crypto: nodeCrypto });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const advice = 'Nothing was written. Give the key of the first certificate, and its issuers after it.';
    throw new CliError(EXIT.misuse, `${error.code}: ${error.message}`, advice);
  }
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(path, bytes, { flag: 'wx' });
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new CliError(EXIT.misuse, `--out: ${path} cannot be written: ${code}`);
  }
}

function serviceOf(url: string, apiKey?: string): Service {
  try {
    return serviceAt(url, fetch, apiKey);
  } catch (error) {
    if (error instanceof TypeError) throw new CliError(EXIT.misuse, `--url: ${error.message}`);
    throw error;
  }
}

/**
 * The instance of a service whose evidence is accepted: an address alone could lead to anyone's. That the policy asks
 * for an operator is passed over, for the statement is what is being made.
 */
async function judgedInstance(service: Service, flags: JudgingFlags): Promise<Uint8Array> {
  const [policy, collateral] = await Promise.all([policyOf(flags), collateralOf(flags)]);
  const nonce = freshNonce();
  const attestation = await fetchAttestation({ ...service, apiKey: undefined }, nonce);
  const { verdict, appraisal } = await appraiseEvidence(
    attestation.document,
    { nonce, ...attestation.place },
    {
      policy: { ...policy, operator: 'any' },
      anchors: anchorsOf(flags).filter(({ role }) => role !== 'operator'),
      collateral: mergeCollateral(collateral, attestation.collateral),
      now: Date.now(),
      crypto: nodeCrypto,
    },
  );
  if (verdict.decision === 'accepted' && appraisal.document) return appraisal.document.keyset.instance;
  printVerdict(stderr, sayAnchors(verdict, flags.anchor), { verbose: false });
  throw new CliError(exitOfDecision(verdict.decision), 'the evidence of the service is not accepted');
}

async function runPut(path: string, flags: PutFlags): Promise<void> {
  const encoded = await readInput(path);
  const statement = parseOperatorStatement(encoded);
  const service = serviceOf(flags.url, flags.apiKey);
  const instance = await judgedInstance(service, flags);
  if (!equalBytes(instance, statement.instance)) {
    const advice = 'A restart makes a new instance: sign a statement about this one.';
    throw new CliError(
      EXIT.misuse,
      `the service is ${instanceUrn(instance)}, the statement is about another`,
      advice,
    );
  }
  const response = await send(service, {
    method: 'PUT',
    path: '/v1/operator-statement',
    headers: { 'content-type': OPERATOR_STATEMENT_TYPE },
    body: encoded,
    timeoutMs: TIMEOUT_MS,
  });
  if (response.status !== 200) throw await rejection(response);
  await readBody(response, MAX_ANSWER_BYTES);
  stdout.line(
    `the evidence of ${printable(flags.url)} says that ${printable(statement.organisation)} answers for it`,
  );
}
