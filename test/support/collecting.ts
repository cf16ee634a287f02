import { CollectError, type CollectErrorCode } from '../../enclave/collect/errors.ts';

/** The code with which a collection fails; undefined where it does not. Anything else thrown fails the test. */
export async function collectFailure(step: () => Promise<unknown>): Promise<CollectErrorCode | undefined> {
  try {
    await step();
    return undefined;
  } catch (error) {
    if (error instanceof CollectError) return error.code;
    throw error;
  }
}
