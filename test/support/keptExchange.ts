import { utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { commit, PARAMETER_ITEMS } from '../../attestation/receipt/commitment.ts';
import type { KeptContent } from '../../attestation/receipt/openItems.ts';
import { parseReceipt } from '../../attestation/receipt/receipt.ts';
import { ChunkHasher } from '../../src/receipts/chunks.ts';
import { issueBundle, makeDraft, type Bundled, type World } from './world.ts';

/** An exchange whose receipt commits to everything that can be committed to, and what its client kept. */
export interface KeptExchange extends Bundled {
  readonly kept: KeptContent & { readonly request: Uint8Array };
  readonly claims: ReceiptClaims;
}

export const TENANT = 'analytics';
const STOP = utf8('["\\n\\n"]');
const TOOLS = utf8('[{"type":"function"}]');
const REQUEST = utf8('{"model":"test-model","prompt":"secret question","stop":"\\n\\n","stream":true}');

/** With `chunks` a stream, without a body. */
export async function issueKept(
  world: World,
  { chunks, tenant = TENANT }: { chunks?: readonly Uint8Array[]; tenant?: string } = {},
): Promise<KeptExchange> {
  const { id, k } = makeDraft();
  const body = utf8('{"secret":"answer"}');
  const parameters = new Map<string, string | Uint8Array>([
    ['temperature', '0.5'],
    ['stop', commit(k, id, 'parameter', PARAMETER_ITEMS.stop, STOP, nodeCrypto)],
    ['tools', commit(k, id, 'parameter', PARAMETER_ITEMS.tools, TOOLS, nodeCrypto)],
  ]);
  const hasher = new ChunkHasher(k, id);
  for (const chunk of chunks ?? []) hasher.add(chunk);
  const response = chunks ? hasher.finish() : ({ kind: 'body', body } as const);
  const bundled = await issueBundle(world, { id, k, request: REQUEST, response, parameters, tenant });
  const kept = {
    k,
    request: REQUEST,
    ...(chunks ? { chunks } : { response: body }),
    parameters: new Map([
      ['stop', STOP],
      ['tools', TOOLS],
    ] as const),
    tenant: utf8(tenant),
  };
  return { ...bundled, kept, claims: parseReceipt(bundled.issued.encoded).claims };
}

/** Chunks of a stream that all differ, `[DONE]` at the end. */
export function makeChunks(count: number): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, i) => utf8(i === count - 1 ? '[DONE]' : `{"secret":${i}}`));
}
