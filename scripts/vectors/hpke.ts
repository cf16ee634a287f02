import {
  Aes128Gcm,
  CipherSuite,
  DhkemP256HkdfSha256,
  ExportOnly,
  type AeadInterface,
  type KemInterface,
  type RecipientContext,
  type SenderContext,
} from '@hpke/core';
import { DhkemX25519HkdfSha256 } from '@hpke/dhkem-x25519';
import { z } from 'zod';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { HmacHkdf } from '../../attestation/channel/hkdf.ts';
import { hpkeSuite } from '../../attestation/channel/suites.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { HPKE_SUITE, isSuite } from '../../attestation/keyset.ts';
import { nodeRuntime, sendUnder } from '../../attestation/crypto/nodeHpke.ts';
import { agreementKey } from '../../attestation/crypto/openssl.ts';
import { nodeSuites } from '../../src/http/hpkeSuites.ts';
import { expectEqual, type Case, type Family } from './family.ts';
import { hexSchema, listsMembers } from './vectorFile.ts';

const BASE = 0;
const AUTH = 2;
const NOTHING = new Uint8Array(0);

const vectorSchema = z.looseObject({
  name: z.string(),
  mode: z.number(),
  kem_id: z.number(),
  kdf_id: z.number(),
  aead_id: z.number(),
  info: hexSchema,
  ikmE: hexSchema,
  skRm: hexSchema,
  pkRm: hexSchema,
  skSm: hexSchema.optional(),
  pkSm: hexSchema.optional(),
  enc: hexSchema,
  encryptions: z
    .array(z.object({ seq: z.number(), pt: hexSchema, aad: hexSchema, ct: hexSchema }))
    .optional(),
  exports: z.array(z.object({ exporter_context: hexSchema, L: z.number(), exported_value: hexSchema })),
});
type Vector = z.infer<typeof vectorSchema>;

/** Vectors of RFC 9180: our suite on both runtimes, further ones where the library is given our HKDF. */
export const hpkeFamily: Family = {
  claims: ({ json }) => listsMembers(json, 'kem_id', 'skRm', 'exports'),
  cases: ({ json }) =>
    z
      .looseObject({ vectors: z.array(vectorSchema) })
      .parse(json)
      .vectors.flatMap(casesOf),
};

function casesOf(vector: Vector): readonly Case[] {
  const { name, mode, kem_id, kdf_id, aead_id } = vector;
  if (mode !== BASE && mode !== AUTH) return [{ name, skip: 'modes with a shared key are not used here' }];
  if (mode === BASE && isSuite({ kem: kem_id, kdf: kdf_id, aead: aead_id }, HPKE_SUITE)) {
    const suites = { 'of the verifier': hpkeSuite(), 'of the service': nodeSuites.x25519() };
    return [
      ...Object.entries(suites).map(([whose, suite]) => ({
        name: `${name} ${whose}`,
        check: () => checkVector(suite, vector),
      })),
      { name: `${name} as the service opens requests`, check: () => checkReceiving(vector) },
      { name: `${name} as clients in Node seal requests`, check: () => checkSending(vector) },
    ];
  }
  const [kem, aead] = [kemOf(kem_id), aeadOf(aead_id)];
  if (!kem || !aead || kdf_id !== 1) return [{ name, skip: 'ChaCha20-Poly1305 is in no suite of ours' }];
  const suite = new CipherSuite({ kem, kdf: new HmacHkdf(nodeCrypto), aead });
  return [{ name, check: () => checkVector(suite, vector) }];
}

function kemOf(id: number): KemInterface | undefined {
  if (id === 0x0020) return new DhkemX25519HkdfSha256();
  return id === 0x0010 ? new DhkemP256HkdfSha256() : undefined;
}

function aeadOf(id: number): AeadInterface | undefined {
  if (id === 0x0001) return new Aes128Gcm();
  return id === 0xffff ? new ExportOnly() : undefined;
}

async function checkVector(suite: CipherSuite, vector: Vector): Promise<void> {
  const { info, enc, encryptions = [] } = vector;
  const { sender, recipient } = await contextsOf(suite, vector);
  expectEqual(toHex(new Uint8Array(sender.enc)), toHex(enc), 'enc');
  let seq = 0;
  for (const { seq: at, pt, aad, ct } of encryptions) {
    // The contexts count for themselves: what lies between two vectors is sealed and opened, too.
    for (; seq < at; seq++) await recipient.open(await sender.seal(info));
    expectEqual(toHex(new Uint8Array(await sender.seal(pt, aad))), toHex(ct), `ciphertext ${at}`);
    expectEqual(toHex(new Uint8Array(await recipient.open(ct, aad))), toHex(pt), `plaintext ${at}`);
    seq++;
  }
  for (const { exporter_context, L, exported_value } of vector.exports) {
    for (const context of [sender, recipient]) {
      const exported = new Uint8Array(await context.export(exporter_context, L));
      expectEqual(toHex(exported), toHex(exported_value), `export ${toHex(exporter_context)}`);
    }
  }
}

async function checkReceiving({
  skRm,
  enc,
  info,
  encryptions = [],
  exports,
  ...vector
}: Vector): Promise<void> {
  const privateKey = await hpkeSuite().kem.deserializePrivateKey(skRm);
  const context = nodeRuntime.receive(privateKey, enc, info);
  const { sender } = await contextsOf(hpkeSuite(), { skRm, enc, info, exports, ...vector });
  let seq = 0;
  for (const { seq: at, pt, aad, ct } of encryptions) {
    for (; seq < at; seq++) context.open(new Uint8Array(await sender.seal(info)));
    await sender.seal(pt);
    expectEqual(toHex(context.open(ct, aad)), toHex(pt), `plaintext ${at}`);
    seq++;
  }
  for (const { exporter_context, L, exported_value } of exports) {
    expectEqual(toHex(context.export(exporter_context, L)), toHex(exported_value), 'export');
  }
}

async function checkSending({ ikmE, pkRm, enc, info, encryptions = [], exports }: Vector): Promise<void> {
  // Ephemeral keys are given for tests alone, from the same octets as in the RFC.
  const { privateKey } = await hpkeSuite().kem.deriveKeyPair(new Uint8Array(ikmE).buffer);
  const sender = sendUnder(agreementKey(privateKey), pkRm, info);
  expectEqual(toHex(sender.enc), toHex(enc), 'enc');
  let seq = 0;
  for (const { seq: at, pt, aad, ct } of encryptions) {
    for (; seq < at; seq++) sender.seal(info);
    expectEqual(toHex(sender.seal(pt, aad)), toHex(ct), `ciphertext ${at}`);
    seq++;
  }
  for (const { exporter_context, L, exported_value } of exports) {
    expectEqual(toHex(sender.export(exporter_context, L)), toHex(exported_value), 'export');
  }
}

async function contextsOf(
  suite: CipherSuite,
  { mode, info, ikmE, skRm, pkRm, skSm = NOTHING, pkSm = NOTHING, enc }: Vector,
): Promise<{ readonly sender: SenderContext; readonly recipient: RecipientContext }> {
  const { kem } = suite;
  const recipientKey = await kem.deserializePrivateKey(skRm);
  const recipientPublicKey = await kem.deserializePublicKey(pkRm);
  // Ephemeral keys are given for tests alone: the library makes them from the same octets as the RFC does.
  const ekm = new Uint8Array(ikmE).buffer;
  const sent = { recipientPublicKey, info, ekm };
  const received = { recipientKey, info, enc };
  if (mode === BASE) {
    return {
      sender: await suite.createSenderContext(sent),
      recipient: await suite.createRecipientContext(received),
    };
  }
  const senderPublicKey = await kem.deserializePublicKey(pkSm);
  const senderKey = { privateKey: await kem.deserializePrivateKey(skSm), publicKey: senderPublicKey };
  return {
    sender: await suite.createSenderContext({ ...sent, senderKey }),
    recipient: await suite.createRecipientContext({ ...received, senderPublicKey }),
  };
}
