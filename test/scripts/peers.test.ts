import { describe, expect, test } from '@jest/globals';
import { PEERS } from '../../scripts/vectors/peers.ts';

describe.each(PEERS.map(({ name, cases }) => [name, cases()] as const))('against %s', (_name, cases) => {
  for (const one of cases) {
    if ('skip' in one) test.skip(`skipped: ${one.skip}`, () => undefined);
    else {
      test(
        one.name,
        async () => {
          await expect(Promise.resolve(one).then(({ check }) => check())).resolves.toBeUndefined();
        },
        60_000,
      );
    }
  }
});
