// npm run example -- search|ocr|vad|chat|langchain|page [--url URL]: starts a service with the models of an example, runs it, stops.
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Argument, Command } from 'commander';
import { nodeCrypto } from '../attestation/node.ts';
import {
  ClientError,
  connect,
  SIMULATED_POLICY,
  type Session,
  type VerifiedAnswer,
} from '../src/client/index.ts';
import { chat } from './chat.ts';
import { langchain } from './langchain.ts';
import { charactersIn, ocr } from './ocr.ts';
import { fetchModels, OCR, PackageError, VAD } from './packages.ts';
import { servePage } from './page.ts';
import { search } from './search.ts';
import { startService } from './service.ts';
import { vad } from './vad.ts';
import { verdictLine, type Print } from './verdict.ts';

const SHIPPED = fileURLToPath(new URL('../models', import.meta.url));
const print: Print = (text) => void process.stdout.write(text);

interface Example {
  /** Folder of the models that it needs. */
  readonly models: () => Promise<string>;
  readonly run: (session: Session, given: Given) => Promise<unknown>;
}

interface Given {
  readonly models: string;
  readonly text: string | undefined;
  /** Of the answers so far that came through `session.fetch`. */
  readonly receipts: readonly VerifiedAnswer[];
}

const EXAMPLES: Readonly<Record<string, Example>> = {
  search: {
    models: () => Promise.resolve(SHIPPED),
    run: (session, { text }) => search(session, print, text),
  },
  ocr: {
    models: () => fetchModels(OCR),
    run: async (session, { models, text }) =>
      ocr(session, print, await charactersIn(models), text?.toUpperCase().split('\n')),
  },
  vad: { models: () => fetchModels(VAD), run: (session) => vad(session, print) },
  chat: {
    models: () => Promise.resolve(SHIPPED),
    run: (session, { text }) => chat(session, print, text?.split('\n')),
  },
  langchain: {
    models: () => Promise.resolve(SHIPPED),
    run: (session, { receipts, text }) => langchain(session, print, receipts, text),
  },
  page: { models: () => Promise.resolve(SHIPPED), run: showPage },
};

/** Until the person at the terminal ends it. */
async function showPage({ baseURL }: Session): Promise<void> {
  const page = await servePage(new URL(baseURL).origin);
  print(`page      ${page.url}  (end with Ctrl+C)\n`);
  await once(process, 'SIGINT');
  await page.stop();
}

/** Judges the service before anything is sent, then runs the example. */
async function runAt(url: string, example: Example, models: string, text: string | undefined): Promise<void> {
  const receipts: VerifiedAnswer[] = [];
  const session = await connect(url, {
    policy: SIMULATED_POLICY,
    crypto: nodeCrypto,
    onReceipt: (verified) => receipts.push(verified),
  });
  print(`evidence  ${verdictLine(session.verdict)}\n`);
  await example.run(session, { models, text, receipts });
}

async function start(name: string, text: string | undefined, { url }: { url?: string }): Promise<void> {
  const example = EXAMPLES[name];
  if (!example) throw new RangeError(`there is no example ${name}`);
  const models = await example.models();
  if (url !== undefined) return runAt(url, example, models, text);
  const service = await startService(models);
  try {
    await runAt(service.url, example, models, text);
  } finally {
    await service.stop();
  }
}

/** What a person can do something about is said in a sentence, everything else with its stack. */
function fail(error: unknown): void {
  const isExpected = [ClientError, PackageError, RangeError].some((kind) => error instanceof kind);
  if (!(error instanceof Error && isExpected)) throw error;
  process.stderr.write(`${error.message}${error instanceof ClientError ? `\n${error.advice}` : ''}\n`);
  process.exitCode = 1;
}

await new Command('npm run example --')
  .description('Starts a service on simulated hardware with the models of one example, runs it and stops.')
  .addArgument(new Argument('<example>', 'which').choices(Object.keys(EXAMPLES)))
  .argument(
    '[text]',
    'what to search for, the words to draw, or the first turn; lines where there are several',
  )
  .option('--url <url>', 'a service that runs already, has the models, and is simulated, too')
  .addHelpText('after', '\nExample:\n  npm run example -- search "a boat at sea"')
  .action(start)
  .parseAsync()
  .catch(fail);
