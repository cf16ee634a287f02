import { randomBytes } from 'node:crypto';
import { cp, readdir, readFile, rename, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FileRefused } from '../../../src/models/errors.ts';
import { FileCipher, sealedSize } from '../../../src/models/sealed/chunks.ts';
import { contentsDigest, encodeHeader, parseHeader, SEALED_FILE } from '../../../src/models/sealed/header.ts';
import { readSealed } from '../../../src/models/sealed/readSealed.ts';
import { sealModel } from '../../../src/models/sealed/sealModel.ts';
import { parseKeyFile, unwrapDataKey, wrapDataKey } from '../../../src/models/sealed/wrappedKey.ts';
import { discoverFolder, type ModelSource, readStore } from '../../../src/models/store.ts';
import { craftOnnx } from '../../support/onnx.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { makeStore } from '../../support/store.ts';

const CHUNK = 4096;
const DATA_KEY = randomBytes(32);
const KEY = { holder: 'vouchsafe', name: 'k1', wrapped: randomBytes(60) } as const;
/** Two whole chunks and a part of one. */
const LARGE = Buffer.from(JSON.stringify({ model: {}, added_tokens: [], filling: 'x'.repeat(2 * CHUNK + 900) }));

interface Sample {
  readonly folder: string;
  readonly clear: string;
  readonly model: ModelSource;
}

/** A sealed model whose tokenizer has three chunks, and whose template is empty. */
async function sealedSample(): Promise<Sample> {
  const store = await makeStore({
    'tiny/model.onnx': craftOnnx(),
    'tiny/tokenizer.json': LARGE,
    'tiny/chat_template.jinja': '',
    'tiny/notes.md': 'not read',
  });
  const folder = join(store, 'sealed');
  const clear = join(store, 'tiny');
  await sealModel({ source: clear, target: folder, dataKey: DATA_KEY, key: KEY, chunkBytes: CHUNK });
  return { folder, clear, model: await discoverFolder('sealed', folder) };
}

async function openAll({ model }: Pick<Sample, 'model'>, dataKey: Uint8Array = DATA_KEY): Promise<Map<string, Buffer>> {
  const opened = new Map<string, Buffer>();
  for (const file of model.files) {
    opened.set(file.path, Buffer.from(await readSealed(model.root, file, model.sealed!, dataKey)));
  }
  return opened;
}

/** Discovers and opens what lies in a folder. */
async function openFolder(folder: string): Promise<Map<string, Buffer>> {
  return openAll({ model: await discoverFolder('sealed', folder) });
}

const refusal = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'accepted',
    (error: unknown) => (error as FileRefused).code,
  );

describe('a sealed folder', () => {
  test('opens to the files that were sealed, and to nothing else', async () => {
    const { folder, clear, model } = await sealedSample();
    expect((await readdir(folder)).sort()).toEqual([
      'chat_template.jinja.sealed',
      'model.onnx.sealed',
      'tokenizer.json.sealed',
      SEALED_FILE,
    ]);
    const opened = await openAll({ model });
    expect([...opened.keys()].sort()).toEqual(['chat_template.jinja', 'model.onnx', 'tokenizer.json']);
    for (const [path, bytes] of opened) expect(bytes.equals(await readFile(join(clear, path)))).toBe(true);
    expect(model.sealed!.key).toEqual({ ...KEY, wrapped: new Uint8Array(KEY.wrapped) });
  });

  test('is a model of the store without its data key', async () => {
    const { folder } = await sealedSample();
    const { models } = await readStore(dirname(folder));
    expect(models.map(({ id, sealed }) => [id, sealed !== undefined])).toEqual([
      ['sealed', true],
      ['tiny', false],
    ]);
    const [sealed, clear] = models;
    const facts = ({ irVersion, opset, files }: ModelSource) => ({
      irVersion,
      opset,
      files: files.map(({ path, role, size }) => ({ path, role, size })).sort((a, b) => (a.path < b.path ? -1 : 1)),
    });
    expect(facts(sealed!)).toEqual(facts(clear!));
  });

  test('holds no plaintext', async () => {
    const { folder } = await sealedSample();
    for (const name of await readdir(folder)) {
      expect((await readFile(join(folder, name))).includes('x'.repeat(32))).toBe(false);
    }
  });

  test('of the same files is another one each time', async () => {
    const [first, second] = [await sealedSample(), await sealedSample()];
    const path = 'tokenizer.json.sealed';
    const [one, two] = [await readFile(join(first.folder, path)), await readFile(join(second.folder, path))];
    expect(one.subarray(0, 64).equals(two.subarray(0, 64))).toBe(false);
  });

  test('is there whole or not at all', async () => {
    const store = await makeStore({ 'tiny/model.onnx': craftOnnx(), 'tiny/tokenizer.json': LARGE });
    const request = { source: join(store, 'tiny'), target: join(store, 'out'), dataKey: DATA_KEY, key: KEY };
    const onBytes = (): void => {
      throw new Error('the disk is full');
    };
    await expect(sealModel({ ...request, onBytes })).rejects.toThrow('the disk is full');
    expect(await readdir(store)).toEqual(['tiny']);
  });

  test('is not sealed twice', async () => {
    const { folder } = await sealedSample();
    const target = `${folder}2`;
    await expect(sealModel({ source: folder, target, dataKey: DATA_KEY, key: KEY })).rejects.toMatchObject({
      code: 'SEALED_MALFORMED',
    });
  });
});

describe('who controls the disk', () => {
  const stored = 'tokenizer.json.sealed';

  test.each([
    ['cuts the last chunk off', (bytes: Buffer) => bytes.subarray(0, 2 * (CHUNK + 16))],
    ['cuts one byte off', (bytes: Buffer) => bytes.subarray(0, -1)],
    ['adds a byte', (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1)])],
    ['empties the file', () => Buffer.alloc(0)],
  ])('%s: refused before a byte is opened', async (_name, spoil) => {
    const { folder } = await sealedSample();
    await writeFile(join(folder, stored), spoil(await readFile(join(folder, stored))));
    expect(await refusal(openFolder(folder))).toBe('SEALED_REFUSED');
  });

  test('swaps two chunks of a file: refused', async () => {
    const { folder } = await sealedSample();
    const bytes = await readFile(join(folder, stored));
    const size = CHUNK + 16;
    const swapped = [bytes.subarray(size, 2 * size), bytes.subarray(0, size), bytes.subarray(2 * size)];
    await writeFile(join(folder, stored), Buffer.concat(swapped));
    expect(await refusal(openFolder(folder))).toBe('SEALED_REFUSED');
  });

  test('cuts a file at a chunk and says so in the header: refused', async () => {
    const { folder } = await sealedSample();
    await truncate(join(folder, stored), 2 * (CHUNK + 16));
    await changeHeader(folder, (header) => {
      header.files.find(({ path }) => path === 'tokenizer.json')!.size = 2 * CHUNK;
    });
    expect(await refusal(openFolder(folder))).toBe('SEALED_REFUSED');
  });

  test('takes a file of another sealing under the same data key: refused', async () => {
    const [mine, other] = [await sealedSample(), await sealedSample()];
    await cp(join(other.folder, stored), join(mine.folder, stored));
    expect(await refusal(openFolder(mine.folder))).toBe('SEALED_REFUSED');
  });

  test('gives a file another name: refused', async () => {
    const { folder } = await sealedSample();
    await rename(join(folder, 'tokenizer.json.sealed'), join(folder, 'tokenizer_config.json.sealed'));
    await changeHeader(folder, (header) => {
      const file = header.files.find(({ path }) => path === 'tokenizer.json')!;
      Object.assign(file, { path: 'tokenizer_config.json', role: 'tokenizer-config' });
    });
    expect(await refusal(openFolder(folder))).toBe('SEALED_REFUSED');
  });

  test('leaves a file out of the header: every other file is refused', async () => {
    const { folder } = await sealedSample();
    await changeHeader(folder, (header) => {
      header.files = header.files.filter(({ path }) => path !== 'chat_template.jinja');
    });
    const model = await discoverFolder('sealed', folder);
    for (const file of model.files) {
      await expect(readSealed(folder, file, model.sealed!, DATA_KEY)).rejects.toMatchObject({
        code: 'SEALED_REFUSED',
      });
    }
  });

  test('replaces a file by a link: refused', async () => {
    const { folder } = await sealedSample();
    await rename(join(folder, stored), join(folder, 'elsewhere'));
    await symlink('elsewhere', join(folder, stored));
    expect(await refusal(openFolder(folder))).toBe('SYMLINK');
  });

  test('replaces the header by a link: refused', async () => {
    const { folder } = await sealedSample();
    await rename(join(folder, SEALED_FILE), join(folder, 'elsewhere'));
    await symlink('elsewhere', join(folder, SEALED_FILE));
    expect(await refusal(openFolder(folder))).toBe('SYMLINK');
  });

  test('offers files of a size that is not on disk: refused before memory is taken', async () => {
    const { folder } = await sealedSample();
    await changeHeader(folder, (header) => {
      header.files.find(({ path }) => path === 'model.onnx')!.size = 0x1_0000_0000;
    });
    expect(await refusal(openFolder(folder))).toBe('SEALED_REFUSED');
  });

  test('may replace the wrapped key: the digest of the contents stays', async () => {
    const { folder, model } = await sealedSample();
    await changeHeader(folder, (header) => {
      header.key.wrapped = Buffer.from('another').toString('base64url');
    });
    const changed = await discoverFolder('sealed', folder);
    expect(changed.sealed!.digest).toEqual(model.sealed!.digest);
  });

  test.each([[randomBytes(32)], [Buffer.alloc(32)]])('another data key opens nothing', async (other) => {
    const { model } = await sealedSample();
    expect(await refusal(openAll({ model }, other))).toBe('SEALED_REFUSED');
  });

  test.each([0, 16, 31, 33])('a data key of %i bytes is refused', async (length) => {
    const { model } = await sealedSample();
    expect(await refusal(openAll({ model }, randomBytes(length)))).toBe('SEALED_REFUSED');
  });
});

interface MutableHeader {
  [member: string]: unknown;
  key: { holder: string; name: string; wrapped: string };
  files: { path: string; role: string; size: number }[];
}

async function changeHeader(folder: string, change: (header: MutableHeader) => void): Promise<void> {
  const path = join(folder, SEALED_FILE);
  const header = JSON.parse(await readFile(path, 'utf8')) as MutableHeader;
  change(header);
  await writeFile(path, JSON.stringify(header));
}

describe('the header', () => {
  const header = (): MutableHeader => ({
    format: 'vouchsafe/sealed-model/1',
    id: '00'.repeat(16),
    cipher: 'AES-256-GCM',
    chunk_bytes: CHUNK,
    ir_version: 8,
    opset: 17,
    key: { holder: 'vouchsafe', name: 'k1', wrapped: 'AAAA' },
    files: [
      { path: 'config.json', role: 'config', size: 3 },
      { path: 'model.onnx', role: 'weights', size: 5 },
    ],
  });
  const parse = (value: unknown): unknown => parseHeader(Buffer.from(JSON.stringify(value)));

  test('of this form is read', () => {
    expect(parse(header())).toMatchObject({ chunkBytes: CHUNK, key: { name: 'k1' } });
  });

  test.each<[string, (value: MutableHeader) => void]>([
    ['an unknown member', (value) => (value['more'] = 1)],
    ['another format', (value) => (value['format'] = 'vouchsafe/sealed-model/2')],
    ['another cipher', (value) => (value['cipher'] = 'AES-128-GCM')],
    ['chunks of no power of two', (value) => (value['chunk_bytes'] = CHUNK + 1)],
    ['chunks that are too small', (value) => (value['chunk_bytes'] = 16)],
    ['chunks that are too large', (value) => (value['chunk_bytes'] = 0x200_0000)],
    ['an id that is too short', (value) => (value['id'] = '00')],
    ['an unknown holder', (value) => (value.key.holder = 'anybody')],
    ['no wrapped key', (value) => (value.key.wrapped = '')],
    ['a wrapped key with needless bits', (value) => (value.key.wrapped = 'AB')],
    ['a key name with a space', (value) => (value.key.name = 'a b')],
    ['no files', (value) => (value.files = [])],
    ['no weights', (value) => value.files.pop()],
    ['files in another order', (value) => value.files.reverse()],
    ['a file twice', (value) => value.files.push(value.files[1]!)],
    ['two files of a role', (value) => value.files.push({ path: 'z.onnx', role: 'weights', size: 1 })],
    ['an unknown role', (value) => (value.files[0]!.role = 'adapter')],
    ['a negative size', (value) => (value.files[0]!.size = -1)],
    ['a size with a fraction', (value) => (value.files[0]!.size = 0.5)],
    ['a text that is too large', (value) => (value.files[0]!.size = 0x400_0001)],
    ['a path out of the folder', (value) => (value.files[0]!.path = '../config.json')],
    ['an absolute path', (value) => (value.files[0]!.path = '/config.json')],
  ])('with %s is refused', (_name, spoil) => {
    const value = header();
    spoil(value);
    expect(() => parse(value)).toThrow(FileRefused);
  });

  test('with a name twice is refused', () => {
    const text = JSON.stringify(header()).replace('"opset":17', '"opset":17,"opset":18');
    expect(() => parseHeader(Buffer.from(text))).toThrow(FileRefused);
  });

  test(
    'of any bytes is refused with a coded error, or is one',
    () => {
      const valid = Buffer.from(JSON.stringify(header()));
      fc.assert(
        fc.property(
          fc.oneof(
            fc.uint8Array({ maxLength: 200 }),
            fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, byte]) => {
              const changed = Buffer.from(valid);
              changed[at] = byte;
              return changed;
            }),
          ),
          (bytes) => {
            try {
              const parsed = parseHeader(bytes);
              expect(parsed.digest).toEqual(contentsDigest(parsed));
            } catch (error) {
              expect(error).toBeInstanceOf(FileRefused);
            }
          },
        ),
        propertyRuns(500),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'comes back as it was written',
    () => {
      const segment = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,20}$/);
      const contents = fc.record({
        id: fc.uint8Array({ minLength: 16, maxLength: 16 }),
        chunkBytes: fc.constantFrom(4096, 65_536, 1 << 20),
        irVersion: fc.integer({ min: 1, max: 13 }),
        opset: fc.integer({ min: 1, max: 26 }),
        files: fc.uniqueArray(segment, { minLength: 1, maxLength: 8 }).map((paths) =>
          [...paths].sort().map((path, i) => ({
            path,
            role: i === 0 ? ('weights' as const) : ('external' as const),
            size: i * 1000,
          })),
        ),
      });
      fc.assert(
        fc.property(contents, fc.uint8Array({ minLength: 1, maxLength: 300 }), (value, wrapped) => {
          const key = { holder: 'aws-kms', name: 'alias/models', wrapped } as const;
          const parsed = parseHeader(encodeHeader(value, key));
          expect(parsed).toEqual({ ...value, key, digest: contentsDigest(value) });
        }),
        propertyRuns(100),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

describe('chunks of a file', () => {
  const digest = randomBytes(32);

  test(
    'of any size open to what was sealed, and with any byte changed to nothing',
    () => {
      const chunkBytes = 64;
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), fc.integer({ min: 1, max: 255 }), (plain, at, flip) => {
          const file = { path: 'a.bin', role: 'external', size: plain.length } as const;
          const cipher = new FileCipher(DATA_KEY, digest, file, chunkBytes);
          const count = Math.max(1, Math.ceil(plain.length / chunkBytes));
          const sealed = Array.from({ length: count }, (_, i) =>
            cipher.seal(plain.subarray(i * chunkBytes, (i + 1) * chunkBytes), i),
          );
          expect(sealed.reduce((sum, { length }) => sum + length, 0)).toBe(sealedSize(plain.length, chunkBytes));
          const opened = new Uint8Array(plain.length);
          for (const [i, piece] of sealed.entries()) cipher.open(piece, i, opened.subarray(i * chunkBytes));
          expect(opened).toEqual(plain);
          const index = at % count;
          const spoilt = Uint8Array.from(sealed[index]!);
          spoilt[at % spoilt.length]! ^= flip;
          const target = new Uint8Array(chunkBytes);
          expect(() => {
            cipher.open(spoilt, index, target);
          }).toThrow(FileRefused);
          expect(target.every((byte) => byte === 0)).toBe(true);
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test.each([
    ['another path', { path: 'b.bin', role: 'external', size: 100 }],
    ['another role', { path: 'a.bin', role: 'weights', size: 100 }],
    ['another size of as many chunks', { path: 'a.bin', role: 'external', size: 101 }],
  ] as const)('of %s do not open', (_name, other) => {
    const cipher = new FileCipher(DATA_KEY, digest, { path: 'a.bin', role: 'external', size: 100 }, 64);
    const sealed = cipher.seal(randomBytes(64), 0);
    expect(() => {
      new FileCipher(DATA_KEY, digest, other, 64).open(sealed, 0, new Uint8Array(64));
    }).toThrow(FileRefused);
  });

  test('that are the last one are not taken for one before it', () => {
    const long = new FileCipher(DATA_KEY, digest, { path: 'a', role: 'external', size: 128 }, 64);
    const last = long.seal(randomBytes(64), 1);
    expect(() => {
      long.open(last, 0, new Uint8Array(64));
    }).toThrow(FileRefused);
  });
});

describe('wrapped data keys', () => {
  const wrapping = randomBytes(32);

  test('open under their key and name', () => {
    const wrapped = wrapDataKey(wrapping, 'k1', DATA_KEY);
    expect(Buffer.from(unwrapDataKey(wrapping, 'k1', wrapped)).equals(DATA_KEY)).toBe(true);
  });

  test('of another key, another name or another length are refused', () => {
    const wrapped = wrapDataKey(wrapping, 'k1', DATA_KEY);
    expect(() => unwrapDataKey(randomBytes(32), 'k1', wrapped)).toThrow(FileRefused);
    expect(() => unwrapDataKey(wrapping, 'k2', wrapped)).toThrow(FileRefused);
    expect(() => unwrapDataKey(wrapping, 'k1', wrapped.subarray(1))).toThrow(FileRefused);
    expect(() => unwrapDataKey(wrapping.subarray(1), 'k1', wrapped)).toThrow(FileRefused);
  });

  test('lie in files of 32 bytes or 64 hex digits', () => {
    const hex = wrapping.toString('hex');
    for (const text of [hex, `${hex}\n`, `${hex.toUpperCase()}\r\n`]) {
      expect(Buffer.from(parseKeyFile(Buffer.from(text))).equals(wrapping)).toBe(true);
    }
    expect(Buffer.from(parseKeyFile(wrapping)).equals(wrapping)).toBe(true);
    for (const text of ['', hex.slice(1), `${hex}\n\n`, `${hex}00`, wrapping.toString('base64')]) {
      expect(() => parseKeyFile(Buffer.from(text))).toThrow(FileRefused);
    }
  });
});
