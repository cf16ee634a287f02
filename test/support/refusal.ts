import { Refusal } from '../../attestation/errors.ts';

/** The refusal that a step throws; undefined where it returns. Anything else thrown fails the test. */
export function refusalOf(step: () => unknown): Refusal | undefined {
  try {
    step();
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

/** The same for a step that is awaited. */
export async function refusalOfAsync(step: () => Promise<unknown>): Promise<Refusal | undefined> {
  try {
    await step();
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}
