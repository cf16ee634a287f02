import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '../../../../attestation/bytes/bytes.ts';
import { CollectError } from '../../../../enclave/collect/errors.ts';
import { readDeviceChain } from '../../../../enclave/collect/nvidia/certificates.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { pemOf } from '../../../support/nvidiaDriver.ts';
import { mintDevice } from '../../../support/nvidiaMachine.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

let pem: Uint8Array;
let chain: readonly Uint8Array[];

beforeAll(async () => {
  ({ certificates: chain } = await mintDevice());
  pem = pemOf(chain);
});

describe('the chain of a device', () => {
  test('is read leaf first, with or without NULs at its end', () => {
    expect(readDeviceChain(pem, 'GPU 0')).toEqual(chain);
    expect(readDeviceChain(Buffer.concat([pem, Buffer.alloc(3)]), 'GPU 0')).toEqual(chain);
  });

  test.each([
    ['nothing', () => new Uint8Array(0)],
    ['text before it', () => Buffer.concat([utf8('Bag Attributes\n'), pem])],
    ['text after it', () => Buffer.concat([pem, utf8('x')])],
    ['a block cut off after it', () => Buffer.concat([pem, utf8('-----BEGIN CERTIFICATE-----\nAAAA')])],
    ['bytes that are no text', () => Buffer.concat([pem, Uint8Array.of(0xff)])],
    ['DER in the place of PEM', () => Buffer.concat(chain)],
  ])('with %s is refused', async (_, make) => {
    const failure = await collectFailure(() =>
      Promise.resolve().then(() => readDeviceChain(make(), 'GPU 0')),
    );
    expect(failure).toBe('EVIDENCE_MALFORMED');
  });

  test(
    'with any changed byte is read as five certificates or refused',
    () => {
      fc.assert(
        fc.property(fc.nat(pem.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
          const altered = Uint8Array.from(pem);
          altered[at] = (altered[at] ?? 0) ^ change;
          try {
            return readDeviceChain(altered, 'GPU 0').length === 5;
          } catch (error) {
            return error instanceof CollectError && error.code === 'EVIDENCE_MALFORMED';
          }
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

describeCorpus('chains of real devices', 'evidence/gpu', (directory) => {
  const files = readdirSync(directory)
    .map((folder) => join(directory, folder, 'certchain.pem'))
    .filter((path) => existsSync(path));

  test('are read', () => {
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) expect(readDeviceChain(readFileSync(file), file)).toHaveLength(5);
  });
});
