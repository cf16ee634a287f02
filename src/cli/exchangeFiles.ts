import { existsSync } from 'node:fs';
import { fromBase64Url, fromHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { Exchange } from '../../attestation/receipt/appraise.ts';
import { streamChunks } from '../client/events.ts';
import { ClientError } from '../client/errors.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';

/** Options that name what the caller kept of an exchange. */
export interface ExchangeFlags {
  readonly nonce?: string;
  readonly request?: string;
  readonly response?: string;
  readonly commitmentKey?: string;
  readonly tenant?: string;
}

/** Nonce and content; all three parts of the content or none. */
export async function exchangeOf(flags: ExchangeFlags): Promise<Exchange> {
  const nonce = nonceOf(flags.nonce);
  const { request, response, commitmentKey, tenant } = flags;
  if (tenant !== undefined && commitmentKey === undefined) {
    throw new CliError(EXIT.misuse, '--tenant goes with --commitment-key: the receipt commits to it');
  }
  if (request === undefined && response === undefined && commitmentKey === undefined)
    return nonce ? { nonce } : {};
  if (request === undefined || response === undefined || commitmentKey === undefined) {
    throw new CliError(EXIT.misuse, '--request, --response and --commitment-key go together');
  }
  const [requestBytes, responseBytes, k] = await Promise.all([
    readInput(request),
    readInput(response),
    readCommitmentKey(commitmentKey),
  ]);
  const opening = {
    k,
    request: requestBytes,
    response: responseBytes,
    chunks: chunksOf(responseBytes),
    ...(tenant !== undefined && { tenant: utf8(tenant) }),
  };
  return nonce ? { nonce, opening } : { opening };
}

/** Of a response that was a stream; a body gives none, and is not looked at in chunks. */
export function chunksOf(response: Uint8Array): readonly Uint8Array[] {
  try {
    return streamChunks(response);
  } catch (error) {
    if (error instanceof ClientError) return [];
    throw error;
  }
}

export async function readCommitmentKey(given: string): Promise<Uint8Array> {
  const text = existsSync(given)
    ? Buffer.from(await readInput(given))
        .toString('latin1')
        .trim()
    : given;
  return asMisuse('--commitment-key is neither a file nor base64url', () => fromBase64Url(text));
}

export function nonceOf(given: string | undefined): Uint8Array | undefined {
  if (given === undefined) return undefined;
  if (!/^[0-9a-f]{64}$/.test(given)) throw new CliError(EXIT.misuse, '--nonce is 64 lower-case hex digits');
  return fromHex(given);
}

/** Milliseconds since 1970. */
export function timeOf(given: string | undefined): number {
  if (given === undefined) return Date.now();
  const time = /^\d{4}-\d{2}-\d{2}/.test(given) ? Date.parse(given) : NaN;
  if (Number.isNaN(time)) throw new CliError(EXIT.misuse, '--at is a time such as 2026-11-21T12:00:00Z');
  return time;
}

function asMisuse<T>(message: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) throw new CliError(EXIT.misuse, message);
    throw error;
  }
}
