import { request, type IncomingMessage } from 'node:http';
import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import { CollectError } from '../errors.ts';
import { Deadline } from '../tpm/deadline.ts';

/** Azure's Instance Metadata Service: link-local, plain HTTP, answered by the host. */
export const METADATA_ORIGIN = 'http://169.254.169.254';
const DEFAULT_TIMEOUT_MS = 10_000;
const FIRST_PAUSE_MS = 100;
/** The service throttles to five requests a second, and restarts with its host's agents. */
const TRY_AGAIN: readonly number[] = [429, 500, 502, 503, 504];

export interface MetadataOptions {
  readonly origin?: string;
  /** For one answer, repetitions included. */
  readonly timeoutMs?: number;
}

export interface MetadataRequest {
  readonly path: string;
  /** JSON; a request with one is a POST. */
  readonly body?: string;
  /** Largest answer that is taken, in bytes. */
  readonly maximum: number;
}

interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
}

/**
 * The body of the service's answer. The host writes it and can write anything, so it is bounded in size and time, and
 * redirects are not followed: they would make this machine ask others in its own name.
 */
export async function askMetadata(
  { origin = METADATA_ORIGIN, timeoutMs = DEFAULT_TIMEOUT_MS }: MetadataOptions,
  asked: MetadataRequest,
): Promise<Uint8Array> {
  const url = new URL(asked.path, origin);
  const deadline = new Deadline(timeoutMs);
  for (let pause = FIRST_PAUSE_MS; ; pause *= 2) {
    const { status, body } = await askOnce(url, asked, deadline);
    if (status === 200) return body;
    const again = TRY_AGAIN.includes(status) && (await deadline.pause(pause));
    if (!again) throw unreachable(url, `answered with status ${status}`);
  }
}

async function askOnce(url: URL, asked: MetadataRequest, deadline: Deadline): Promise<Answer> {
  const signal = AbortSignal.timeout(Math.ceil(deadline.remaining));
  try {
    const response = await send(url, asked, signal);
    const status = response.statusCode ?? 0;
    if (status === 200) return { status, body: await readBody(response, asked.maximum, url) };
    response.destroy();
    return { status, body: new Uint8Array() };
  } catch (error) {
    if (error instanceof CollectError) throw error;
    const reason = signal.aborted ? 'did not answer in time' : `did not answer: ${textOf(error)}`;
    throw unreachable(url, reason, error);
  }
}

function send(url: URL, { body }: MetadataRequest, signal: AbortSignal): Promise<IncomingMessage> {
  const content = body === undefined ? undefined : utf8(body);
  const headers = {
    Metadata: 'true',
    Accept: 'application/json',
    ...(content && { 'Content-Type': 'application/json', 'Content-Length': content.length }),
  };
  return new Promise((resolve, reject) => {
    // No agent: the connection is not kept, and no proxy of the environment comes in between.
    const sent = request(url, { method: content ? 'POST' : 'GET', headers, signal, agent: false });
    sent.once('response', resolve);
    sent.once('error', reject);
    sent.end(content);
  });
}

async function readBody(response: IncomingMessage, maximum: number, url: URL): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > maximum) {
      response.destroy();
      throw unreachable(url, `answered with more than ${maximum} bytes`);
    }
    parts.push(part);
  }
  return concat(...parts);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function unreachable(url: URL | string, reason: string, cause?: unknown): CollectError {
  const text = `the metadata service at ${String(url)} ${reason}`;
  return new CollectError('SERVICE_UNREACHABLE', text, { cause });
}
