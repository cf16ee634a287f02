import {
  type BinaryRequest,
  type BinaryResponse,
  encodeBinaryRequest,
  parseBinaryResponse,
} from '../../attestation/channel/ohttp/bhttp.ts';
import { concat, utf8 } from '../../attestation/bytes/bytes.ts';
import { CHUNKED_REQUEST_TYPE, ChunkOpener, sealChunked } from '../../attestation/channel/ohttp/chunked.ts';
import type { Form } from '../../attestation/channel/ohttp/exchange.ts';
import {
  chooseKey,
  GATEWAY_PATH,
  type GatewayKey,
  keyConfigOf,
} from '../../attestation/channel/ohttp/keyConfig.ts';
import {
  openWholeResponse,
  REQUEST_TYPE,
  type SealedWhole,
  sealWhole,
} from '../../attestation/channel/ohttp/whole.ts';
import type { TestService } from './service.ts';

/** A request for inside the seal; JSON unless it is said otherwise. */
export function innerPost(path: string, body: unknown, headers: Record<string, string> = {}): BinaryRequest {
  return {
    method: 'POST',
    scheme: 'https',
    authority: 'service.example',
    path,
    headers: Object.entries({ 'content-type': 'application/json', ...headers }),
    content: utf8(JSON.stringify(body)),
    trailers: [],
  };
}

export function innerGet(path: string, headers: Record<string, string> = {}): BinaryRequest {
  return {
    ...innerPost(path, ''),
    method: 'GET',
    headers: Object.entries(headers),
    content: new Uint8Array(0),
  };
}

/** The key of the keyset that a service has now. */
export function gatewayKey({ world }: Pick<TestService, 'world'>): GatewayKey {
  return chooseKey([keyConfigOf(world.vouching.keyset)]);
}

export function sealInner(
  form: Form,
  key: GatewayKey,
  inner: BinaryRequest | Uint8Array,
): Promise<SealedWhole> {
  const message = inner instanceof Uint8Array ? inner : encodeBinaryRequest(inner, 64);
  return form === 'whole' ? sealWhole(key, message) : sealChunked(key, message);
}

export function postSealed(
  url: string,
  form: Form,
  body: Uint8Array,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(url + GATEWAY_PATH, {
    method: 'POST',
    headers: { 'content-type': form === 'whole' ? REQUEST_TYPE : CHUNKED_REQUEST_TYPE, ...headers },
    body: body as Uint8Array<ArrayBuffer>,
  });
}

export interface OpenedAnswer extends BinaryResponse {
  /** Contents of the chunks; of a whole response, one. */
  readonly chunks: readonly Uint8Array[];
  readonly text: string;
  readonly header: (name: string) => string | undefined;
}

export async function openAnswer(
  form: Form,
  { sender }: SealedWhole,
  response: Response,
): Promise<OpenedAnswer> {
  const body = new Uint8Array(await response.arrayBuffer());
  const chunks: Uint8Array[] = [];
  if (form === 'whole') chunks.push(await openWholeResponse(sender, body));
  else {
    const opener = new ChunkOpener(sender);
    chunks.push(...(await opener.push(body)), ...(await opener.finish()));
  }
  const parsed = parseBinaryResponse(concat(...chunks));
  const headers = new Map(parsed.headers);
  return {
    ...parsed,
    chunks,
    text: Buffer.from(parsed.content).toString(),
    header: (name) => headers.get(name),
  };
}

/** Seals a request to a service, sends it to its gateway, and opens the answer. */
export async function askSealed(
  service: TestService,
  form: Form,
  inner: BinaryRequest | Uint8Array,
  headers: Record<string, string> = {},
): Promise<OpenedAnswer> {
  const sealed = await sealInner(form, gatewayKey(service), inner);
  const response = await postSealed(service.url, form, sealed.body, headers);
  if (response.status !== 200) throw new Error(`HTTP ${response.status}: ${await response.text()}`);
  return openAnswer(form, sealed, response);
}
