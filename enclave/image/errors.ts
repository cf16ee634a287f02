import { CodedError } from '../../attestation/codedError.ts';

/** What a person can do about each failure of an image. The codes are stable. */
const ADVICE = {
  IMAGE_PINS_INVALID:
    'The list of pinned inputs cannot be read. Restore it from the repository, or pin the inputs again.',
  IMAGE_INPUT_UNAVAILABLE:
    'No mirror gave a pinned input, and it is not in the cache. Name another mirror, or copy the file into the cache under its digest.',
  IMAGE_INPUT_CHANGED:
    'A file is not the one that is pinned: its size or its digest differs. Do not use it. Try another mirror; if all agree, find out what changed before it is pinned again.',
  IMAGE_INPUT_MALFORMED:
    'A pinned input is not of the format of its kind. Compare the pin with the package that it names.',
  IMAGE_INPUT_MISSING:
    'A pinned input does not contain what the image needs. Compare the pin with the package that it names.',
  IMAGE_TOOL_FAILED:
    'A pinned tool of the build failed. Its message says why; look at the space on the disk and at the files that it was given.',
  IMAGE_TREE_INVALID:
    'A file cannot be put into the image: path, kind, mode or size. Rename it, replace it, or leave it out.',
  IMAGE_TOO_LARGE: 'A part is larger than its format, or this builder, allows. Make it smaller.',
  IMAGE_PART_MALFORMED:
    'A part of the image is not of its format. Build it again, or name the file that is meant.',
  IMAGE_PARTITIONS_INVALID:
    'The partitions cannot be written as they were given. Give each its own GUID, a name of at most 36 characters and bytes.',
  IMAGE_VERITY_MISMATCH:
    'Data and hash tree do not belong together, or the root hash is that of others. Do not start this image; build it, or copy it, again.',
  IMAGE_CONFIG_INVALID:
    'The configuration that would be measured cannot be used. Correct it; what is in the image cannot be changed later.',
  IMAGE_APPLICATION_INVALID:
    'The build of the service cannot go into an image. Run npm run build, and compare node_modules with the lock file.',
  IMAGE_MANIFEST_INVALID: 'The manifest cannot be read. Take the one that was published with this image.',
  IMAGE_MANIFEST_MISMATCH:
    'A file is not the one that the manifest names. Do not use it; take image and manifest from the same release.',
  IMAGE_SIGNATURE_INVALID:
    'A statement about the image is not signed by a key that is trusted for it. Name the key of the publisher, or do not use the image.',
  IMAGE_REFERENCE_REFUSED:
    'The published reference values are out of their time, or were withdrawn. Take those of a newer release.',
  IMAGE_REFERENCE_MISSING:
    'Nothing was predicted for this platform. Build the image with its profile and firmware, or name another platform.',
  IMAGE_OUTPUT_FAILED:
    'A file of the image could not be written. Look at the space, and at who may write into the folder.',
} as const;

export type ImageErrorCode = keyof typeof ADVICE;

/** An image was not made, or not accepted, and why. */
export class ImageError extends CodedError<ImageErrorCode> {
  constructor(code: ImageErrorCode, message: string, options?: ErrorOptions) {
    super(ADVICE, code, message, options);
  }
}
