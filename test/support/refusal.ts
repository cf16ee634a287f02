import { Refusal } from '../../attestation/errors.ts';

type Kind<Thrown extends Error> = abstract new (...given: never[]) => Thrown;

/** The error of this class that a step throws; undefined where it returns. Anything else thrown fails the test. */
export function errorOf<Thrown extends Error>(kind: Kind<Thrown>, step: () => unknown): Thrown | undefined {
  try {
    step();
    return undefined;
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
}

/** The same for a step that is awaited. */
export async function errorOfAsync<Thrown extends Error>(
  kind: Kind<Thrown>,
  step: () => unknown,
): Promise<Thrown | undefined> {
  try {
    await step();
    return undefined;
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
}

/** The refusal that a step throws; undefined where it returns. */
export function refusalOf(step: () => unknown): Refusal | undefined {
  return errorOf(Refusal, step);
}

/** The same for a step that is awaited. */
export function refusalOfAsync(step: () => Promise<unknown>): Promise<Refusal | undefined> {
  return errorOfAsync(Refusal, step);
}
