import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { encodeManifest, manifestDigest, manifestFile } from '../../../src/models/manifest.ts';

const engine = { name: 'onnxruntime', version: '1.29.0', build: new Uint8Array(32).fill(7) };
const options = new Map([
  ['b', '2'],
  ['a', '1'],
]);
const file = (path: string, text: string): ReturnType<typeof manifestFile> => manifestFile(path, utf8(text));
const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest());

describe('model manifest', () => {
  test('is an array of label, files by the bytes of their paths, engine and options', () => {
    const files = [file('onnx/model.onnx', 'w'), file('a.json', '{}'), file('Z.json', '[]')];
    const encoded = encodeManifest({ files, engine, options });
    expect(decodeDc(encoded)).toEqual(
      decodeDc(
        encodeDc([
          'vouchsafe/manifest/1',
          [
            ['Z.json', 2, sha256(utf8('[]'))],
            ['a.json', 2, sha256(utf8('{}'))],
            ['onnx/model.onnx', 1, sha256(utf8('w'))],
          ],
          ['onnxruntime', '1.29.0', engine.build],
          options,
        ]),
      ),
    );
    expect(toHex(manifestDigest(encoded))).toBe(toHex(sha256(encoded)));
  });

  test('does not depend on the order of files or options, and on everything else', () => {
    const files = [file('a', '1'), file('b', '2')];
    const digest = (manifest: Parameters<typeof encodeManifest>[0]): string =>
      toHex(manifestDigest(encodeManifest(manifest)));
    const base = digest({ files, engine, options });
    expect(digest({ files: files.toReversed(), engine, options: new Map([...options].reverse()) })).toBe(base);
    const others = [
      digest({ files: [file('a', '1'), file('b', '3')], engine, options }),
      digest({ files: [file('a', '1'), file('c', '2')], engine, options }),
      digest({ files, engine: { ...engine, version: '1.30.0' }, options }),
      digest({ files, engine: { ...engine, build: new Uint8Array(32) }, options }),
      digest({ files, engine, options: new Map([['a', '1']]) }),
    ];
    expect(new Set([base, ...others]).size).toBe(6);
  });

  test('refuses one path with two contents', () => {
    expect(() => encodeManifest({ files: [file('a', '1'), file('a', '2')], engine, options })).toThrow(TypeError);
  });
});
