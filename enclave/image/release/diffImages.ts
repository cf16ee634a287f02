import { canonicalJson } from '../../../attestation/json/canonical.ts';
import type { FileLists, Layer, ListedEntry } from './fileLists.ts';
import { FILES, type ImageManifest, type ManifestInput } from './manifest.ts';
import { PART, partOfSection, profileName } from './predictImage.ts';

export type Change = 'added' | 'removed' | 'changed';

export interface InputChange {
  readonly change: Change;
  readonly kind: ManifestInput['kind'];
  readonly name: string;
  /** Version and digest; null where it is not there. */
  readonly before: string | null;
  readonly after: string | null;
  readonly uses: readonly string[];
}

export interface FileChange {
  readonly change: Change;
  readonly layer: Layer;
  readonly path: string;
}

/** Part of an image that is another, and what in it or below it is. */
export interface PartChange {
  readonly part: string;
  readonly because: readonly string[];
}

/** A predicted value that is another, is new, or is gone. */
export interface ValueChange {
  readonly profile: string;
  readonly member: string;
  readonly before: string | null;
  readonly after: string | null;
  /** Changed parts that it follows from. */
  readonly because: readonly string[];
}

export interface ImageDiff {
  /** Whether launches of both measure the same. */
  readonly measuresSame: boolean;
  readonly parameters: readonly string[];
  readonly inputs: readonly InputChange[];
  /** Undefined where a list of files is not at hand. */
  readonly files: readonly FileChange[] | undefined;
  readonly parts: readonly PartChange[];
  readonly values: readonly ValueChange[];
}

/** An image as far as it is at hand. */
export interface Side {
  readonly manifest: ImageManifest;
  readonly files: FileLists | undefined;
}

const LAYER_PARTS = { root: 'root file system', models: 'models' } as const;

/** What is another from one image to the next, and which measurements follow from it. */
export function diffImages(before: Side, after: Side): ImageDiff {
  const inputs = diffInputs(before.manifest.inputs, after.manifest.inputs);
  const files = before.files && after.files ? diffFiles(before.files, after.files) : undefined;
  const parts = diffParts(before.manifest, after.manifest, inputs, files);
  const values = diffValues(before.manifest, after.manifest, parts);
  return {
    measuresSame: values.length === 0,
    parameters: diffParameters(before.manifest.parameters, after.manifest.parameters),
    inputs,
    files,
    parts,
    values,
  };
}

function diffParameters(
  before: ImageManifest['parameters'],
  after: ImageManifest['parameters'],
): readonly string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted();
  return names
    .filter((name) => before[name] !== after[name])
    .map((name) => `${name}: ${before[name] ?? 'none'} -> ${after[name] ?? 'none'}`);
}

/** Pairs by key: what is on one side only was added or removed. */
function pair<Item>(
  before: readonly Item[],
  after: readonly Item[],
  keyOf: (item: Item) => string,
): readonly (readonly [key: string, before: Item | undefined, after: Item | undefined])[] {
  const [left, right] = [before, after].map((items) => new Map(items.map((item) => [keyOf(item), item])));
  const keys = [...new Set([...(left?.keys() ?? []), ...(right?.keys() ?? [])])];
  return keys.map((key) => [key, left?.get(key), right?.get(key)]);
}

function changeOf(before: unknown, after: unknown): Change {
  if (before === undefined) return 'added';
  return after === undefined ? 'removed' : 'changed';
}

/** One package may be there in several versions, so those that are the same are set aside first. */
function diffInputs(
  before: readonly ManifestInput[],
  after: readonly ManifestInput[],
): readonly InputChange[] {
  const textOf = (input: ManifestInput): string => canonicalJson(input);
  const [left, right] = [new Set(before.map(textOf)), new Set(after.map(textOf))];
  const keyOf = ({ kind, name, path }: ManifestInput): string =>
    kind === 'npm' || kind === 'debian' ? `${kind} ${name}` : `${kind} ${name} ${path}`;
  const changed = pair(
    before.filter((input) => !right.has(textOf(input))),
    after.filter((input) => !left.has(textOf(input))),
    keyOf,
  );
  return changed.flatMap(([, old, now]) => {
    const known = now ?? old;
    if (!known) return [];
    const uses = [...new Set([...(old?.uses ?? []), ...(now?.uses ?? [])])];
    const { kind, name } = known;
    return [{ change: changeOf(old, now), kind, name, before: stateOf(old), after: stateOf(now), uses }];
  });
}

function stateOf(input: ManifestInput | undefined): string | null {
  return input ? [input.version, input.sha256].filter(Boolean).join(' ') : null;
}

function diffFiles(before: FileLists, after: FileLists): readonly FileChange[] {
  return (['root', 'initrd', 'models'] as const).flatMap((layer) =>
    pair<ListedEntry>(before[layer], after[layer], ({ path }) => path)
      .filter(([, old, now]) => !old || !now || canonicalJson(old) !== canonicalJson(now))
      .map(([path, old, now]) => ({ change: changeOf(old, now), layer, path })),
  );
}

function diffParts(
  { parts: before, release: oldRelease }: ImageManifest,
  { parts: after, release: newRelease }: ImageManifest,
  inputs: readonly InputChange[],
  files: readonly FileChange[] | undefined,
): readonly PartChange[] {
  const changes: PartChange[] = [];
  const add = (part: string, because: readonly string[]): void => void changes.push({ part, because });
  const by = (...uses: readonly string[]): readonly string[] => [
    ...inputs.filter((input) => input.uses.some((use) => uses.includes(use))).map(inputName),
  ];
  // Its name and version are in os-release, in the root and in the unified image.
  const release = isSame(oldRelease, newRelease) ? [] : [`release ${oldRelease.name} -> ${newRelease.name}`];
  for (const layer of ['root', 'models'] as const) {
    if (isSame(before[layer], after[layer])) continue;
    add(LAYER_PARTS[layer], [
      ...by(layer),
      ...(layer === 'root' ? release : []),
      ...countFiles(files, layer),
    ]);
  }
  const isLayer = (layer: 'root' | 'models'): boolean =>
    changes.some(({ part }) => part === LAYER_PARTS[layer]);
  const layers = (['root', 'models'] as const).filter(isLayer).map((layer) => LAYER_PARTS[layer]);
  if (before.cmdline !== after.cmdline)
    add(PART.cmdline, [...layers, ...diffWords(before.cmdline, after.cmdline)]);
  if (!isSame(before.kernel, after.kernel)) add(PART.kernel, by('kernel'));
  const sections = pair(before.uki.sections, after.uki.sections, ({ name }) => name)
    .filter(([, old, now]) => !isSame(old ?? null, now ?? null))
    .map(([name]) => partOfSection(name));
  for (const part of sections) {
    if (changes.some((change) => change.part === part)) continue;
    add(part, sectionCauses(part, { by, release, files }));
  }
  if (!isSame(before.uki.authenticode, after.uki.authenticode)) add(PART.uki, sections);
  if (!isSame(before.partitions, after.partitions)) add(PART.table, layers);
  return changes;
}

interface Causes {
  readonly by: (...uses: readonly string[]) => readonly string[];
  readonly release: readonly string[];
  readonly files: readonly FileChange[] | undefined;
}

/** Code and `.sbat` of a unified image are the stub's. */
function sectionCauses(part: string, { by, release, files }: Causes): readonly string[] {
  if (part === PART.initrd) return [...by('initrd'), ...countFiles(files, 'initrd')];
  if (part === partOfSection('.osrel')) return release;
  return part === partOfSection('.uname') ? by('kernel') : by('stub');
}

function inputName({ kind, name, before, after }: InputChange): string {
  const version = (state: string | null): string =>
    state === null ? 'none' : state.replace(/ ?[0-9a-f]{64}$/, '');
  const [old, now] = [version(before), version(after)];
  return old === now ? `${kind} ${name}` : `${kind} ${name} ${old} -> ${now}`;
}

function countFiles(files: readonly FileChange[] | undefined, layer: Layer): readonly string[] {
  const count = files?.filter((file) => file.layer === layer).length ?? 0;
  return count === 0 ? [] : [`${count} changed ${count === 1 ? 'entry' : 'entries'} of ${FILES.fileLists}`];
}

/** Words of a command line that one side has and the other has not. */
function diffWords(before: string, after: string): readonly string[] {
  const [old, now] = [before.split(' '), after.split(' ')];
  return [
    ...old.filter((word) => !now.includes(word)).map((word) => `without «${word}»`),
    ...now.filter((word) => !old.includes(word)).map((word) => `with «${word}»`),
  ];
}

interface Predicted {
  readonly profile: string;
  readonly member: string;
  readonly value: string;
  readonly from: readonly string[];
}

function diffValues(
  before: ImageManifest,
  after: ImageManifest,
  parts: readonly PartChange[],
): readonly ValueChange[] {
  const changed = new Set([...parts.map(({ part }) => part), ...changedFirmware(before, after)]);
  return pair(predictedOf(before), predictedOf(after), ({ profile, member }) => `${profile}\0${member}`)
    .filter(([, old, now]) => old?.value !== now?.value)
    .flatMap(([, old, now]) => {
      const known = now ?? old;
      if (!known) return [];
      const { profile, member } = known;
      const from = new Set([...(old?.from ?? []), ...(now?.from ?? [])]);
      const because =
        old && now ? [...from].filter((part) => changed.has(part)) : ['only one of them was predicted so'];
      return [{ profile, member, before: old?.value ?? null, after: now?.value ?? null, because }];
    });
}

function predictedOf({ predictions }: ImageManifest): readonly Predicted[] {
  return predictions.flatMap(({ profile, values }) =>
    values.map(({ member, value, from }) => ({ profile: profileName(profile), member, value, from })),
  );
}

/** As values name it: firmware of one name with two contents. */
function changedFirmware(before: ImageManifest, after: ImageManifest): readonly string[] {
  const digests = ({ predictions }: ImageManifest): ReadonlyMap<string, string> =>
    new Map(
      predictions.flatMap(({ profile }) =>
        profile.platform !== 'tpm' && profile.firmware
          ? [[profile.firmware.name, profile.firmware.sha256]]
          : [],
      ),
    );
  const now = digests(after);
  return [...digests(before)]
    .filter(([name, sha256]) => now.has(name) && now.get(name) !== sha256)
    .map(([name]) => `firmware ${name}`);
}

function isSame(a: unknown, b: unknown): boolean {
  return canonicalJson(a) === canonicalJson(b);
}
