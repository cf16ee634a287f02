import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FileRefused } from '../../../src/models/errors.ts';
import { bufferSource } from '../../../src/models/files.ts';
import { type OnnxHeader, readOnnxHeader, requireSupported } from '../../../src/models/onnx.ts';
import { craftOnnx } from '../../support/onnx.ts';
import { propertyRuns } from '../../support/runs.ts';

const read = (bytes: Uint8Array): OnnxHeader => readOnnxHeader(bufferSource(bytes));
const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof FileRefused) return error.code;
    throw error;
  }
  return 'accepted';
};

describe('header of an ONNX model', () => {
  test('states IR version, operator sets and external data', () => {
    const external = { location: 'w.bin', offset: '16', length: '32' };
    const header = read(craftOnnx({ irVersion: 9, opset: 21, external }));
    expect(header.irVersion).toBe(9);
    expect(header.opsets.get('')).toBe(21);
    expect(header.externalData).toEqual([{ location: 'w.bin', offset: 16, length: 32 }]);
  });

  test.each([
    ['IR version 13', craftOnnx({ irVersion: 13 }), 'accepted'],
    ['IR version 14', craftOnnx({ irVersion: 14 }), 'UNSUPPORTED_IR'],
    ['operator set 26', craftOnnx({ opset: 26 }), 'accepted'],
    ['operator set 27', craftOnnx({ opset: 27 }), 'UNSUPPORTED_OPSET'],
    ['external constant', craftOnnx({ external: { location: 'w' }, asConstant: true }), 'EXTERNAL_DATA_UNSUPPORTED'],
    ['no location', craftOnnx({ external: { offset: '0' } }), 'FILE_MALFORMED'],
    ['negative offset', craftOnnx({ external: { location: 'w', offset: '-1' } }), 'FILE_MALFORMED'],
    ['fractional length', craftOnnx({ external: { location: 'w', length: '1e3' } }), 'FILE_MALFORMED'],
    ['empty file', new Uint8Array(), 'FILE_MALFORMED'],
    ['truncated file', craftOnnx().subarray(0, 60), 'FILE_MALFORMED'],
    ['group wire type', Uint8Array.of(0x08, 0x08, 0x3b), 'FILE_MALFORMED'],
    ['endless number', new Uint8Array(32).fill(0xff), 'FILE_MALFORMED'],
  ])('%s', (_name, bytes, code) => {
    expect(codeOf(() => requireSupported(read(bytes)))).toBe(code);
  });

  test('external data behind a tag of more than 32 bits is not overlooked', () => {
    const external = { location: 'tmp/hidden.bin' };
    const model = craftOnnx({ external });
    // Field 13 of a tensor: its tag, then the same with a bit that readers of protobuf cut off.
    const at = Buffer.from(model).indexOf(Uint8Array.of(0x6a, 2 + 8 + 2 + external.location.length));
    const hidden = Uint8Array.of(
      ...model.subarray(0, at),
      0xea,
      0x80,
      0x80,
      0x80,
      0x10,
      ...model.subarray(at + 1),
    );
    expect(at).toBeGreaterThan(0);
    expect(codeOf(() => read(hidden))).toBe('FILE_MALFORMED');
    expect(codeOf(() => read(Uint8Array.of(8, 8, 0xc2, 0x80, 0x80, 0x80, 0x10, 0)))).toBe('FILE_MALFORMED');
  });

  test('a byte order mark is part of a location', () => {
    const [data] = read(craftOnnx({ external: { location: '\ufeffw.bin' } })).externalData;
    expect(data?.location).toBe('\ufeffw.bin');
  });

  test('subgraphs nested without end are refused', () => {
    let inner: Uint8Array = new Uint8Array();
    const wrap = (tag: number, body: Uint8Array): Uint8Array => {
      const head = body.length < 128 ? [tag, body.length] : [tag, (body.length & 0x7f) | 0x80, body.length >> 7];
      return Uint8Array.of(...head, ...body);
    };
    for (let i = 0; i < 100; i++) inner = wrap(0x0a, wrap(0x2a, wrap(0x32, inner)));
    expect(codeOf(() => read(Uint8Array.of(8, 8, ...wrap(0x3a, inner))))).toBe('FILE_MALFORMED');
  });

  test('any bytes are read or refused with a code', () => {
    const model = craftOnnx({ external: { location: 'w.bin', offset: '16' } });
    const mutated = fc
      .tuple(fc.nat(model.length - 1), fc.nat(255))
      .map(([at, value]) => Uint8Array.from(model, (byte, i) => (i === at ? value : byte)));
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        expect(codeOf(() => requireSupported(read(bytes)))).toMatch(/^[a-zA-Z_]+$/);
      }),
      propertyRuns(500),
    );
  });
});
