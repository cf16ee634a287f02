import { ModelError } from '../models/errors.ts';
import { SEALED_FILE } from '../models/sealed/header.ts';
import type { ModelSource } from '../models/store.ts';
import type { LoadRequest, ToChild } from './protocol.ts';

/** The data key of a sealed model; undefined where the model lies in clear. */
export function dataKeyOf({ id, sealed }: ModelSource, { keys }: LoadRequest): Uint8Array | undefined {
  if (!sealed) return undefined;
  const answer = keys?.get(id) ?? { problem: 'no data key came with the request' };
  if ('key' in answer) return answer.key;
  throw new ModelError('DATA_KEY_MISSING', id, SEALED_FILE, answer.problem);
}

/** Overwrites the data keys of a load. */
export function forgetKeys({ keys }: Pick<LoadRequest, 'keys'>): void {
  for (const answer of keys?.values() ?? []) if ('key' in answer) answer.key.fill(0);
}

/** Overwrites the data keys in messages that were sent, or never will be. */
export function forgetSentKeys(messages: readonly ToChild[]): void {
  for (const message of messages) {
    if (message.kind === 'load') forgetKeys(message);
    if (message.kind === 'load-model') forgetKeys(message.load);
  }
}
