import { z } from 'zod';
import { fromUtf8 } from '../../attestation/bytes/bytes.ts';
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
  const response = await send(service, { method: 'GET', path: '/v1/models', timeoutMs: TIMEOUT_MS });
  if (response.status !== 200) throw await rejection(response);
  const body = await readBody(response, MAX_BYTES);
  try {
    return listSchema.parse(JSON.parse(fromUtf8(body))).data.map(({ id, tasks }) => ({ id, tasks }));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError || error instanceof Refusal) {
      throw new ClientError('BAD_ANSWER', 'this is no list of models', { cause: error });
    }
    throw error;
  }
}
