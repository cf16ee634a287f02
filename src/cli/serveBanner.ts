import { z } from 'zod';
import { fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { EvidenceTls } from '../client/evidenceTls.ts';
import { readBody } from '../client/http.ts';
import type { Config } from '../config/schema.ts';
import { keysRequired } from '../config/schema.ts';
import { programName } from './programName.ts';
import { packageVersion } from './version.ts';
import type { Terminal } from './terminal.ts';

/** What the service says of itself, as its clients see it. */
export interface ServiceFacts {
  readonly url: string;
  /** Host and port of the gRPC door; undefined where there is none. */
  readonly grpc: string | undefined;
  /** Lower-case hex; undefined where the service did not say. */
  readonly keysetDigest: string | undefined;
  /** Undefined where the list needs an API key. */
  readonly models: readonly { readonly id: string; readonly tasks: readonly string[] }[] | undefined;
  readonly hardware: string;
  readonly provider: string;
  readonly needsKey: boolean;
  /** Whether there is an admin key, which the console needs. */
  readonly hasConsole: boolean;
}

/** Largest answer that is read for a banner, bytes. */
const MAX_ANSWER_BYTES = 1024 * 1024;
const keysetSchema = z.object({ digest: z.string() });
const modelsSchema = z.object({ data: z.array(z.object({ id: z.string(), tasks: z.array(z.string()) })) });
const readySchema = z.object({ hardware: z.string() });

export async function describeService(
  { url, grpc }: Pick<ServiceFacts, 'url' | 'grpc'>,
  config: Config,
): Promise<ServiceFacts> {
  const [keyset, models, ready] = await Promise.all([
    ask(`${url}/v1/keyset`, keysetSchema),
    ask(`${url}/v1/models`, modelsSchema),
    ask(`${url}/readyz`, readySchema),
  ]);
  return {
    url,
    grpc,
    keysetDigest: keyset?.digest,
    models: models?.data,
    hardware: ready?.hardware ?? 'unknown',
    provider: config.engine.provider,
    needsKey: keysRequired(config),
    hasConsole: config.keys.adminKeySha256 !== undefined,
  };
}

async function ask<T>(url: string, schema: z.ZodType<T>): Promise<T | undefined> {
  try {
    const response = await new EvidenceTls().fetch(url, {});
    const text = fromUtf8(await readBody(response, MAX_ANSWER_BYTES));
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** A dozen lines: where it is, what it serves, what it proves, how to try it. */
export function bannerLines(
  { c }: Terminal,
  facts: ServiceFacts,
  notices: readonly string[],
): readonly string[] {
  const row = (name: string, value: string) => `  ${c.dim(name.padEnd(9))} ${value}`;
  const models = facts.models?.map(({ id, tasks }) => `${id} ${c.dim(`(${tasks.join(', ')})`)}`) ?? [
    c.dim('listed with an API key'),
  ];
  const simulated = facts.hardware === 'SIMULATED';
  return [
    '',
    `${c.bold('Vouchsafe')} ${packageVersion()} ${c.green('is ready')}`,
    '',
    row('address', c.cyan(facts.url)),
    ...(facts.grpc === undefined ? [] : [row('grpc', c.cyan(facts.grpc))]),
    ...(facts.hasConsole ? [row('console', c.cyan(`${facts.url}/console`))] : []),
    ...(models.length > 0 ? models : [c.yellow('none')]).map((model, i) =>
      row(i === 0 ? 'models' : '', model),
    ),
    row('provider', facts.provider),
    row('hardware', simulated ? c.yellow(c.bold('SIMULATED hardware: proves nothing')) : facts.hardware),
    row('keyset', facts.keysetDigest ?? 'unknown'),
    ...notices.filter((line) => !line.startsWith('SIMULATED')).map((line) => row('note', c.yellow(line))),
    '',
    ...tryLines(c, facts, simulated).map((line) => (line === '' ? line : `  ${line}`)),
    '',
  ];
}

function tryLines(
  c: Terminal['c'],
  { url, models, needsKey }: ServiceFacts,
  simulated: boolean,
): readonly string[] {
  const program = programName();
  const at = url === 'http://127.0.0.1:8080' ? '' : ` --url ${url}`;
  const accept = simulated ? ' --allow-simulated' : ' --policy policy.json';
  const key = needsKey ? ' -H "Authorization: Bearer $VOUCHSAFE_API_KEY"' : '';
  const first = (task: string) => models?.find(({ tasks }) => tasks.includes(task))?.id;
  // Who may not list the models does not know what they can do.
  const can = (task: string) => models === undefined || first(task) !== undefined;
  const [path, field, model] = can('embed')
    ? ['embeddings', 'input', first('embed')]
    : ['completions', 'prompt', first('generate')];
  const body = JSON.stringify({ model: model ?? 'MODEL', [field]: 'hello' });
  return [
    c.dim('Try it, sealed and checked:'),
    ...(can('embed') ? [`${program} embed${at}${accept} "hello"`] : []),
    ...(can('generate') ? [`${program} ask${at}${accept} "Once upon a time"`] : []),
    `${program} verify${accept} ${url}`,
    '',
    c.dim('Or in the clear, with any client of the OpenAI API:'),
    `curl -i ${url}/v1/${path}${key} -H 'Content-Type: application/json' \\`,
    `  -d '${body}'`,
  ];
}
