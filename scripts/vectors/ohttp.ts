import { z } from 'zod';
import { concat, toHex } from '../../attestation/bytes/bytes.ts';
import {
  ChunkOpener,
  ChunkSealer,
  frameChunk,
  openChunked,
} from '../../attestation/channel/ohttp/chunked.ts';
import {
  beginRequest,
  type Form,
  parseRequestHeader,
  type Recipient,
  type Sender,
} from '../../attestation/channel/ohttp/exchange.ts';
import { chooseKey, encodeKeyConfigs, parseKeyConfig } from '../../attestation/channel/ohttp/keyConfig.ts';
import { suiteOf } from '../../attestation/channel/ohttp/suite.ts';
import {
  openWhole,
  openWholeResponse,
  sealWhole,
  sealWholeResponse,
} from '../../attestation/channel/ohttp/whole.ts';
import { type Case, expectEqual, expectRefused, type Family } from './family.ts';
import { hasMembers, hexSchema } from './vectorFile.ts';

const hex = hexSchema;
const schema = z.object({
  gateway_secret_key: hex,
  key_config: hex,
  bhttp_request: hex,
  client_ephemeral_secret_key: hex,
  enc: hex,
  encapsulated_request: hex,
  bhttp_response: hex,
  encapsulated_response: hex,
  request_chunk_plaintext_lengths: z.array(z.int()).optional(),
  response_chunk_plaintext_lengths: z.array(z.int()).optional(),
});
type Vector = z.infer<typeof schema>;

/** The examples of RFC 9458 and of its chunked form: both ends, byte for byte. */
export const ohttpFamily: Family = {
  claims: ({ json }) => hasMembers(json, 'gateway_secret_key', 'encapsulated_request', 'bhttp_response'),
  cases: ({ json }): readonly Case[] => {
    const vector = schema.parse(json);
    const form: Form = vector.request_chunk_plaintext_lengths ? 'chunked' : 'whole';
    return [
      { name: 'key configuration', check: () => checkKeyConfig(vector) },
      { name: 'gateway', check: () => checkGateway(form, vector) },
      { name: 'client', check: () => checkClient(form, vector) },
      { name: 'altered', check: () => checkAltered(form, vector) },
    ];
  },
};

function keyOf({ key_config }: Vector) {
  const config = parseKeyConfig(key_config);
  if (!config) throw new Error('the KEM is not known');
  // The vectors use AES-128-GCM, which the configurations list first.
  return { config, key: chooseKey([config]) };
}

function checkKeyConfig(vector: Vector): void {
  const { config, key } = keyOf(vector);
  expectEqual(key.symmetric.aead, 1, 'the AEAD');
  const listed = encodeKeyConfigs([config]);
  expectEqual(toHex(listed.subarray(2)), toHex(vector.key_config), 'the encoded configuration');
}

async function checkGateway(form: Form, vector: Vector): Promise<void> {
  const header = parseRequestHeader(vector.encapsulated_request);
  expectEqual(toHex(header.enc), toHex(vector.enc), 'the encapsulated key');
  const privateKey = await suiteOf(header.symmetric).kem.importKey(
    'raw',
    bufferOf(vector.gateway_secret_key),
    false,
  );
  const { request, recipient } =
    form === 'whole' ? await openWhole(privateKey, header) : await openChunked(privateKey, header);
  expectEqual(toHex(request), toHex(vector.bhttp_request), 'the opened request');
  const response = await sealResponse(form, recipient, vector);
  expectEqual(toHex(response), toHex(vector.encapsulated_response), 'the encapsulated response');
}

async function sealResponse(form: Form, recipient: Recipient, vector: Vector): Promise<Uint8Array> {
  const nonce = vector.encapsulated_response.slice(0, recipient.nonceBytes);
  if (form === 'whole') return sealWholeResponse(recipient, nonce, vector.bhttp_response);
  const sealer = await ChunkSealer.begin(recipient, nonce);
  const parts: Uint8Array[] = [];
  for (const { piece, isLast } of split(vector.bhttp_response, vector.response_chunk_plaintext_lengths)) {
    parts.push(await sealer.seal(piece, isLast));
  }
  return concat(...parts);
}

async function checkClient(form: Form, vector: Vector): Promise<void> {
  const { key } = keyOf(vector);
  const { kem } = suiteOf(key.symmetric);
  const ephemeral = {
    publicKey: await kem.deserializePublicKey(vector.enc),
    privateKey: await kem.importKey('raw', bufferOf(vector.client_ephemeral_secret_key), false),
  };
  const { body, sender } = await sealRequest(form, vector, ephemeral);
  expectEqual(toHex(body), toHex(vector.encapsulated_request), 'the encapsulated request');
  const opened = await openResponse(form, sender, vector.encapsulated_response);
  expectEqual(toHex(opened), toHex(vector.bhttp_response), 'the opened response');
}

async function sealRequest(
  form: Form,
  vector: Vector,
  ephemeral: CryptoKeyPair,
): Promise<{ readonly body: Uint8Array; readonly sender: Sender }> {
  const { key } = keyOf(vector);
  if (form === 'whole') return sealWhole(key, vector.bhttp_request, ephemeral);
  const sender = await beginRequest(form, key, ephemeral);
  const parts = [sender.head];
  for (const { piece, isLast } of split(vector.bhttp_request, vector.request_chunk_plaintext_lengths)) {
    parts.push(frameChunk(await sender.seal(piece, isLast), isLast));
  }
  return { body: concat(...parts), sender };
}

async function openResponse(form: Form, sender: Sender, body: Uint8Array): Promise<Uint8Array> {
  if (form === 'whole') return openWholeResponse(sender, body);
  const opener = new ChunkOpener(sender);
  const contents: Uint8Array[] = [];
  // Byte by byte, as a network may bring it.
  for (const byte of body) contents.push(...(await opener.push(Uint8Array.of(byte))));
  return concat(...contents, ...(await opener.finish()));
}

function* split(content: Uint8Array, lengths: readonly number[] = [content.length]) {
  let start = 0;
  for (const [i, length] of lengths.entries()) {
    yield { piece: content.subarray(start, start + length), isLast: i === lengths.length - 1 };
    start += length;
  }
}

/** Every altered byte, and every cut, of request and response must be refused. */
async function checkAltered(form: Form, vector: Vector): Promise<void> {
  const request = vector.encapsulated_request;
  const { symmetric } = parseRequestHeader(request);
  const privateKey = await suiteOf(symmetric).kem.importKey(
    'raw',
    bufferOf(vector.gateway_secret_key),
    false,
  );
  const open = async (body: Uint8Array): Promise<unknown> => {
    const header = parseRequestHeader(body);
    return form === 'whole' ? openWhole(privateKey, header) : openChunked(privateKey, header);
  };
  for (let i = 0; i < request.length; i++) {
    const altered = request.map((byte, at) => (at === i ? byte ^ 0x20 : byte));
    await expectRefused(() => open(altered), `a request with byte ${i} altered`);
    await expectRefused(() => open(request.subarray(0, i)), `a request of ${i} bytes`);
  }
}

/** Bytes in a buffer of their own, as the HPKE library takes raw keys. */
function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
