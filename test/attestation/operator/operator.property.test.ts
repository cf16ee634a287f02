import { beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeDc, encodeDc } from '../../../attestation/cbor/deterministic.ts';
import type { Check } from '../../../attestation/checks.ts';
import { appraiseOperator } from '../../../attestation/operator/appraise.ts';
import { alterables, altered } from '../../support/alterations.ts';
import { mintOrganisation, stateFor, type Organisation } from '../../support/operatorAuthority.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { contextOf } from '../../support/world.ts';

const INSTANCE = Buffer.from('00112233445546778899aabbccddeeff', 'hex');

let example: Organisation;
let statement: Uint8Array;

beforeAll(() => {
  example = mintOrganisation('Example GmbH');
  statement = stateFor(example, INSTANCE);
});

function judge(encoded: Uint8Array | undefined): Promise<Check> {
  return appraiseOperator(encoded, INSTANCE, 'operator', contextOf({ anchors: [example.anchors.root] }));
}

test('the statement is good as it is', async () => {
  expect((await judge(statement)).result).toBe('pass');
});

test(
  'an alteration of any part is refused',
  async () => {
    // In an array, so that tagged bytes are looked into.
    const places = alterables(encodeDc([statement]));
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), async (place, bit) => {
        const found = places[place % places.length]!;
        const [changed] = decodeDc(found.replace(altered(found.value, bit))) as readonly Uint8Array[];
        expect((await judge(changed)).result).toBe('fail');
      }),
      propertyRuns(150),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'any bytes are refused with a code',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
        expect((await judge(bytes)).result).toBe('fail');
      }),
      propertyRuns(100),
    );
  },
  PROPERTY_TIMEOUT,
);
