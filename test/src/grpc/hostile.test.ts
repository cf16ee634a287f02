import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkRequest, checkResponse } from '../../../attestation/receipt/opening.ts';
import { apiKey, issuedClaims, until } from '../../support/service.ts';
import { texts } from '../../support/tensors.ts';
import { type Answer, encode, type GrpcService, named, PATH, startGrpc } from './client.ts';

const FLOATS = { name: 'x', shape: [2], datatype: 'FP32', contents: { fp32_contents: [1, 2] } };
const WORDS = { name: 'x2', shape: [1], datatype: 'BYTES', contents: { bytes_contents: [Buffer.from('a')] } };
const REQUEST = { model_name: 'fake', inputs: [FLOATS] };
const VALID = encode('ModelInferRequest', REQUEST);
const RAW = [
  { name: 'x', shape: [2], datatype: 'FP32' },
  { name: 'x2', shape: [1], datatype: 'BYTES' },
];
const EIGHT = Buffer.alloc(8);
const WORD = texts('word');
const TWO = { model_name: 'two' };

const ours = ({ trailing }: Answer): string | undefined => named(trailing, 'vouchsafe-code');

/** One input whose fields are these bytes. */
function inputOf(...fields: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from('0a0466616b65', 'hex'), field(5, Buffer.concat(fields))]);
}

function field(number: number, value: Uint8Array): Buffer {
  if (value.length > 127) throw new Error('one byte of length is enough here');
  return Buffer.concat([Buffer.of((number << 3) | 2, value.length), value]);
}

const NAMED = [field(1, Buffer.from('x')), field(2, Buffer.from('FP32'))];

describe('what names no model has no receipt', () => {
  test.each<[string, Uint8Array, string, string]>([
    ['an empty message', new Uint8Array(0), 'NOT_FOUND', 'MODEL_NOT_FOUND'],
    ['an unknown model', encode('ModelInferRequest', { model_name: 'none' }), 'NOT_FOUND', 'MODEL_NOT_FOUND'],
    [
      'a name of all objects',
      encode('ModelInferRequest', { model_name: '__proto__' }),
      'NOT_FOUND',
      'MODEL_NOT_FOUND',
    ],
    [
      'another version',
      encode('ModelInferRequest', { ...REQUEST, model_version: '2' }),
      'NOT_FOUND',
      'VERSION_NOT_FOUND',
    ],
    ['garbage', Buffer.from('ffffffffffffffffffffffffff', 'hex'), 'INVALID_ARGUMENT', 'BODY_INVALID'],
    ['text', Buffer.from('{"model_name":"fake"}'), 'INVALID_ARGUMENT', 'BODY_INVALID'],
    ['a message that is cut off', VALID.subarray(0, -1), 'INVALID_ARGUMENT', 'BODY_INVALID'],
    ['trailing bytes', Buffer.concat([VALID, Buffer.of(0)]), 'INVALID_ARGUMENT', 'BODY_INVALID'],
    [
      'a field that is not known',
      Buffer.concat([VALID, Buffer.of(0x40, 1)]),
      'INVALID_ARGUMENT',
      'BODY_INVALID',
    ],
    ['a group', Buffer.concat([VALID, Buffer.of(0x2b, 0x2c)]), 'INVALID_ARGUMENT', 'BODY_INVALID'],
    [
      'the model twice',
      Buffer.concat([VALID, field(1, Buffer.from('two'))]),
      'INVALID_ARGUMENT',
      'BODY_INVALID',
    ],
    [
      'an id that is no UTF-8',
      Buffer.concat([VALID, field(3, Buffer.of(0xff))]),
      'INVALID_ARGUMENT',
      'BODY_INVALID',
    ],
    [
      'half a surrogate pair',
      Buffer.concat([VALID, field(3, Buffer.of(0xed, 0xa0, 0x80))]),
      'INVALID_ARGUMENT',
      'BODY_INVALID',
    ],
    [
      'a million empty tensors',
      Buffer.concat([VALID, Buffer.alloc(2_000_000, Buffer.of(0x2a, 0))]),
      'INVALID_ARGUMENT',
      'BODY_INVALID',
    ],
    [
      'a million empty values',
      Buffer.concat([VALID, Buffer.alloc(2_000_000, Buffer.of(0x3a, 0))]),
      'INVALID_ARGUMENT',
      'BODY_INVALID',
    ],
    [
      'a length of eighteen quintillions',
      Buffer.concat([VALID, Buffer.from('3affffffffffffffffff01', 'hex')]),
      'INVALID_ARGUMENT',
      'BODY_INVALID',
    ],
  ])('%s', async (_name, bytes, code, refusal) => {
    const service = await startGrpc();
    const answer = await service.call('ModelInfer', bytes);
    expect([answer.code, ours(answer)]).toEqual([code, refusal]);
    expect(answer.initial.get('vouchsafe-receipt-id')).toEqual([]);
    expect(issuedClaims(service)).toEqual([]);
    expect((await service.infer(REQUEST)).code).toBe('OK');
  });

  test.each(['ab', '0'.repeat(64), 'AB'.repeat(32)])('the nonce %s', async (nonce) => {
    const service = await startGrpc();
    const answer = await service.infer(REQUEST, { metadata: { 'vouchsafe-nonce': nonce } });
    expect([answer.code, ours(answer)]).toEqual(['INVALID_ARGUMENT', 'NONCE_INVALID']);
  });
});

describe('what does not fit the model is refused with a receipt', () => {
  const with_ = (...inputs: readonly object[]): Buffer => encode('ModelInferRequest', { ...TWO, inputs });
  const raw = (values: readonly Uint8Array[], inputs: readonly object[] = RAW): Buffer =>
    encode('ModelInferRequest', { ...TWO, inputs, raw_input_contents: values });

  test.each<[string, Buffer, string]>([
    ['no inputs', with_(), 'INVALID_INPUT: inputs'],
    ['an input missing', with_(FLOATS), 'INVALID_INPUT: input x2'],
    ['an input twice', with_(FLOATS, FLOATS), 'INVALID_INPUT: input x '],
    [
      'another datatype',
      with_({ ...FLOATS, datatype: 'INT32', contents: { int_contents: [1, 2] } }, WORDS),
      'INVALID_INPUT: input x is FP32',
    ],
    [
      'a datatype that is none',
      with_({ ...FLOATS, datatype: 'FP8' }, WORDS),
      'DATATYPE_UNSUPPORTED: input x',
    ],
    ['BF16', with_({ ...FLOATS, datatype: 'BF16' }, WORDS), 'DATATYPE_UNSUPPORTED: input x: BF16'],
    [
      'FP16 with typed contents',
      with_({ ...FLOATS, datatype: 'FP16' }, WORDS),
      'DATATYPE_UNSUPPORTED: input x: FP16',
    ],
    [
      'values of another type',
      with_({ ...FLOATS, contents: { fp64_contents: [1, 2] } }, WORDS),
      'INVALID_INPUT: input x: contents',
    ],
    ['no contents', with_({ ...FLOATS, contents: undefined }, WORDS), 'SHAPE_MISMATCH: input x'],
    [
      'fewer values',
      with_({ ...FLOATS, contents: { fp32_contents: [1] } }, WORDS),
      'SHAPE_MISMATCH: input x',
    ],
    [
      'more values',
      with_({ ...FLOATS, contents: { fp32_contents: [1, 2, 3] } }, WORDS),
      'SHAPE_MISMATCH: input x',
    ],
    ['a negative dimension', with_({ ...FLOATS, shape: [-1] }, WORDS), 'INVALID_INPUT: inputs.0.shape'],
    [
      'a dimension beyond 2^53',
      with_({ ...FLOATS, shape: ['9007199254740992'] }, WORDS),
      'INVALID_INPUT: inputs.0.shape',
    ],
    [
      'seventeen dimensions',
      with_({ ...FLOATS, shape: Array(17).fill(1) }, WORDS),
      'INVALID_INPUT: inputs.0.shape',
    ],
    [
      'a shape of 2^64 elements',
      with_({ ...FLOATS, shape: ['4294967296', '4294967296'] }, WORDS),
      'SHAPE_MISMATCH: input x',
    ],
    [
      'a shape beyond all numbers',
      with_({ ...FLOATS, shape: Array(16).fill('9007199254740991') }, WORDS),
      'SHAPE_MISMATCH: input x',
    ],
    ['another rank', with_({ ...FLOATS, shape: [1, 2] }, WORDS), 'INVALID_INPUT: input x'],
    ['no name', with_({ ...FLOATS, name: '' }, WORDS), 'INVALID_INPUT: inputs.0.name'],
    ['a long name', with_({ ...FLOATS, name: 'x'.repeat(257) }, WORDS), 'INVALID_INPUT: inputs.0.name'],
    [
      'an unknown output',
      encode('ModelInferRequest', { ...TWO, inputs: [FLOATS, WORDS], outputs: [{ name: 'z' }] }),
      'INVALID_INPUT: outputs',
    ],
    [
      'an output twice',
      encode('ModelInferRequest', {
        ...TWO,
        inputs: [FLOATS, WORDS],
        outputs: [{ name: 'y' }, { name: 'y' }],
      }),
      'INVALID_INPUT: outputs',
    ],
    [
      'a long id',
      encode('ModelInferRequest', { ...TWO, id: 'i'.repeat(257), inputs: [FLOATS, WORDS] }),
      'INVALID_INPUT: id',
    ],
    ['raw values missing', raw([EIGHT]), 'INVALID_INPUT: raw_input_contents: has 1 values for 2 inputs'],
    ['too many raw values', raw([EIGHT, WORD, EIGHT]), 'INVALID_INPUT: raw_input_contents: has 3'],
    ['typed values beside raw ones', raw([EIGHT, WORD], [FLOATS, RAW[1]!]), 'INVALID_INPUT: inputs: input x'],
    ['too few raw bytes', raw([EIGHT.subarray(1), WORD]), 'SHAPE_MISMATCH: input x'],
    ['too many raw bytes', raw([Buffer.alloc(9), WORD]), 'SHAPE_MISMATCH: input x'],
    [
      'a raw shape that overflows',
      raw([EIGHT, WORD], [{ ...RAW[0], shape: ['4294967296', '4294967296'] }, RAW[1]!]),
      'SHAPE_MISMATCH: input x',
    ],
    ['a text that passes its end', raw([EIGHT, Buffer.of(9, 0, 0, 0, 1)]), 'INVALID_INPUT: input x2'],
    ['a length without a text', raw([EIGHT, Buffer.of(1, 0)]), 'INVALID_INPUT: input x2'],
    ['text that is no UTF-8', raw([EIGHT, Buffer.of(1, 0, 0, 0, 0xff)]), 'INVALID_INPUT: input x2'],
    [
      'a NUL in a text',
      with_(FLOATS, { ...WORDS, contents: { bytes_contents: [Buffer.of(0)] } }),
      'INVALID_INPUT: input x2',
    ],
    [
      'a parameter',
      encode('ModelInferRequest', { ...TWO, parameters: { sequence_id: { int64_param: 1 } } }),
      'PARAMETER_UNSUPPORTED: parameters: sequence_id ',
    ],
    [
      'a parameter of an input',
      with_({ ...FLOATS, parameters: { shared_memory_region: { string_param: 'a' } } }),
      'PARAMETER_UNSUPPORTED: inputs.0.parameters: shared_memory_region ',
    ],
    [
      'a parameter of an output',
      encode('ModelInferRequest', {
        ...TWO,
        inputs: [FLOATS, WORDS],
        outputs: [{ name: 'y', parameters: { classification: { int64_param: 1 } } }],
      }),
      'PARAMETER_UNSUPPORTED: outputs.0.parameters: classification ',
    ],
    ['a field of no tensor', inputOf(...NAMED, Buffer.of(0x30, 1)), 'BODY_INVALID: inputs.0'],
    [
      'two contents',
      inputOf(...NAMED, field(5, Buffer.alloc(0)), field(5, Buffer.alloc(0))),
      'BODY_INVALID: inputs.0',
    ],
    [
      'a part of a number',
      inputOf(...NAMED, Buffer.of(0x18, 1), field(5, field(6, Buffer.alloc(3)))),
      'INVALID_INPUT: input x',
    ],
    [
      'a contents that is garbage',
      inputOf(...NAMED, Buffer.of(0x18, 1), field(5, Buffer.of(0xff))),
      'BODY_INVALID: contents',
    ],
  ])('%s', async (_name, request, text) => {
    const service = await startGrpc();
    const answer = await service.call('ModelInfer', request);
    expect([answer.code, answer.details]).toEqual(['INVALID_ARGUMENT', expect.stringContaining(text)]);
    expect(answer.details.startsWith(ours(answer)!)).toBe(true);
    const [claims] = issuedClaims(service);
    expect(claims).toMatchObject({ outcome: 'refused', reason: 'INVALID_INPUT' });
    const k = Buffer.from(named(answer.initial, 'vouchsafe-commitment-key')!, 'base64url');
    checkRequest(claims!, { k, request }, nodeCrypto);
    checkResponse(claims!, { k, response: Buffer.from(answer.details) }, nodeCrypto);
  });

  test.each<[string, string, readonly unknown[]]>([
    ['INT8', 'int_contents', [128]],
    ['INT16', 'int_contents', [-32_769]],
    ['UINT8', 'uint_contents', [256]],
    ['UINT16', 'uint_contents', [65_536]],
  ])('a number that is no %s', async (datatype, name, values) => {
    const service = await startGrpc();
    const inputs = [{ name: 'x', datatype, shape: [1], contents: { [name]: values } }];
    const answer = await service.infer({ model_name: datatype, inputs });
    expect([answer.code, answer.details]).toEqual([
      'INVALID_ARGUMENT',
      `INVALID_INPUT: input x: contents holds a number that is no ${datatype}`,
    ]);
  });
});

describe('bounds', () => {
  test('a message that is too large is refused with its code', async () => {
    const service = await startGrpc({ limits: { bodyBytes: 1024 } });
    const answer = await service.call('ModelInfer', Buffer.alloc(1025));
    expect([answer.code, ours(answer)]).toEqual(['RESOURCE_EXHAUSTED', 'BODY_TOO_LARGE']);
    await until(() => service.service.admission.inside === 0);
    expect(issuedClaims(service)).toEqual([]);
    expect(await service.service.metrics.render()).toContain('{route="grpc ModelInfer",status="499"} 1');
    expect((await service.infer(REQUEST)).code).toBe('OK');
  });

  test('beyond the places nobody is let in, and health still answers', async () => {
    const service = await startGrpc({ limits: { concurrency: 1, queue: 1 } });
    service.engine.held = true;
    const inside = [service.infer(REQUEST), service.infer(REQUEST)];
    await until(() => service.service.admission.inside === 2);
    const refused = await service.infer(REQUEST);
    expect([refused.code, ours(refused)]).toEqual(['RESOURCE_EXHAUSTED', 'OVERLOADED']);
    expect(named(refused.trailing, 'grpc-retry-pushback-ms')).toBe('1000');
    expect((await service.call('ServerReady', new Uint8Array(0))).code).toBe('OK');
    service.engine.release();
    expect((await Promise.all(inside)).map(({ code }) => code)).toEqual(['OK', 'OK']);
    expect(issuedClaims(service)).toHaveLength(2);
    expect(service.service.admission.inside).toBe(0);
  });

  test('a stop ends what is left, with its receipt, and closes the door', async () => {
    const service = await startGrpc();
    service.engine.held = true;
    const left = service.infer(REQUEST);
    await until(() => service.engine.calls === 1);
    const drained = service.drain(50);
    const stopped = service.grpc.stop(drained);
    const answer = await left;
    expect([answer.code, ours(answer)]).toEqual(['UNAVAILABLE', 'STOPPING']);
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'error', reason: 'ENGINE_UNAVAILABLE' }]);
    await stopped;
    expect((await service.infer(REQUEST)).code).toBe('UNAVAILABLE');
  });
});

const sessions: ClientHttp2Session[] = [];
afterEach(() => {
  for (const session of sessions.splice(0)) session.destroy();
});

/** A call by hand: what `send` writes to it, and the trailers that come back. */
function byHand(
  { grpc }: GrpcService,
  frames: readonly Uint8Array[],
  { end = true, headers = {} }: { end?: boolean; headers?: Record<string, string> } = {},
): Promise<Record<string, unknown>> {
  const session = connect(`http://127.0.0.1:${grpc.port}`);
  sessions.push(session);
  return new Promise((resolve, reject) => {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: `${PATH}ModelInfer`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    let last: Record<string, unknown> = {};
    stream.on('response', (given) => {
      last = { ...last, ...given };
    });
    stream.on('trailers', (given: Record<string, unknown>) => {
      last = { ...last, ...given };
    });
    // The server ends its half; ours may stay open.
    stream.on('end', () => {
      resolve(last);
    });
    stream.on('error', reject);
    stream.resume();
    for (const frame of frames) stream.write(frame);
    if (end) stream.end();
  });
}

function frame(message: Uint8Array, compressed = false): Buffer {
  const head = Buffer.alloc(5);
  head[0] = compressed ? 1 : 0;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

describe('calls that no library makes', () => {
  const RESOURCE_EXHAUSTED = '8';
  const INVALID_ARGUMENT = '3';

  test('the frame by hand is a call', async () => {
    const service = await startGrpc();
    expect(await byHand(service, [frame(VALID)])).toMatchObject({ 'grpc-status': '0' });
  });

  test('a call without a message', async () => {
    const service = await startGrpc();
    const answer = await byHand(service, []);
    expect(answer).toMatchObject({ 'grpc-status': INVALID_ARGUMENT, 'vouchsafe-code': 'BODY_INCOMPLETE' });
  });

  test('a call with two messages', async () => {
    const service = await startGrpc();
    const answer = await byHand(service, [frame(VALID), frame(VALID)]);
    expect(answer).toMatchObject({ 'grpc-status': INVALID_ARGUMENT, 'vouchsafe-code': 'BODY_INVALID' });
    expect(issuedClaims(service)).toEqual([]);
  });

  test('a message that is announced and never comes holds no place after the deadline', async () => {
    const service = await startGrpc({ limits: { requestTimeoutMs: 200 } });
    const answer = byHand(service, [frame(VALID).subarray(0, 20)], { end: false });
    await until(() => service.service.admission.inside === 1);
    expect(await answer).toMatchObject({ 'grpc-status': '4', 'vouchsafe-code': 'DEADLINE_EXCEEDED' });
    expect(service.service.admission.inside).toBe(0);
  });

  test('a frame that ends before its message', async () => {
    const service = await startGrpc();
    const answer = await byHand(service, [frame(VALID).subarray(0, 20)]);
    expect(answer).toMatchObject({ 'grpc-status': INVALID_ARGUMENT, 'vouchsafe-code': 'BODY_INCOMPLETE' });
  });

  test('a message that is small until it is inflated', async () => {
    const service = await startGrpc();
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    const answer = await byHand(service, [frame(bomb, true)], { headers: { 'grpc-encoding': 'gzip' } });
    expect(answer).toMatchObject({ 'grpc-status': RESOURCE_EXHAUSTED, 'vouchsafe-code': 'BODY_TOO_LARGE' });
    await until(() => service.service.admission.inside === 0);
  });

  test('another compression', async () => {
    const service = await startGrpc();
    const answer = await byHand(service, [frame(VALID, true)], { headers: { 'grpc-encoding': 'br' } });
    expect(answer).toMatchObject({ 'grpc-status': '12', 'vouchsafe-code': 'CONTENT_ENCODING_UNSUPPORTED' });
  });

  test('a deadline that is no time', async () => {
    const service = await startGrpc();
    const answer = await byHand(service, [frame(VALID)], { headers: { 'grpc-timeout': 'soon' } });
    expect(answer['grpc-status']).not.toBe('0');
    expect((await service.infer(REQUEST)).code).toBe('OK');
  });

  test('a key that is given twice is none', async () => {
    const { key, entry } = apiKey('a');
    const service = await startGrpc({ keys: { apiKeys: [entry] } });
    const answer = await byHand(service, [frame(VALID)], {
      headers: { authorization: `Bearer ${key}, Bearer ${key}` },
    });
    expect(answer).toMatchObject({ 'grpc-status': '16' });
  });

  test('what is no gRPC', async () => {
    const service = await startGrpc();
    const answer = await byHand(service, [], { headers: { 'content-type': 'application/json' } });
    expect(answer[':status']).toBe(415);
  });
});
