import type { IncomingMessage, ServerResponse } from 'node:http';
import { ClientError } from '../../client/errors.ts';
import { VERIFIED_HEADER } from '../../client/sessionFetch.ts';
import { giveWhole, isStream, LiveStream, type Giving } from './answer.ts';
import { failureOf, ProxyError } from './errors.ts';
import { ask, type Given } from './exchange.ts';
import type { Pin } from './pinning.ts';
import type { ProxyContext } from './proxy.ts';
import { countsText, redactRequest, type Redacted } from './redaction.ts';
import { callerKey, readBody, sealedHeaders, type Target } from './request.ts';
import { Restoration } from './restoration.ts';

type InferenceTarget = Extract<Target, { kind: 'inference' }>;

/** Sends one request under the seal, and gives its answer to the caller as the verdict on its receipt allows. */
export async function answerInference(
  context: ProxyContext,
  target: InferenceTarget,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  const { settings, limits, upstreams } = context;
  const headers = sealedHeaders(request, target.takesTensors);
  const body = await readBody(request, limits.bodyBytes);
  const redacted = await redact(context, target, body);
  const pin: Pin = {
    apiKey: settings.apiKey ?? callerKey(request),
    conversation: conversationOf(request, target.takesTensors ? undefined : body),
  };
  const sent = (redacted?.body ?? body) as Uint8Array<ArrayBuffer>;
  const init = { method: 'POST', headers, body: sent, signal };
  const given = await ask(upstreams, pin, { path: target.path, init }, settings.onEvent);
  const giving: Giving = {
    path: target.path,
    response,
    headers: redacted ? { 'vouchsafe-redacted': countsText(redacted.counts) } : {},
    restoration: redacted && new Restoration(redacted.originals),
    extraAnchors: settings.extraAnchors,
  };
  await give(given, giving, settings.stream === 'live');
  settings.onEvent?.({
    kind: 'answer',
    upstream: given.upstream.url,
    path: withoutQuery(target.path),
    status: given.response.status,
    receiptId: given.response.headers.get('vouchsafe-receipt-id') ?? undefined,
    ms: Math.round(performance.now() - started),
  });
}

async function redact(
  { settings }: ProxyContext,
  { takesTensors }: InferenceTarget,
  body: Uint8Array,
): Promise<Redacted | undefined> {
  if (!settings.redactor) return undefined;
  if (takesTensors) throw new ProxyError('REDACTION_UNSUPPORTED', 'tensors are no text');
  return redactRequest(settings.redactor, body);
}

async function give(given: Given, giving: Giving, live: boolean): Promise<void> {
  const { upstream, response } = given;
  try {
    await (live && isStream(response) ? passOn(given, giving) : withhold(given, giving));
    if (response.headers.has('vouchsafe-receipt-id')) upstream.answers++;
  } catch (error) {
    upstream.countRefused(error);
    throw error;
  }
}

/** Nothing goes out before the receipt of the whole answer is accepted: reading a stream to its end throws else. */
async function withhold({ session, response }: Given, giving: Giving): Promise<void> {
  const body = new Uint8Array(await response.arrayBuffer());
  const verified = await session.verificationOf(response);
  if (!verified && response.status < 400) throw unvouched(response);
  giveWhole(response, body, verified, giving);
}

async function passOn({ session, response }: Given, giving: Giving): Promise<void> {
  const stream = new LiveStream(response, giving);
  try {
    for await (const bytes of response.body ?? []) await stream.write(bytes);
    const verified = await session.verificationOf(response);
    if (!verified) throw unvouched(response);
    await stream.finish(verified);
  } catch (error) {
    await stream.refuse(failureOf(error));
    throw error;
  }
}

function unvouched({ status, headers }: Response): ClientError {
  const stated = headers.get(VERIFIED_HEADER);
  return new ClientError('RECEIPT_MISSING', `HTTP ${status} came without a receipt (${stated ?? 'stream'})`);
}

/** The header `X-Session-Id`, else `prompt_cache_key` or `user` of the body; one that is no JSON has none. */
function conversationOf(request: IncomingMessage, body: Uint8Array | undefined): Pin['conversation'] {
  const { 'x-session-id': session } = request.headers;
  if (typeof session === 'string') return session;
  if (!body) return undefined;
  try {
    const { prompt_cache_key: cached, user } = Object(JSON.parse(Buffer.from(body).toString())) as {
      readonly prompt_cache_key?: unknown;
      readonly user?: unknown;
    };
    return [cached, user].find((name) => typeof name === 'string');
  } catch {
    return undefined;
  }
}

function withoutQuery(path: string): string {
  return path.split('?')[0] ?? '';
}
