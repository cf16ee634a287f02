import { z } from 'zod';
import { encodeCollateral } from '../../../attestation/bundle/collateral.ts';
import { fromHex } from '../../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import {
  encodeKeyRequest,
  type KeyAnswer,
  KEY_REQUEST_TYPE,
  openDataKey,
  parseKeyAnswer,
  type ReleasePurpose,
} from '../../../attestation/channel/keyRelease.ts';
import type { Collateral } from '../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { documentDigest, parseDocument } from '../../../attestation/evidence/document.ts';
import { keysetDigest } from '../../../attestation/keyset.ts';
import { ReleaseError } from './errors.ts';
import { exchange, type KeyService, readJson } from './exchange.ts';

const MAX_NONCE_ANSWER_BYTES = 1024;
const MAX_KEY_ANSWER_BYTES = 1024;

const nonceSchema = z.strictObject({
  format: z.literal('vouchsafe/key-release-nonce/1'),
  nonce: z.string().regex(/^(?!0{64}$)[0-9a-f]{64}$/),
  seconds: z.int().min(0),
});

/** What this instance attests with. */
export interface Attester {
  /** An evidence document of this instance for a nonce of 32 bytes, and the place of the nonce in it. */
  attest(nonce: Uint8Array): Promise<{
    readonly document: Uint8Array;
    readonly index: number;
    readonly path: readonly Uint8Array[];
  }>;
  collateral(): Promise<Collateral>;
  /** Private halves of the HPKE keys of the keysets in use, the newest first. */
  hpkeKeys(): readonly CryptoKey[];
}

/** What is asked for. */
export interface WantedKey {
  readonly model: string;
  /** Name of the key that wraps the data key. */
  readonly keyName: string;
  readonly wrapped: Uint8Array;
}

/**
 * Has another Vouchsafe node release a data key: its nonce, evidence of this instance for that nonce, and the key sealed
 * to the HPKE key that the evidence commits to. Who is on the way, the node's own host included, sees nothing but
 * evidence; what it can do is to have no key released, or to give a key of its own, which opens nothing here.
 */
export async function askNode(
  service: KeyService,
  attester: Attester,
  { model, keyName, wrapped }: WantedKey,
): Promise<Uint8Array> {
  const nonce = await askNonce(service);
  const { document, index, path } = await attester.attest(nonce);
  const collateral = encodeDc(encodeCollateral(await attester.collateral()));
  const proof = { nonce, index, path };
  const { body } = await exchange(service, {
    method: 'POST',
    path: '/v1/key-release',
    contentType: KEY_REQUEST_TYPE,
    body: encodeKeyRequest({ proof, model, keyName, wrapped, document, collateral }),
    maxBytes: MAX_KEY_ANSWER_BYTES,
  });
  const { encodedKeyset } = parseDocument(document);
  const purpose: ReleasePurpose = {
    nonce,
    model,
    keyName,
    wrapped,
    keysetDigest: keysetDigest(encodedKeyset, nodeCrypto),
    evidence: documentDigest(document, nodeCrypto),
  };
  return openAnswer(attester, purpose, readAnswer(body));
}

async function askNonce(service: KeyService): Promise<Uint8Array> {
  const { body } = await exchange(service, {
    method: 'POST',
    path: '/v1/key-release/nonce',
    maxBytes: MAX_NONCE_ANSWER_BYTES,
  });
  const parsed = nonceSchema.safeParse(readJson(body, 'the nonce'));
  if (!parsed.success) throw new ReleaseError('BAD_ANSWER', 'the nonce is none');
  return fromHex(parsed.data.nonce);
}

function readAnswer(body: Uint8Array): KeyAnswer {
  try {
    return parseKeyAnswer(body);
  } catch (error) {
    if (error instanceof Refusal) throw new ReleaseError('BAD_ANSWER', error.message);
    throw error;
  }
}

/** While keys overlap after a rotation, the document may be of the former keyset. */
async function openAnswer(
  attester: Attester,
  purpose: ReleasePurpose,
  answer: KeyAnswer,
): Promise<Uint8Array> {
  for (const key of attester.hpkeKeys()) {
    try {
      return await openDataKey(key, purpose, answer, nodeCrypto);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }
  throw new ReleaseError('NOT_FOR_US', 'the released key does not open here');
}
