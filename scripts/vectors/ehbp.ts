import { z } from 'zod';
import { concat, toHex } from '../../attestation/bytes/bytes.ts';
import { EhbpSealer, EHBP, encodeKeyConfig, openEhbp } from '../../attestation/channel/ehbp.ts';
import { parseFrames } from '../../attestation/channel/frames.ts';
import { FrameCipher, openFrames } from '../../attestation/channel/hpke.ts';
import { libraryRuntime, type HpkeRuntime } from '../../attestation/channel/runtime.ts';
import { hpkeSuite } from '../../attestation/channel/suites.ts';
import { HPKE_SUITE } from '../../attestation/keyset.ts';
import { nodeRuntime } from '../../attestation/crypto/nodeHpke.ts';
import { sealGcm } from '../../attestation/crypto/openssl.ts';
import { expectEqual, type Case, type Family } from './family.ts';
import { hasMembers, hexSchema } from './vectorFile.ts';

const exchangeSchema = z.looseObject({
  path: z.string(),
  encapsulated_key_hex: hexSchema,
  request_body_hex: hexSchema,
  request_plaintext_hex: hexSchema,
  request_frames: z.number(),
  response_nonce_hex: hexSchema,
  response_body_hex: hexSchema,
  response_plaintext_utf8: z.string(),
});
type Exchange = z.infer<typeof exchangeSchema>;

const recordSchema = z.looseObject({
  server_private_key_hex: hexSchema,
  server_public_key_hex: hexSchema,
  hpke_keys_body_hex: hexSchema,
  derive: z.object({
    exported_secret_hex: hexSchema,
    request_enc_hex: hexSchema,
    response_nonce_hex: hexSchema,
    key_hex: hexSchema,
    nonce_hex: hexSchema,
  }),
  exchanges: z.array(exchangeSchema),
});
type Recorded = z.infer<typeof recordSchema>;

/** Exchanges that the npm client of EHBP made with another server. */
export const ehbpFamily: Family = {
  claims: ({ json }) => hasMembers(json, 'hpke_keys_body_hex', 'exchanges'),
  cases: ({ json }) => {
    const record = recordSchema.parse(json);
    const runtimes = { 'of the verifier': libraryRuntime(hpkeSuite()), 'of the service': nodeRuntime };
    return [
      { name: 'key configuration', check: () => checkKeyConfig(record) },
      ...Object.entries(runtimes).flatMap(([whose, runtime]): readonly Case[] => [
        { name: `key derivation ${whose}`, check: () => checkDerivation(runtime, record.derive) },
        ...record.exchanges.map((exchange, i) => ({
          name: `exchange ${i + 1} ${whose}`,
          check: () => checkExchange(runtime, record.server_private_key_hex, exchange),
        })),
      ]),
    ];
  },
};

function checkKeyConfig({ server_public_key_hex: publicKey, hpke_keys_body_hex: expected }: Recorded): void {
  expectEqual(toHex(encodeKeyConfig({ ...HPKE_SUITE, publicKey })), toHex(expected), 'key configuration');
}

async function checkDerivation(runtime: HpkeRuntime, vector: Recorded['derive']): Promise<void> {
  const salt = concat(vector.request_enc_hex, vector.response_nonce_hex);
  const keys = await runtime.responseKeys(salt, vector.exported_secret_hex);
  expectEqual(toHex(keys.iv), toHex(vector.nonce_hex), 'nonce');
  const expected = sealGcm(vector.key_hex, vector.nonce_hex, salt);
  expectEqual(toHex(await keys.seal(keys.iv, salt)), toHex(expected), 'what the key seals');
}

async function checkExchange(runtime: HpkeRuntime, raw: Uint8Array, exchange: Exchange): Promise<void> {
  const privateKey = await hpkeSuite().kem.deserializePrivateKey(raw);
  const sealed = { privateKey, enc: exchange.encapsulated_key_hex, body: exchange.request_body_hex };
  const { plaintext } = await openEhbp(runtime, sealed);
  expectEqual(toHex(plaintext), toHex(exchange.request_plaintext_hex), 'request');
  const { frames, keys } = await openFrames(runtime, EHBP, sealed);
  expectEqual(frames.length, exchange.request_frames, 'number of frames');

  const [opener, sealer] = [
    new FrameCipher(await keys(exchange.response_nonce_hex)),
    new EhbpSealer(await keys(exchange.response_nonce_hex)),
  ];
  const contents: Uint8Array[] = [];
  for (const ciphertext of parseFrames(exchange.response_body_hex))
    contents.push(await opener.open(ciphertext));
  expectEqual(Buffer.concat(contents).toString(), exchange.response_plaintext_utf8, 'response');
  const again: Uint8Array[] = [];
  for (const content of contents) again.push(await sealer.seal(content));
  expectEqual(toHex(concat(...again)), toHex(exchange.response_body_hex), 'response sealed again');
}
