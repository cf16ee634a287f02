import * as z from 'zod';
import { fromBase64Url, fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { ClientError } from './errors.ts';
import { readBody, rejection, send, type Service } from './http.ts';

const MAX_BYTES = 4 * 1024 * 1024;
const TIMEOUT_MS = 30_000;

const listSchema = z.object({
  data: z.array(z.object({ id: z.string().min(1).max(256), tasks: z.array(z.string()).optional() })),
});

/** A model that a service offers. The list travels outside the seal: the receipt says which model answered. */
export interface OfferedModel {
  readonly id: string;
  /** Such as `embed` and `generate`; undefined where the service does not say. */
  readonly tasks: readonly string[] | undefined;
}

export async function fetchModels(service: Service): Promise<readonly OfferedModel[]> {
  const { data } = await fetchJson(service, '/v1/models', listSchema);
  return data.map(({ id, tasks }) => ({ id, tasks }));
}

const modelSchema = z.object({ manifest: z.string() });

/** Encoded manifest of a model, as the service says it: its SHA-256 must be the digest of a receipt. */
export async function fetchManifest(service: Service, model: string): Promise<Uint8Array> {
  const { manifest } = await fetchJson(service, `/v1/models/${encodeURIComponent(model)}`, modelSchema);
  return fromBase64Url(manifest);
}

async function fetchJson<T>(service: Service, path: string, schema: z.ZodType<T>): Promise<T> {
  const response = await send(service, { method: 'GET', path, timeoutMs: TIMEOUT_MS });
  if (response.status !== 200) throw await rejection(response);
  const body = await readBody(response, MAX_BYTES);
  try {
    return schema.parse(JSON.parse(fromUtf8(body)));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError || error instanceof Refusal) {
      throw new ClientError('BAD_ANSWER', 'this is not what a service says of its models', { cause: error });
    }
    throw error;
  }
}
