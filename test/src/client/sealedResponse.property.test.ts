import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, toHex } from '../../../attestation/bytes/bytes.ts';
import {
  openRequest,
  RESPONSE_NONCE_HEADER,
  SEALED_CONTENT_TYPE,
  sealRequest,
} from '../../../attestation/channel/hpke.ts';
import { encodeSealedHead } from '../../../attestation/channel/sealed.ts';
import { openResponse } from '../../../src/client/sealedResponse.ts';
import { nodeRuntime } from '../../../attestation/crypto/nodeHpke.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { makeKeyring } from '../../support/world.ts';

/** A response that comes in pieces of these lengths, in turn. */
function arriving(nonce: Uint8Array, body: Uint8Array, lengths: readonly number[]): Response {
  let at = 0;
  let turn = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at >= body.length) {
        controller.close();
        return;
      }
      const length = lengths[turn++ % lengths.length] ?? 1;
      controller.enqueue(body.subarray(at, at + length));
      at += length;
    },
  });
  return new Response(stream, {
    headers: { 'content-type': SEALED_CONTENT_TYPE, [RESPONSE_NONCE_HEADER]: toHex(nonce) },
  });
}

test(
  'a sealed response opens however it arrives, and not at all where it was altered or cut',
  async () => {
    const { keyset, hpke } = await makeKeyring();
    const sealed = await sealRequest(keyset.hpke[0]!, Buffer.from('x'));
    const opened = await openRequest(hpke.privateKey, sealed.enc, sealed.body, nodeRuntime);
    const nonce = randomBytes(32);
    const sealer = await opened.sealer(nonce);
    const head = encodeSealedHead({ status: 200, contentType: 'text/plain', receipt: undefined });
    const body = concat(
      await sealer.seal(head, false),
      await sealer.seal(Buffer.from('one '), false),
      await sealer.seal(Buffer.from('two'), true),
    );
    const read = async (bytes: Uint8Array, lengths: readonly number[]): Promise<string> => {
      const response = await openResponse(sealed, arriving(nonce, bytes, lengths));
      const parts: Uint8Array[] = [];
      for await (const part of response.content) parts.push(part);
      return Buffer.concat(parts).toString();
    };
    const pieces = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(pieces, fc.nat(), fc.integer({ min: 1, max: 255 }), async (lengths, at, bits) => {
        expect(await read(body, lengths)).toBe('one two');
        const altered = body.slice();
        altered[at % body.length]! ^= bits;
        await expect(read(altered, lengths)).rejects.toMatchObject({ code: 'RESPONSE_REFUSED' });
        const cut = body.subarray(0, at % body.length);
        await expect(read(cut, lengths)).rejects.toMatchObject({ code: 'RESPONSE_REFUSED' });
      }),
      propertyRuns(30),
    );
  },
  PROPERTY_TIMEOUT,
);
