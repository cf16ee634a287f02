import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fromHex, toBase64Url, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { encodeCollateral } from '../../../attestation/bundle/collateral.ts';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { openRequest, type OpenedRequest } from '../../../attestation/channel/hpke.ts';
import { encodeSealedHead, parseSealedRequest } from '../../../attestation/channel/sealed.ts';
import { encodeKeyset } from '../../../attestation/keyset.ts';
import type { Collector } from '../../../enclave/collect/collector.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import type { Keyring } from '../../../enclave/keys/keyring.ts';
import { ChunkHasher } from '../../../src/receipts/chunks.ts';
import type { ReceiptDraft } from '../../../src/receipts/draft.ts';
import { Vouching } from '../../../src/receipts/vouching.ts';
import { MemoryLog } from '../../support/memoryLog.ts';
import { makeDraft, makeKeysetLine } from '../../support/world.ts';

/** What a box between client and service may do to one answer. */
export type Box = (
  path: string,
  answer: { status: number; headers: Record<string, string>; body: Uint8Array },
) => { status: number; headers: Record<string, string>; body: Uint8Array };

/** One simulated instance behind HTTP, from the real parts, on the clock of this machine. */
export interface TestService {
  readonly url: string;
  /** Keys of generation 0, which open what is sealed. */
  readonly keyring: Keyring;
  /** Of the generation in use, then of the one before. */
  readonly hpkeKeys: () => readonly CryptoKey[];
  readonly vouching: Vouching;
  /** Paths of the requests so far. */
  readonly requests: string[];
  box: Box;
  stop(): Promise<void>;
}

interface Received {
  readonly path: string;
  readonly body: Uint8Array;
  readonly headers: IncomingMessage['headers'];
}

export const HONEST: Box = (_path, answer) => answer;

/** On simulated hardware, unless the caller has another. */
export async function startTestService(hardware?: Collector): Promise<TestService> {
  const collector = hardware ?? (await createSimulatedCollector());
  const keys = await makeKeysetLine({ lifetimeSeconds: 3600, now: Date.now });
  const keyring = keys.current;
  const vouching = await Vouching.start({
    keys: keyring,
    keySource: keys,
    log: new MemoryLog(),
    source: collector,
    configDigest: new Uint8Array(32).fill(7),
    predecessor: undefined,
    limits: { periodMs: 3_600_000, receipts: 1_000_000, maxEvidenceAgeMs: 3_600_000 },
    now: Date.now,
  });
  const requests: string[] = [];
  const server = createServer((request, response) => {
    void serve(service, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const service: TestService = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    keyring,
    hpkeKeys: () => keys.hpkeKeys,
    vouching,
    requests,
    box: HONEST,
    stop: () => stop(server, vouching),
  };
  return service;
}

async function stop(server: Server, vouching: Vouching): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await vouching.stop();
}

async function serve(service: TestService, request: IncomingMessage, response: ServerResponse) {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const received = { path: request.url ?? '/', body: Buffer.concat(chunks), headers: request.headers };
  service.requests.push(received.path.replace(/\?.*$/, ''));
  let answer: ReturnType<Box>;
  try {
    answer = await answerOf(service, received);
  } catch (error) {
    answer = json(500, { error: String(error) });
  }
  const { status, headers, body } = service.box(received.path, answer);
  response.writeHead(status, headers).end(body);
}

async function answerOf(service: TestService, received: Received): Promise<ReturnType<Box>> {
  const { pathname, searchParams } = new URL(received.path, 'http://x');
  if (pathname === '/v1/attestation') return attestation(service, fromHex(searchParams.get('nonce') ?? ''));
  if (pathname === '/v1/keyset') return keyset(service);
  if (pathname === '/v1/models') {
    return json(200, { object: 'list', data: [{ id: 'test-model', object: 'model' }] });
  }
  const [, id, bundle] = /^\/v1\/receipts\/([0-9a-f]{32})(\/bundle)?$/.exec(pathname) ?? [];
  if (id !== undefined) return receipt(service, id, bundle !== undefined, received);
  return infer(service, received);
}

export async function attestation({ vouching }: Pick<TestService, 'vouching'>, nonce: Uint8Array) {
  const { head, index, count, path } = await vouching.attest(nonce);
  return json(200, {
    format: 'vouchsafe/attestation/1',
    hardware: 'SIMULATED',
    document: toBase64Url(head.encoded),
    digest: toHex(head.digest),
    nonce: { value: toHex(nonce), index, count, path: path.map(toHex) },
    collateral: toBase64Url(encodeDc(encodeCollateral(await vouching.collateral()))),
  });
}

function keyset({ keyring, vouching }: TestService) {
  return json(200, {
    format: 'vouchsafe/keyset/1',
    keyset: toBase64Url(encodeKeyset(keyring.keyset)),
    digest: toHex(vouching.keysetDigest),
    evidence: toHex(vouching.head.digest),
  });
}

async function receipt({ vouching }: TestService, id: string, bundle: boolean, { headers }: Received) {
  if (headers['vouchsafe-fresh'] === '?1') await vouching.receiptCovered(id, undefined);
  const body = bundle ? await vouching.bundle(id, undefined) : await vouching.receipt(id, undefined);
  return { status: 200, headers: { 'content-type': 'application/cose' }, body };
}

async function infer(service: TestService, { path, body, headers }: Received): Promise<ReturnType<Box>> {
  const enc = headers['ehbp-encapsulated-key'];
  if (typeof enc !== 'string') return plain(service, path, body, headers);
  const opened = await open(service.hpkeKeys(), fromHex(enc), body);
  if (!opened) return json(422, { type: 'urn:ietf:params:ehbp:error:key-config' });
  const inner = parseSealedRequest(opened.plaintext);
  const answer = compute(path, inner.body);
  const draft = draftOf(path, inner.body, answer, { nonce: inner.nonce, channel: 'hpke' });
  const { encoded } = await service.vouching.issue(draft);
  const nonce = randomBytes(32);
  const sealer = await opened.sealer(nonce);
  const rides = headers['vouchsafe-receipt'] === '?1' && !answer.chunks;
  const receipt = { id: draft.id, k: draft.k, ...(rides && { encoded }) };
  const head = { status: 200, contentType: answer.contentType, receipt };
  const frames = [await sealer.seal(encodeSealedHead(head), false)];
  for (const part of answer.parts) frames.push(await sealer.seal(part, false));
  frames.push(await sealer.seal(new Uint8Array(0), true));
  return {
    status: 200,
    headers: { 'content-type': 'application/vouchsafe-sealed', 'ehbp-response-nonce': toHex(nonce) },
    body: Buffer.concat(frames),
  };
}

async function open(
  keys: readonly CryptoKey[],
  enc: Uint8Array,
  body: Uint8Array,
): Promise<OpenedRequest | undefined> {
  for (const key of keys) {
    const opened = await openRequest(key, enc, body).catch(() => undefined);
    if (opened) return opened;
  }
  return undefined;
}

async function plain(
  { vouching }: TestService,
  path: string,
  body: Uint8Array,
  headers: IncomingMessage['headers'],
) {
  const answer = compute(path, body);
  const nonce = fromHex(String(headers['vouchsafe-nonce']));
  const draft = draftOf(path, body, answer, { nonce, channel: 'plain' });
  await vouching.issue(draft);
  return {
    status: 200,
    headers: {
      'content-type': answer.contentType,
      'vouchsafe-receipt-id': toHex(draft.id),
      'vouchsafe-commitment-key': toBase64Url(draft.k),
    },
    body: Buffer.concat(answer.parts),
  };
}

interface Computed {
  readonly contentType: string;
  readonly parts: readonly Uint8Array[];
  readonly chunks: readonly Uint8Array[] | undefined;
}

/** An echo, whole or as a stream of three chunks. */
function compute(path: string, body: Uint8Array): Computed {
  const request = JSON.parse(Buffer.from(body).toString()) as { stream?: boolean; input?: string };
  if (request.stream !== true) {
    const answer = path.startsWith('/v1/embeddings')
      ? { data: [{ embedding: [0.25, -0.5, 1] }], model: 'test-model', usage: { prompt_tokens: 1 } }
      : { choices: [{ text: 'an echo' }], model: 'test-model', usage: { prompt_tokens: 1 } };
    return { contentType: 'application/json', parts: [utf8(JSON.stringify(answer))], chunks: undefined };
  }
  const chunks = ['{"choices":[{"text":"one"}]}', '{"choices":[{"text":" two"}]}', '[DONE]'].map(utf8);
  const events = chunks.map((chunk) => Buffer.concat([utf8('data: '), chunk, utf8('\n\n')]));
  const parts = [utf8(': comment\n\n'), ...events, utf8('event: vouchsafe.receipt\ndata: {}\n\n')];
  return { contentType: 'text/event-stream', parts, chunks };
}

function draftOf(path: string, request: Uint8Array, answer: Computed, changes: Partial<ReceiptDraft>) {
  const draft = makeDraft({ path, request, ...changes });
  if (!answer.chunks)
    return { ...draft, response: { kind: 'body' as const, body: Buffer.concat(answer.parts) } };
  const hasher = new ChunkHasher(draft.k, draft.id);
  for (const chunk of answer.chunks) hasher.add(chunk);
  return { ...draft, response: hasher.finish() };
}

function json(status: number, value: unknown): ReturnType<Box> {
  return { status, headers: { 'content-type': 'application/json' }, body: utf8(JSON.stringify(value)) };
}
