import { InvalidArgumentError, Option, type Command } from 'commander';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { EvidenceTls } from '../client/evidenceTls.ts';
import { isLoopbackHost, startProxy, type RunningProxy } from '../gateway/proxy/proxy.ts';
import type { ReceiptMode } from '../client/receiptChecks.ts';
import type { ProxySettings, StreamMode } from '../gateway/proxy/settings.ts';
import { newCommand, repeated } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { addJudgingOptions, anchorsOf, collateralOf, policyOf, type JudgingFlags } from './judging.ts';
import { apiKeyOf, archiveOf, defaultArchive } from './proxyFiles.ts';
import { ProxyReport } from './proxyReport.ts';
import { stderr } from './terminal.ts';

export interface ProxyFlags extends JudgingFlags {
  readonly upstream?: readonly string[];
  readonly port: number;
  readonly listen: string;
  readonly allowRemote?: boolean;
  readonly apiKey?: string;
  readonly apiKeyFile?: string;
  readonly stream: StreamMode;
  /** False where nothing is kept. */
  readonly archive?: string | false;
  readonly receipts?: ReceiptMode;
  readonly redact?: boolean;
  readonly maxBody: number;
  readonly verbose?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = [
  [
    'in front of `vouchsafe serve` on this machine, without confidential hardware',
    'vouchsafe proxy --allow-simulated',
  ],
  [
    'in front of a service; then set OPENAI_BASE_URL=http://127.0.0.1:8088/v1 for any tool',
    'vouchsafe proxy --upstream https://inference.example --policy policy.json',
  ],
  [
    'two services, text as it comes, and nothing kept',
    'vouchsafe proxy --upstream https://a.example --upstream https://b.example --policy policy.json --stream live --no-archive',
  ],
] as const;

const DEFAULT_UPSTREAM = 'http://127.0.0.1:8080';
const DEFAULT_PORT = 8088;
const DEFAULT_MIB = 32;
const MIB = 1024 * 1024;

const HELP = `
While no upstream is accepted, nothing is sent: requests get 503 with the reason, and the
evidence is asked for again and again. GET /status says what is accepted and why not.

Exit codes:
  0 stopped by a signal   4 the address or a file cannot be used   64 misuse
`;

export function proxyCommand(): Command {
  const command = newCommand(
    'proxy',
    'An OpenAI-compatible address on this machine that verifies before it sends and before it answers',
    EXAMPLES,
  )
    .option(
      '--upstream <url>',
      `address of a service; more of them for failover (default: VOUCHSAFE_URL, else ${DEFAULT_UPSTREAM})`,
      repeated,
    )
    .option('--port <number>', 'port, 0 for a free one', toPort, DEFAULT_PORT)
    .option('--listen <address>', 'address to listen on', '127.0.0.1')
    .option('--allow-remote', 'listen on an address that others reach: they send to the proxy in the clear')
    .addOption(
      new Option('--api-key <key>', 'key of all callers (default: each caller’s own)').env(
        'VOUCHSAFE_API_KEY',
      ),
    )
    .option('--api-key-file <file>', 'the same, from a file');
  return addJudgingOptions(command)
    .addOption(
      new Option('--stream <mode>', 'hand streams on once verified as a whole, or live with the verdict last')
        .choices(['verified', 'live'])
        .default('verified'),
    )
    .option(
      '--archive <folder>',
      `keep receipts with content, for \`vouchsafe verify\` (default: ${defaultArchive()})`,
    )
    .addOption(
      new Option(
        '--receipts <mode>',
        'judge receipts by the cited document, by their bundles, or once hardware covers them (default: bundle, cited with --no-archive, covered where the policy wants it)',
      ).choices(['cited', 'bundle', 'covered']),
    )
    .option('--no-archive', 'keep nothing: no answer can be proved later')
    .option(
      '--redact',
      'replace personal data that patterns find, such as addresses of e-mail, before sending',
    )
    .option('--max-body <MiB>', 'largest request', toMebibytes, DEFAULT_MIB)
    .option('--verbose', 'print every check of the evidence')
    .option('--json', 'log lines of JSON')
    .addHelpText('after', HELP)
    .action(runProxy);
}

function toPort(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new InvalidArgumentError('A port is 0 to 65535.');
  return port;
}

function toMebibytes(text: string): number {
  const size = Number(text);
  if (!/^\d{1,4}$/.test(text) || size < 1) throw new InvalidArgumentError('It is 1 to 9999.');
  return size;
}

async function runProxy(flags: ProxyFlags): Promise<void> {
  requireLocal(flags);
  const report = new ProxyReport(flags);
  const settings = { ...(await settingsOf(flags)), onEvent: report.event };
  const proxy = await starting(() => report.starting(() => startProxy(settings)));
  report.started(proxy, settings);
  await stopped(proxy, report);
}

function requireLocal({ listen, allowRemote = false }: ProxyFlags): void {
  if (isLoopbackHost(listen)) return;
  if (!allowRemote) {
    throw new CliError(
      EXIT.misuse,
      `--listen ${listen}: others reach this address, and send to it in the clear`,
      'Leave --listen out, or add --allow-remote where that is wanted.',
    );
  }
  const { c } = stderr;
  const badge = c.red(c.inverse(c.bold(' REMOTE ')));
  stderr.line(
    `${badge} ${c.red('callers on the network send their text and keys to this proxy in the clear')}`,
  );
}

export async function settingsOf(flags: ProxyFlags): Promise<ProxySettings> {
  if (flags.receipts === 'cited' && flags.archive !== false) {
    const advice =
      'The archive keeps bundles, which verify offline: add --no-archive, or leave --receipts out.';
    throw new CliError(EXIT.misuse, '--receipts cited gives nothing to keep', advice);
  }
  const [policy, collateral, apiKey, archive, redactor] = await Promise.all([
    policyOf(flags),
    collateralOf(flags),
    apiKeyOf(flags),
    archiveOf(flags.archive),
    flags.redact ? (await import('../gateway/proxy/openRedaction.ts')).startOpenRedaction() : undefined,
  ]);
  return {
    upstreams: flags.upstream ?? [process.env['VOUCHSAFE_URL'] ?? DEFAULT_UPSTREAM],
    judging: { policy, collateral, anchors: anchorsOf(flags), crypto: nodeCrypto },
    transport: () => new EvidenceTls(),
    host: flags.listen,
    port: flags.port,
    stream: flags.stream,
    limits: { bodyBytes: flags.maxBody * MIB },
    ...(apiKey !== undefined && { apiKey }),
    ...(flags.anchor && { extraAnchors: flags.anchor }),
    ...(archive && { archive }),
    ...(flags.receipts && { receipts: flags.receipts }),
    ...(redactor && { redactor }),
  };
}

const SYSTEM_ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'Something listens there already. Choose another port with --port.',
  EACCES: 'This user may not listen there. Choose another port with --port.',
  EADDRNOTAVAIL: 'This machine does not have that address. Choose another with --listen.',
  ENOTFOUND: 'This machine does not have that address. Choose another with --listen.',
};

async function starting(start: () => Promise<RunningProxy>): Promise<RunningProxy> {
  try {
    return await start();
  } catch (error) {
    if (error instanceof TypeError) throw new CliError(EXIT.misuse, `--upstream: ${error.message}`);
    const { code = '', syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new CliError(EXIT.unreadable, `${code}: ${message}`, SYSTEM_ADVICE[code]);
  }
}

/** The first signal lets requests in flight end; the second does not. */
function stopped(proxy: RunningProxy, report: ProxyReport): Promise<void> {
  return new Promise((done, fail) => {
    let asked = false;
    const onSignal = (): void => {
      if (asked) process.exit(130);
      asked = true;
      report.stopping(proxy.status.inFlight);
      proxy.stop().then(() => {
        report.stopped();
        done();
      }, fail);
    };
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  });
}
