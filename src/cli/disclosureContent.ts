import { utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { PARAMETER_ITEMS, type CommittedParameter } from '../../attestation/receipt/commitment.ts';
import type { KeptContent } from '../../attestation/receipt/openItems.ts';
import { checkParameter } from '../../attestation/receipt/opening.ts';
import { Refusal } from '../../attestation/errors.ts';
import { chunksOf, readCommitmentKey } from './exchangeFiles.ts';
import { CliError, EXIT } from './exit.ts';
import { isFolder, readInput } from './files.ts';
import { savedExchange } from './saved.ts';

/** Where an exchange was kept. */
export interface KeptFlags {
  readonly requestFrom?: string;
  readonly responseFrom?: string;
  readonly commitmentKey?: string;
  /** Name of the tenant: no saved folder holds it. */
  readonly tenant?: string;
  /** `NAME`, or `NAME=FILE` with the value as it was applied. */
  readonly parameter?: readonly string[];
}

/** What was kept of an exchange, and the bundle of its receipt. */
export interface KeptFiles {
  readonly bundle: Uint8Array;
  readonly kept: KeptContent;
}

/** Reads what `--save` wrote, or the files that the options name. */
export async function readKept(target: string, flags: KeptFlags): Promise<KeptFiles> {
  const { path, files } = await keptPaths(target, flags);
  const { request, response, commitmentKey } = files;
  if (commitmentKey === undefined) {
    const advice = 'Name a folder that --save wrote, or give --commitment-key.';
    throw new CliError(EXIT.misuse, 'nothing opens without the commitment key', advice);
  }
  const [bundle, k, requestBytes, responseBytes] = await Promise.all([
    readInput(path),
    readCommitmentKey(commitmentKey),
    request === undefined ? undefined : readInput(request),
    response === undefined ? undefined : readInput(response),
  ]);
  const chunks = responseBytes && chunksOf(responseBytes);
  const tenant = flags.tenant === undefined ? undefined : utf8(flags.tenant);
  return { bundle, kept: { k, request: requestBytes, response: responseBytes, chunks, tenant } };
}

type Paths = Readonly<Partial<Record<'request' | 'response' | 'commitmentKey', string>>>;

async function keptPaths(target: string, flags: KeptFlags): Promise<{ path: string; files: Paths }> {
  const given: Paths = {
    ...(flags.requestFrom !== undefined && { request: flags.requestFrom }),
    ...(flags.responseFrom !== undefined && { response: flags.responseFrom }),
    ...(flags.commitmentKey !== undefined && { commitmentKey: flags.commitmentKey }),
  };
  if (!(await isFolder(target))) return { path: target, files: given };
  const [path, files] = await savedExchange<Paths>(target, given);
  return { path, files };
}

const NAMES = Object.keys(PARAMETER_ITEMS) as CommittedParameter[];

/** The parameters to be opened, with the JSON text of their values as applied. */
export async function readParameters(
  given: readonly string[],
  claims: ReceiptClaims,
  { k, request }: KeptContent,
): Promise<ReadonlyMap<CommittedParameter, Uint8Array>> {
  const values = await Promise.all(
    given.map(async (option): Promise<readonly [CommittedParameter, Uint8Array]> => {
      const [written = '', ...file] = option.split('=');
      const name = NAMES.find((known) => known === written);
      if (!name) {
        throw new CliError(EXIT.misuse, `--parameter ${written} is none of ${NAMES.join(', ')}`);
      }
      if (file.length > 0) return [name, await readInput(file.join('='))];
      const found = candidates(name, request).find((value) => opens(claims, k, name, value));
      if (found) return [name, found];
      const advice = `Give its JSON text as it was applied: --parameter ${name}=FILE.`;
      throw new CliError(
        EXIT.misuse,
        `the request does not show the value of ${name} that was applied`,
        advice,
      );
    }),
  );
  return new Map(values);
}

function opens(claims: ReceiptClaims, k: Uint8Array, name: CommittedParameter, value: Uint8Array): boolean {
  try {
    checkParameter(claims, { k, name, value }, nodeCrypto);
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

/** What the service may have applied of a request: one stop text as a list, tools with the choice among them. */
function candidates(name: CommittedParameter, request: Uint8Array | undefined): readonly Uint8Array[] {
  const body = parsed(request);
  const { tools, tool_choice, text } = body;
  const format = (text as { format?: unknown } | undefined)?.format;
  const values: Readonly<Record<CommittedParameter, readonly unknown[]>> = {
    stop: [body['stop'], [body['stop']], (body['parameters'] as Body | undefined)?.['stop']],
    tools: [tools, { tools, tool_choice }],
    response_format: [body['response_format'], format],
  };
  return values[name].filter((value) => value !== undefined).map((value) => utf8(JSON.stringify(value)));
}

type Body = Readonly<Record<string, unknown>>;

function parsed(request: Uint8Array | undefined): Body {
  try {
    const value: unknown = JSON.parse(Buffer.from(request ?? []).toString());
    return typeof value === 'object' && value !== null ? (value as Body) : {};
  } catch {
    return {};
  }
}
