import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { judgeGeneration, compareAnswers, differenceOf } from '../../scripts/gpu/check/compare.ts';
import type { Answers } from '../../scripts/gpu/check/answers.ts';
import { runCheck, type CheckSettings } from '../../scripts/gpu/check/check.ts';
import { equality } from '../../scripts/gpu/check/determinism.ts';
import { seeded, tensorsFor } from '../../scripts/gpu/check/inputs.ts';
import { tableOf } from '../../scripts/gpu/check/table.ts';
import { TOLERANCES, toleranceOf } from '../../scripts/gpu/check/tolerance.ts';
import { judgeTransfers, tokenBytes } from '../../scripts/gpu/check/transfers.ts';
import { foldersOf } from '../../scripts/gpu/machine/libraries.ts';
import { NvidiaSmi, readTransfers } from '../../scripts/gpu/machine/nvidiaSmi.ts';
import { programFiles } from '../../scripts/gpu/pack/contents.ts';
import { verifyPack, writeDigests } from '../../scripts/gpu/pack/digests.ts';
import { makePack } from '../../scripts/gpu/pack/pack.ts';
import { writeJoinScript, writeParts } from '../../scripts/gpu/pack/parts.ts';
import type { GeneratedToken, Tensor } from '../../src/engine/engine.ts';
import { readStore } from '../../src/models/store.ts';
import { childEntry } from '../support/engine.ts';
import { craftIdentity } from '../support/onnx.ts';
import { ROOT } from '../support/sources.ts';
import { makeStore, SHIPPED_MODELS } from '../support/store.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gpu-test-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function write(path: string, content: string | Uint8Array = path): string {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
  return join(folder, path);
}

const DMON = `# gpu   rxpci   txpci
# Idx    MB/s    MB/s
    0     900     900
    0      10       4
    0      20       6
`;

/** Stands for nvidia-smi: the same options, and figures of our own. */
function fakeSmi(dmon = DMON): string {
  const path = write(
    'nvidia-smi',
    `#!/bin/sh
case "$*" in
  *query-gpu=name*) echo 'NVIDIA H200, 580.01, 143771, 9.0' ;;
  *query-gpu=memory.used*) echo '2048' ;;
  *query-compute-apps*) printf '7, 11\\n42, 1024\\n' ;;
  *dmon*) cat <<'END'
${dmon}END
    ;;
  *-q*) printf 'Driver Version : 580.01\\nCUDA Version                              : 13.0\\n' ;;
esac
`,
  );
  chmodSync(path, 0o755);
  return path;
}

function settings(models: CheckSettings['models'], changes: Partial<CheckSettings> = {}): CheckSettings {
  return {
    provider: 'cpu',
    models,
    childEntry: childEntry(),
    device: 0,
    threads: 1,
    cacheBytes: 2 ** 26,
    seconds: 0.2,
    streams: [1, 3],
    tokens: 8,
    nvidiaSmi: join(folder, 'absent'),
    pack: undefined,
    onStep: () => undefined,
    ...changes,
  };
}

describe('the check, CPU against CPU', () => {
  test('compares, repeats and measures every model', async () => {
    const { models } = await readStore(SHIPPED_MODELS);
    const steps: string[] = [];
    const report = await runCheck(
      settings(models, { nvidiaSmi: fakeSmi(), onStep: (step) => steps.push(step) }),
    );
    expect(report.findings.filter(({ outcome }) => outcome !== 'pass')).toEqual([]);
    expect(report).toMatchObject({ provider: 'cpu', complete: true, holds: true });
    expect(report.gpu).toMatchObject({ name: 'NVIDIA H200', driver: '580.01', cuda: '13.0' });
    expect(report.models.map(({ model }) => model)).toEqual(models.map(({ id }) => id));
    const tiny = report.models.find(({ model }) => model === 'tinygpt-1m');
    expect(tiny?.options['decoder_batching']).toMatch(/^(?:rows|alone)$/);
    const checks = (model: string) =>
      report.findings.filter((f) => f.model === model).map(({ check }) => check);
    expect(checks('tinygpt-1m')).toEqual([
      'provider',
      ...[1, 2, 3, 4, 5, 6].map((i) => `greedy tokens ${i}`),
      'tensor logits',
      'tensor present.*',
      'the same again',
      'the same in company',
    ]);
    expect(checks('glove-sif-100d')).toContain('embeddings');
    const figures = report.figures.map(({ name }) => name);
    for (const name of [
      'tokens, at 3 streams',
      'between tokens, at 3 streams, p99',
      'prefill, prompts of 254 tokens',
      'embeddings, 32 at once, p99',
      'device memory, all of it, peak at 3 streams',
      'host memory, the engine, loaded',
    ]) {
      expect(figures).toContain(name);
    }
    expect(steps).toContain('tinygpt-1m: 3 streams');
    expect(tableOf(report)).toMatch(/NVIDIA H200.*\n[\s\S]*\nholds\n$/);
  }, 120_000);

  test('a model that cannot be loaded fails, and the others are checked', async () => {
    const directory = await makeStore({
      'broken.onnx': craftIdentity(['FP32', [-1]]),
      'good.onnx': craftIdentity(['FP32', [-1, 3]], ['INT64', [2]], ['BYTES', [-1]]),
    });
    const { models } = await readStore(directory);
    writeFileSync(join(directory, 'broken.onnx'), 'no model');
    const report = await runCheck(settings(models));
    expect(report.holds).toBe(false);
    expect(report.findings.find(({ model }) => model === 'broken')).toMatchObject({ outcome: 'fail' });
    expect(report.findings.filter(({ model }) => model === 'good').map(({ outcome }) => outcome)).toEqual(
      ['provider', 'y', 'y2', 'y3', 'again', 'company'].map(() => 'pass'),
    );
    expect(tableOf(report)).toContain('DOES NOT HOLD: 1 failed');
  }, 60_000);

  test('nothing to check does not hold', async () => {
    expect((await runCheck(settings([]))).holds).toBe(false);
  }, 30_000);
});

const token = (id: number, logprob: number, others: readonly (readonly [number, number])[] = []) => {
  const top = [[id, logprob] as const, ...others].map(([other, value]) => ({
    id: other,
    text: '',
    logprob: value,
  }));
  return { id, text: '', logprobs: { own: { id, text: '', logprob }, top } } satisfies GeneratedToken;
};

describe('what may differ', () => {
  const { exact, FP16, FP32 } = TOLERANCES;
  const tensor = (data: Float32Array): Tensor => ({
    name: 'y',
    datatype: 'FP32',
    shape: [data.length],
    data,
  });
  const answers = (data: Float32Array): Answers => ({
    embeddings: [{ value: data }],
    generations: [],
    tensors: { value: [tensor(data)] },
  });
  const outcomes = (a: Float32Array, b: Float32Array, tolerance = FP32) =>
    compareAnswers('m', answers(a), answers(b), tolerance).map(({ outcome }) => outcome);

  test('vectors, by share and cosine', () => {
    const wanted = Float32Array.of(1, -2, 4);
    expect(differenceOf(wanted, Float32Array.of(1, -2, 5)).share).toBe(0.25);
    expect(outcomes(wanted, Float32Array.of(1, -2, 4))).toEqual(['pass', 'pass']);
    expect(outcomes(wanted, Float32Array.of(1.001, -2, 4))).toEqual(['pass', 'pass']);
    expect(outcomes(wanted, Float32Array.of(1.001, -2, 4), exact)).toEqual(['fail', 'fail']);
    expect(outcomes(wanted, Float32Array.of(1.1, -2, 4))).toEqual(['fail', 'fail']);
    expect(outcomes(wanted, Float32Array.of(1, -2))).toEqual(['fail', 'fail']);
  });

  test('a value that is no number equals none but itself', () => {
    const wanted = Float32Array.of(1, NaN, -Infinity);
    expect(outcomes(wanted, wanted)).toEqual(['pass', 'pass']);
    for (const other of [
      [1, 2, -Infinity],
      [1, NaN, 3],
      [NaN, NaN, -Infinity],
      [1, NaN, Infinity],
    ]) {
      expect(outcomes(wanted, Float32Array.from(other))).toEqual(['fail', 'fail']);
    }
    expect(outcomes(Float32Array.of(0, 0), Float32Array.of(0, NaN))).toEqual(['fail', 'fail']);
  });

  test('tokens, only where two are nearly as likely', () => {
    const judge = (a: readonly GeneratedToken[], b: readonly GeneratedToken[]) =>
      judgeGeneration({ value: a }, { value: b }, FP16);
    const first = token(1, -0.1);
    expect(judge([first], [first])[0]).toBe('pass');
    const near = judge([first, token(2, -0.7, [[3, -0.75]])], [first, token(3, -0.7)]);
    expect(near).toEqual(['pass', expect.stringContaining('first difference at token 2')]);
    expect(judge([first, token(2, -0.7, [[3, -2]])], [first, token(3, -0.7)])[0]).toBe('fail');
    expect(judge([first, token(2, -0.7)], [first, token(3, -0.7)])[0]).toBe('fail');
    expect(judge([first], [token(1, -0.3)])[0]).toBe('fail');
    expect(judge([first], [first, first])[0]).toBe('fail');
    expect(judge([first, first], [first])[0]).toBe('fail');
    expect(judge([first], [{ id: 1, text: '' }])[0]).toBe('fail');
  });

  test('a refusal on one side alone fails', () => {
    const refused = { refused: 'INVALID_INPUT: too long' };
    expect(judgeGeneration(refused, refused, FP32)[0]).toBe('skip');
    expect(judgeGeneration(refused, { value: [] }, FP32)[0]).toBe('fail');
    expect(judgeGeneration({ value: [] }, refused, FP32)[0]).toBe('fail');
    expect(judgeGeneration({ value: [] }, undefined, FP32)[0]).toBe('fail');
  });

  test('by precision', () => {
    const of = (datatype: 'FP32' | 'FP16') => ({ inputs: [], outputs: [{ name: 'y', datatype, shape: [] }] });
    expect(toleranceOf(of('FP32'), ['model.onnx'], 'cpu')).toBe(exact);
    expect(toleranceOf(of('FP32'), ['model.onnx'], 'cuda')).toBe(FP32);
    expect(toleranceOf(of('FP16'), ['model.onnx'], 'cuda')).toBe(FP16);
    expect(toleranceOf(of('FP32'), ['onnx/model_fp16.onnx'], 'cuda')).toBe(FP16);
  });

  test('nothing, when the same is asked again', () => {
    const zero = answers(Float32Array.of(0));
    expect(equality('m', 'again', zero, [answers(Float32Array.of(0))]).outcome).toBe('pass');
    expect(equality('m', 'again', zero, [zero, answers(Float32Array.of(-0))])).toMatchObject({
      outcome: 'fail',
      detail: 'differ: embedding 1, tensors',
    });
  });
});

test('made-up tensors fit their specifications and are the same every time', () => {
  const specs = [
    { name: 'input_ids', datatype: 'INT64', shape: [-1, -1] },
    { name: 'position_ids', datatype: 'INT64', shape: [-1, -1] },
    { name: 'past_key_values.0.key', datatype: 'FP16', shape: [-1, 2, -1, 4] },
  ] as const;
  const tensors = tensorsFor(specs, 3);
  expect(tensors.map(({ shape }) => shape)).toEqual([
    [1, 3],
    [1, 3],
    [1, 2, 0, 4],
  ]);
  expect(tensors[1]!.data).toEqual(BigInt64Array.of(0n, 1n, 2n));
  expect(tensorsFor(specs, 3)).toEqual(tensors);
  expect(seeded(1)()).not.toBe(seeded(2)());
});

describe('nvidia-smi', () => {
  test('tells of the device, of one process and of the transfers', async () => {
    const smi = new NvidiaSmi(0, fakeSmi());
    expect(await smi.facts()).toEqual({
      name: 'NVIDIA H200',
      driver: '580.01',
      memoryMiB: 143771,
      computeCapability: '9.0',
      cuda: '13.0',
    });
    expect(await smi.memory(42)).toEqual({ process: 1024, device: 2048 });
    expect(await smi.memory(43)).toEqual({ process: undefined, device: 2048 });
    expect(await smi.watchTransfers(1).result()).toEqual({ received: 10e6, sent: 4e6, samples: 2 });
  });

  test('is not there', async () => {
    const smi = new NvidiaSmi(0, join(folder, 'absent'));
    expect(await smi.facts()).toBeUndefined();
    expect(await smi.memory(42)).toEqual({ process: undefined, device: undefined });
    expect(await smi.watchTransfers(1).result()).toBeUndefined();
  });

  test('counters that cannot be read are no zeros', () => {
    expect(readTransfers(DMON.replaceAll(/\d+\n/g, '-\n'))).toBeUndefined();
    expect(readTransfers('# gpu sm\n# Idx %\n 0 5\n 0 5\n')).toBeUndefined();
    expect(readTransfers('')).toBeUndefined();
  });
});

describe('the cache on the device', () => {
  const bytes = tokenBytes({
    inputs: [
      { name: 'past_key_values.0.key', datatype: 'FP16', shape: [-1, 4, -1, 32] },
      { name: 'past_key_values.0.value', datatype: 'FP16', shape: [-1, 4, -1, 32] },
    ],
    outputs: [{ name: 'logits', datatype: 'FP32', shape: [-1, -1, 1000] }],
  });
  const sample = { model: 'm', bytes, idle: undefined, tokensPerSecond: 1000, meanLength: 100 };
  const at = (sent: number) => ({ received: 0, sent, samples: 3 });

  test('is judged by what each token sends to the host', () => {
    expect(bytes).toEqual({ cache: 512, logits: 4000 });
    expect(judgeTransfers({ ...sample, loaded: at(5e6) }).outcome).toBe('pass');
    expect(judgeTransfers({ ...sample, loaded: at(55e6) }).outcome).toBe('fail');
    expect(judgeTransfers({ ...sample, loaded: at(55e6), idle: at(50e6) }).outcome).toBe('pass');
  });

  test('is not judged where the counters cannot tell', () => {
    expect(judgeTransfers({ ...sample, loaded: undefined }).outcome).toBe('skip');
    expect(judgeTransfers({ ...sample, loaded: at(5e6), meanLength: 10 }).outcome).toBe('skip');
    expect(judgeTransfers({ ...sample, loaded: at(5e6), tokensPerSecond: 0 }).outcome).toBe('skip');
    expect(judgeTransfers({ ...sample, loaded: at(5e6), bytes: { cache: 0, logits: 4 } }).outcome).toBe(
      'skip',
    );
  });
});

test('libraries are looked for where they were said to be', () => {
  write('a/libcublas.so.13');
  write('b/libcublas.so.13');
  write('b/libother.so.1');
  const given = [join(folder, 'a'), join(folder, 'b')];
  expect(foldersOf(['libcublas.so.13'], given)).toEqual([join(folder, 'a')]);
  expect(foldersOf(['libcublas.so.13', 'libother.so.1'], given)).toEqual(given);
  expect(foldersOf([], given)).toEqual([]);
});

const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly dependencies: Readonly<Record<string, string>>;
};

const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

/** A clone with one file of each kind. */
function makeClone(): string {
  const libraries = 'node_modules/onnxruntime-node/bin/napi-v6';
  for (const path of [
    'dist/src/engine/child.js',
    'dist/src/engine/child.d.ts',
    'node_modules/onnxruntime-node/package.json',
    `${libraries}/linux/x64/libonnxruntime.so.1`,
    `${libraries}/linux/x64/libonnxruntime_providers_cuda.so`,
    `${libraries}/darwin/arm64/libonnxruntime.dylib`,
    'node_modules/foreign/package.json',
    'node_modules/dev/package.json',
    'node_modules/a/package.json',
    'node_modules/a/node_modules/dev/package.json',
    'node_modules/a/README.md',
    'models/README.md',
    'models/m/model.onnx',
    'LICENSE',
  ]) {
    write(`clone/${path}`);
  }
  write('clone/package.json', '{}');
  const packages = {
    '': {},
    'node_modules/onnxruntime-node': {},
    'node_modules/foreign': { os: ['win32'] },
    'node_modules/dev': { dev: true },
    'node_modules/a': {},
    'node_modules/a/node_modules/dev': { dev: true },
    'node_modules/absent': { optional: true },
  };
  write('clone/package-lock.json', JSON.stringify({ packages }));
  return join(folder, 'clone');
}

describe('the pack', () => {
  const machine = { platform: 'linux', arch: 'x64' };

  test('has production code for one platform', () => {
    expect(programFiles(makeClone(), machine)).toEqual([
      'dist/src/engine/child.js',
      'node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1',
      'node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so',
      'node_modules/onnxruntime-node/package.json',
      'node_modules/a/package.json',
      'package.json',
      'LICENSE',
    ]);
    rmSync(join(folder, 'clone/node_modules/a/package.json'));
    expect(() => programFiles(join(folder, 'clone'), machine)).toThrow('npm run build');
  });

  const options = (root: string) => ({
    root,
    out: join(folder, 'out/check.tar'),
    models: join(root, 'models'),
    cuda: undefined,
    toolkit: undefined,
    partBytes: undefined,
    level: 0,
    node: write('node', '#!/bin/sh\n'),
    machine,
    say: () => undefined,
  });

  test('is one archive whose list of digests holds; libraries that are not pinned stay out', async () => {
    const root = makeClone();
    const { digest, files, cuda } = await makePack(options(root));
    expect({ files, cuda }).toEqual({ files: [join(folder, 'out/check.tar')], cuda: false });
    execFileSync('tar', ['-xf', files[0]!, '-C', folder]);
    const unpacked = join(folder, 'gpu-check');
    expect(await verifyPack(unpacked)).toBe(digest);
    execFileSync('sha256sum', ['-c', '--quiet', 'SHA256SUMS'], { cwd: unpacked });
    for (const path of ['gpu-check.mjs', 'gpu-check.sh', 'bin/node', 'models/m/model.onnx']) {
      expect(existsSync(join(unpacked, path))).toBe(true);
    }
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    const program = join(unpacked, 'gpu-check.mjs');
    const usage = execFileSync(process.execPath, [program, '--help'], { encoding: 'utf8' });
    expect(usage).toMatch(/^Usage: gpu-check\.mjs [\s\S]*--provider/);
    const imported = [...readFileSync(program, 'utf8').matchAll(/^import .*?from "([^"]+)";/gm)].map(
      ([, name]) => name!,
    );
    expect(imported).toContain('commander');
    expect(
      imported.filter((name) => !name.startsWith('node:') && !(packageOf(name) in dependencies)),
    ).toEqual([]);
    const library = 'node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so';
    expect(existsSync(join(unpacked, library))).toBe(false);
    expect(existsSync(join(root, library))).toBe(true);
  }, 60_000);

  test('takes the pinned libraries of a folder, and no others', async () => {
    const root = makeClone();
    const name = 'libonnxruntime_providers_cuda.so';
    const sha256 = 'e636c973d999a634277daa3a43db4adb0e7fde4ef22d47c8e833adb29bd2e99f';
    const release = {
      runtime: '1',
      platform: 'linux' as const,
      arch: 'x64',
      libraries: [{ name, size: 4, sha256 }],
      archives: [],
      needs: ['libcuda.so.1', 'libcudart.so.13'].map((need) => ({ name: need, required: true, advice: '' })),
    };
    const cuda = dirname(write(`cuda/${name}`, 'cuda'));
    const toolkit = dirname(write('toolkit/libcudart.so.13'));
    await expect(
      makePack({
        ...options(root),
        cuda,
        release: { ...release, libraries: [{ name, size: 4, sha256: '00' }] },
      }),
    ).rejects.toThrow('is not the pinned library');
    const packed = await makePack({ ...options(root), cuda, toolkit, release });
    expect(packed.cuda).toBe(true);
    execFileSync('tar', ['-xf', packed.files[0]!, '-C', folder]);
    const library = join('gpu-check/node_modules/onnxruntime-node/bin/napi-v6/linux/x64', name);
    expect(readFileSync(join(folder, library), 'utf8')).toBe('cuda');
    expect(existsSync(join(folder, 'gpu-check/lib/libcudart.so.13'))).toBe(true);
    await expect(makePack({ ...options(root), toolkit: cuda, release })).rejects.toThrow('libcudart.so.13');
  }, 60_000);

  test('in parts is joined by its script', async () => {
    const { files, digest } = await makePack({ ...options(makeClone()), partBytes: 20_000 });
    expect(files.length).toBeGreaterThan(2);
    expect(files.slice(0, -1).every((file) => readFileSync(file).length <= 20_000)).toBe(true);
    const target = join(folder, 'a target');
    execFileSync('sh', [files.at(-1)!, target], { cwd: folder, stdio: 'ignore' });
    expect(await verifyPack(join(target, 'gpu-check'))).toBe(digest);
    writeFileSync(files[0]!, 'other');
    expect(() => execFileSync('sh', [files.at(-1)!, target], { stdio: 'ignore' })).toThrow('Command failed');
  }, 60_000);

  test('parts are exactly as large as they may be', async () => {
    const chunks = Readable.from([Buffer.alloc(7, 1), Buffer.alloc(5, 2)]);
    const parts = await writeParts(chunks as AsyncIterable<Buffer>, join(folder, 'p'), 4);
    expect(parts.map(({ name, size }) => [name, size])).toEqual([
      ['p.000', 4],
      ['p.001', 4],
      ['p.002', 4],
    ]);
    expect(readFileSync(writeJoinScript(join(folder, 'p'), parts), 'utf8')).toContain(parts[2]!.sha256);
  });

  test('is refused where a file was changed, lost or added', async () => {
    write('pack/dist/a.js');
    write('pack/models/m.onnx');
    const root = join(folder, 'pack');
    const digest = await writeDigests(root);
    write('pack/report.json');
    expect(await verifyPack(root)).toBe(digest);
    write('pack/dist/b.js');
    await expect(verifyPack(root)).rejects.toThrow('dist/b.js is not of this pack');
    rmSync(join(root, 'dist/b.js'));
    write('pack/dist/a.js', 'changed');
    await expect(verifyPack(root)).rejects.toThrow('dist/a.js is not as it was packed');
    rmSync(join(root, 'dist/a.js'));
    await expect(verifyPack(root)).rejects.toThrow('dist/a.js is missing');
  });

  test('a clone has no list', async () => {
    expect(await verifyPack(folder)).toBeUndefined();
  });
});
