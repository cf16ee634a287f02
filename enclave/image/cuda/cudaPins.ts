import * as z from 'zod';
import { ImageError } from '../errors.ts';

/** Largest list of pins, bytes. */
const MAX_BYTES = 256 * 1024;
/** Largest index of a repository, characters: NVIDIA's has some 5 million. */
const MAX_INDEX = 64 * 1024 * 1024;

const name = z.string().regex(/^[a-z0-9][a-z0-9+.-]{0,99}$/);
const version = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.+:~-]{0,99}$/);
/** Below the address of the repository. */
const path = z.string().regex(/^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9][A-Za-z0-9/+._~-]{0,299}$/);
const digest = {
  bytes: z
    .int()
    .min(1)
    .max(2 ** 32),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
};

const cudaPins = z.strictObject({
  version: z.literal('vouchsafe/cuda-pins/1'),
  /** Release of the pinned kernel, which the modules are for. */
  kernel: z.string().regex(/^[0-9][A-Za-z0-9.+~-]{0,99}$/),
  packages: z
    .array(z.strictObject({ name, version, path, ...digest }))
    .min(1)
    .max(50),
  /** Modules as they were built; empty until they are pinned. */
  modules: z.array(z.strictObject({ name: z.string().regex(/^nvidia[a-z-]*\.ko$/), ...digest })).max(10),
});

/** Packages of NVIDIA's repository and kernel modules, each by its digest. */
export type CudaPins = z.infer<typeof cudaPins>;
export type CudaPackage = CudaPins['packages'][number];

/** Refuses as `IMAGE_PINS_INVALID`. */
export function parseCudaPins(text: Uint8Array): CudaPins {
  if (text.length > MAX_BYTES) throw invalid(`larger than ${MAX_BYTES} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch (error) {
    throw invalid('no JSON', { cause: error });
  }
  const result = cudaPins.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw invalid(`${issue?.path.join('.') ?? 'it'}: ${issue?.message ?? 'not of its form'}`);
}

/**
 * Pins packages from the index of a repository (`Packages`, Debian Policy chapter 5): exactly the versions that were
 * asked for. Whose word the index is, the caller knows.
 */
export function pinCudaPackages(
  index: string,
  wanted: readonly (readonly [name: string, version: string])[],
): readonly CudaPackage[] {
  if (index.length > MAX_INDEX) throw invalid('the index is too large');
  const paragraphs = index.split(/\n\n+/).map(fieldsOf);
  return wanted.map(([wantedName, wantedVersion]) => {
    const found = paragraphs.find(
      (fields) => fields.get('Package') === wantedName && fields.get('Version') === wantedVersion,
    );
    if (!found) throw invalid(`${wantedName} ${wantedVersion} is not in the index`);
    return {
      name: wantedName,
      version: wantedVersion,
      path: (found.get('Filename') ?? '').replace(/^(?:\.\/)+/, ''),
      bytes: Number(found.get('Size')),
      sha256: found.get('SHA256') ?? '',
    };
  });
}

function fieldsOf(paragraph: string): ReadonlyMap<string, string> {
  const lines = paragraph.split('\n').map((line) => /^([A-Za-z0-9-]+):[ \t]*(.*?)\s*$/.exec(line));
  return new Map(lines.flatMap((found) => (found ? [[found[1] ?? '', found[2] ?? '']] : [])));
}

function invalid(why: string, options?: ErrorOptions): ImageError {
  return new ImageError('IMAGE_PINS_INVALID', `the list of CUDA pins: ${why}`, options);
}
