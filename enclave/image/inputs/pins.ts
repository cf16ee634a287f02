import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { ImageError } from '../errors.ts';

/** Largest list of pins, bytes. */
const MAX_BYTES = 1024 * 1024;

const name = z.string().regex(/^(?:@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9+._-]{0,199}$/);
const version = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.+:~-]{0,99}$/);
/** Relative and plain: it becomes a part of an address, and of an archive's path. */
const path = z.string().regex(/^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9@][A-Za-z0-9@/+._~-]{0,299}$/);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
/** At most what a download takes into the cache. */
const bytes = z
  .int()
  .min(1)
  .max(2 ** 30);
const archive = z.enum(['debian', 'debian-security']);
const use = z.enum(['root', 'initrd', 'kernel', 'stub', 'tool']);

const debian = z.strictObject({
  kind: z.literal('debian'),
  name,
  version,
  archive,
  path,
  bytes,
  sha256,
  /** What it was built from; its files are in `sources`. */
  source: z.array(z.strictObject({ name, version })).min(1).max(4),
  uses: z.array(use).min(1),
});

const npm = z.strictObject({
  kind: z.literal('npm'),
  name,
  version,
  path,
  /** `sha512-` and base64, as in npm's lock files. */
  integrity: z.string().regex(/^sha512-[A-Za-z0-9+/]{86}==$/),
  licence: z.string().min(1).max(200).optional(),
  uses: z.array(use).min(1),
});

const source = z.strictObject({ kind: z.literal('source'), name, version, archive, path, bytes, sha256 });

const pins = z.strictObject({
  version: z.literal('vouchsafe/pins/1'),
  /** When each archive held all of these files: snapshot archives find them there for good. */
  snapshots: z.record(archive, z.string().regex(/^\d{8}T\d{6}Z$/)),
  inputs: z.array(z.discriminatedUnion('kind', [debian, npm])).max(200),
  sources: z.array(source).max(500),
});

export type DebianPin = z.infer<typeof debian>;
/** A package of npm, named by the digest that npm's lock files use. */
export type NpmPin = z.infer<typeof npm>;
/** A file that a package was built from: for archives, never for an image. */
export type SourcePin = z.infer<typeof source>;
export type Pin = DebianPin | NpmPin | SourcePin;
export type Archive = z.infer<typeof archive>;
export type Pins = z.infer<typeof pins>;

const PINS = new URL('pins.json', import.meta.url);

/** The list of this release, or another one. Everything in it is compared with what is fetched. */
export async function readPins(file: string | URL = PINS): Promise<Pins> {
  let text: Buffer;
  try {
    text = await readFile(file);
  } catch (error) {
    throw new ImageError('IMAGE_PINS_INVALID', 'The list of pinned inputs cannot be read', { cause: error });
  }
  return parsePins(text);
}

export function parsePins(text: Uint8Array): Pins {
  if (text.length > MAX_BYTES) throw invalid(`it is larger than ${MAX_BYTES} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch (error) {
    throw invalid('it is no JSON', { cause: error });
  }
  const result = pins.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw invalid(`${issue?.path.join('.') ?? 'it'}: ${issue?.message ?? 'not of its form'}`);
  }
  const names = result.data.inputs.map((input) => input.name);
  if (new Set(names).size !== names.length) throw invalid('a package stands there twice');
  return result.data;
}

/** The one package of a name. */
export function findPin(list: Pins, wanted: string): DebianPin | NpmPin {
  const found = list.inputs.find((input) => input.name === wanted);
  if (found === undefined) throw new ImageError('IMAGE_INPUT_MISSING', `${wanted} is not among the pins`);
  return found;
}

function invalid(detail: string, options?: ErrorOptions): ImageError {
  return new ImageError('IMAGE_PINS_INVALID', `The list of pinned inputs: ${detail}`, options);
}
