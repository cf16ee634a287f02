import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { streamChunks } from '../../../src/client/events.ts';
import type { Opening } from '../../../attestation/receipt/opening.ts';
import { openRecorded, type Recorded } from '../../../src/replay/recorded.ts';
import type { TestService } from '../../support/service.ts';

/** An exchange as a client keeps it. */
export interface Kept {
  readonly bundle: Uint8Array;
  readonly opening: Required<Omit<Opening, 'tenant'>>;
}

/** Asks a service and keeps what it takes to replay the answer. */
export async function keep(
  service: TestService,
  path: string,
  body: object | Uint8Array,
  headers: Record<string, string> = {},
): Promise<Kept> {
  const request = body instanceof Uint8Array ? body : new Uint8Array(Buffer.from(JSON.stringify(body)));
  const answer = await fetch(service.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: new Uint8Array(request),
  });
  const response = new Uint8Array(await answer.arrayBuffer());
  const id = answer.headers.get('vouchsafe-receipt-id');
  if (id === null) throw new Error(`no receipt: ${Buffer.from(response).toString()}`);
  const k = new Uint8Array(Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url'));
  const isStream = answer.headers.get('content-type')!.startsWith('text/event-stream');
  const chunks = isStream ? streamChunks(response) : [];
  const bundle = await service.world.vouching.bundle(id, undefined);
  return { bundle, opening: { k, request, response, chunks } };
}

export async function record(...asked: Parameters<typeof keep>): Promise<Recorded> {
  const { bundle, opening } = await keep(...asked);
  return openRecorded(bundle, opening, nodeCrypto);
}

/** Flips one bit of the generator that ships: the exponent of the first scale of its last normalisation. */
export async function alterWeights(store: string): Promise<void> {
  const path = join(store, 'tinygpt-1m', 'onnx', 'model.onnx');
  const bytes = await readFile(path);
  // Name, tag of `raw_data`, two bytes of length, then 32-bit floats.
  const name = 'm.n.weightJ';
  const exponent = bytes.lastIndexOf(name) + name.length + 2 + 3;
  bytes[exponent]! ^= 1;
  await writeFile(path, bytes);
}
