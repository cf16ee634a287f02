import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mintAuthority, type Authority } from './authority.ts';
import { build, differences, otherMachine, type BuiltImage } from './builds.ts';
import { vouchsafe } from './commands.ts';
import type { Emulator } from './emulator.ts';
import { imageConfig } from './imageConfig.ts';
import { ask, compareRegisters, judge, readRegisters, type Judging } from './judging.ts';
import { bootVm, type Booted } from './machine.ts';
import type { Row } from './report.ts';
import { makeTpm } from './softwareTpm.ts';
import { OUTPUTS } from '../../enclave/image/layout.ts';
import { changeKernelWord, changeRootByte, mixVolumes } from './tampering.ts';

const MODELS = fileURLToPath(new URL('../../models', import.meta.url));
/** Weights of which one bit is another: a valid model that gives other answers. */
const CHANGED_WEIGHTS = 'tinygpt-1m/onnx/model.onnx';
const API_KEY = 'key-of-the-emulated-machine';
const OTHER_KEY = 'key-of-somebody-else-entirely';
/** Registers that differ when anything that is measured of the image does. */
const IMAGE_CHECK = /MEASUREMENT_MISMATCH/;

export interface ScenarioOptions {
  readonly emulator: Emulator;
  readonly work: string;
  readonly cache: string;
  readonly offline: boolean;
  readonly timeoutMs: number;
  readonly say: (line: string) => void;
}

interface World extends ScenarioOptions {
  readonly authority: Authority;
  readonly tpm: string;
  readonly image: BuiltImage;
  readonly policy: string;
}

/** Two things at a time, as long as each other: machines of CI have two processors. Throws `InputsUnavailable`. */
export async function runScenarios(options: ScenarioOptions): Promise<readonly Row[]> {
  const world = await makeWorld(options);
  const [accepted, refused] = await Promise.all([
    inTurn([
      () => tried('the image itself', () => acceptOwn(world)),
      () => tried('another command line', async () => [await refuseWord(world)]),
    ]),
    inTurn([
      () => tried('the image built again', async () => [await buildAgain(world)]),
      () => tried('one byte of the root changed', async () => [await refuseByte(world)]),
      () => tried('a word that is not known', async () => [await refuseUnknownWord(world)]),
      () => tried('another image', () => refuseOther(world)),
    ]),
  ]);
  return [...refused, ...accepted];
}

async function inTurn(trials: readonly (() => Promise<readonly Row[]>)[]): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const trial of trials) rows.push(...(await trial()));
  return rows;
}

/** Another valid image, and what is mixed of both. */
async function refuseOther(world: World): Promise<readonly Row[]> {
  const other = await buildOther(world);
  return [
    await refuseVolume(world, other, 'root'),
    await refuseVolume(world, other, 'models'),
    await refuseImage(world, other),
  ];
}

/** A trial that fails is a row as well, and the others go on. */
async function tried(what: string, work: () => Promise<readonly Row[]>): Promise<readonly Row[]> {
  const begun = performance.now();
  try {
    return await work();
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    const seconds = (performance.now() - begun) / 1000;
    return [{ what, expected: 'a verdict', seen: 'an error', isRight: false, detail, seconds }];
  }
}

async function makeWorld(options: ScenarioOptions): Promise<World> {
  const { work, emulator, say } = options;
  const authority = await mintAuthority();
  const tpm = join(work, 'tpm');
  await rm(tpm, { recursive: true, force: true });
  await makeTpm(emulator.swtpm, tpm, authority);
  say('building the image');
  const sources = { config: imageConfig(authority.anchor, API_KEY), models: MODELS };
  const image = await build(join(work, 'image'), sources, options);
  say(`built in ${image.seconds.toFixed(0)} s`);
  const policy = join(work, 'policy.json');
  const made = await vouchsafe(['image', 'policy', image.folder, '--platform', 'tpm', '--no-devices']);
  if (made.code !== 0) throw new Error(`image policy: ${made.stderr}`);
  await writeFile(policy, made.stdout);
  return { ...options, authority, tpm, image, policy };
}

/** The same sources on what looks like another machine. */
async function buildAgain(world: World): Promise<Row> {
  const folder = join(world.work, 'elsewhere', 'image again');
  await mkdir(folder, { recursive: true });
  const sources = { config: imageConfig(world.authority.anchor, API_KEY), models: MODELS };
  const again = await build(join(folder, 'out'), sources, world, otherMachine(folder));
  const differing = differences(world.image.manifest, again.manifest);
  await rm(join(folder, 'out'), { recursive: true });
  return {
    what: 'built again by another user, under another path, mask, clock, language, home and host name',
    expected: 'the same bytes',
    seen: differing.length === 0 ? 'the same bytes' : `other: ${differing.join(', ')}`,
    isRight: differing.length === 0,
    detail: `${world.image.manifest.outputs.length} files compared by digest`,
    seconds: again.seconds,
  };
}

/** Its own image: it answers, the verifier accepts it and an answer of it, and registers are as predicted. */
async function acceptOwn(world: World): Promise<readonly Row[]> {
  const disk = join(world.image.folder, OUTPUTS.disk);
  const machine = await boot(world, 'own', disk);
  try {
    if (machine.refusal) return [row('the image itself', 'accepted', machine, describe(machine))];
    const judging = judgingOf(world, machine);
    const verdict = await judge(judging);
    const saysHost = verdict.checks.some(
      ({ id, code }) => id === 'limits.host-tpm' && code === 'NOT_EXCLUDED',
    );
    const answer = await ask(judging, API_KEY);
    const registers = compareRegisters(world.image.manifest, await readRegisters(machine.url, API_KEY));
    const wrong = registers.filter(({ expected, seen }) => expected !== seen).map(({ pcr }) => pcr);
    const limit = saysHost
      ? 'the verdict says that the host reads the memory'
      : 'the verdict does not name the host';
    return [
      { ...row('evidence of the image', 'accepted', machine, verdict.decision), isRight: verdict.decision === 'accepted' && saysHost, detail: [limit, ...verdict.failed].join('; ') },
      { ...row('an answer of the image, sealed to it', 'accepted', machine, answer.decision), detail: answer.failed.join('; ') },
      { ...row('registers of the TPM', 'as predicted', machine, wrong.length === 0 ? 'as predicted' : `other: PCR ${wrong.join(', ')}`), detail: `PCR ${registers.map(({ pcr }) => pcr).join(', ')}` },
    ]; // prettier-ignore
  } finally {
    await machine.stop();
  }
}

function judgingOf({ policy, authority }: World, { url }: Booted): Judging {
  return { url, policy, anchor: authority.anchor };
}

async function buildOther(world: World): Promise<BuiltImage> {
  const models = join(world.work, 'other-models');
  await rm(models, { recursive: true, force: true });
  await cp(MODELS, models, { recursive: true });
  const weights = await readFile(join(models, CHANGED_WEIGHTS));
  const middle = weights.length >> 1;
  weights[middle] = (weights[middle] ?? 0) ^ 1;
  await writeFile(join(models, CHANGED_WEIGHTS), weights);
  const sources = { config: imageConfig(world.authority.anchor, OTHER_KEY), models };
  return build(join(world.work, 'other'), sources, world);
}

async function refuseByte(world: World): Promise<Row> {
  const disk = await changeRootByte(world.image, join(world.work, 'byte.raw'));
  return refusedBy(world, { name: 'byte', disk, what: 'one byte of the root changed', expected: 'verity' });
}

async function refuseVolume(world: World, other: BuiltImage, volume: 'root' | 'models'): Promise<Row> {
  const disk = await mixVolumes(world.image, other, volume, join(world.work, `${volume}.raw`));
  const what = volume === 'root' ? 'another configuration in a valid root' : 'other models in a valid volume';
  return refusedBy(world, { name: volume, disk, what, expected: 'verity' });
}

async function refuseWord(world: World): Promise<Row> {
  const disk = await changeKernelWord(world.image, 'lockdown=integrity', '', join(world.work, 'word.raw'));
  const what = 'another command line in a valid kernel image';
  return refusedBy(world, { name: 'word', disk, what, expected: 'verifier' });
}

async function refuseUnknownWord(world: World): Promise<Row> {
  const disk = await changeKernelWord(world.image, 'loglevel=4', 'nokaslr', join(world.work, 'unknown.raw'));
  const what = 'a word in it that the first program does not know';
  return refusedBy(world, { name: 'unknown', disk, what, expected: 'init' });
}

async function refuseImage(world: World, other: BuiltImage): Promise<Row> {
  const disk = join(other.folder, OUTPUTS.disk);
  const what = 'a valid image with another configuration';
  return refusedBy(world, { name: 'other', disk, what, expected: 'verifier' });
}

interface Tampered {
  readonly name: string;
  readonly disk: string;
  readonly what: string;
  readonly expected: string;
}

/** Who refuses a disk: the machine while it starts, or the verifier of its evidence. */
async function refusedBy(world: World, { name, disk, what, expected }: Tampered): Promise<Row> {
  const machine = await boot(world, name, disk);
  try {
    if (machine.refusal) {
      const { layer, line } = machine.refusal;
      return { ...row(what, expected, machine, layer), detail: line };
    }
    const { decision, failed } = await judge(judgingOf(world, machine));
    const seen =
      decision === 'refused' && failed.some((code) => IMAGE_CHECK.test(code)) ? 'verifier' : decision;
    return { ...row(what, expected, machine, seen), detail: failed.join('; ') };
  } finally {
    await machine.stop();
    await rm(disk);
  }
}

function boot({ emulator, tpm, work, timeoutMs, say }: World, name: string, disk: string): Promise<Booted> {
  say(`starting ${name}`);
  return bootVm({ emulator, disk, tpm, folder: join(work, 'machines', name), timeoutMs });
}

function row(what: string, expected: string, { seconds }: Booted, seen: string): Row {
  return { what, expected, seen, isRight: seen === expected, detail: '', seconds };
}

function describe({ refusal }: Booted): string {
  return refusal ? `${refusal.layer}: ${refusal.line}` : 'answers';
}
