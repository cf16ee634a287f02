import { CollectError, type CollectErrorCode } from '../../enclave/collect/errors.ts';
import { errorOfAsync } from './refusal.ts';

/** The code with which a collection fails; undefined where it does not. Anything else thrown fails the test. */
export async function collectFailure(step: () => Promise<unknown>): Promise<CollectErrorCode | undefined> {
  return (await errorOfAsync(CollectError, step))?.code;
}
