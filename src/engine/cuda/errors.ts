import { CodedError } from '../../../attestation/codedError.ts';

/** Every reason for which the CUDA provider is not installed, with what a person can do about it. The codes are stable. */
export const CUDA_ERRORS = {
  PLATFORM_UNSUPPORTED: 'The CUDA provider runs on Linux x64. Elsewhere choose the provider cpu.',
  RUNTIME_MISMATCH: 'Install the version of onnxruntime-node that this program names in its package.',
  ARCHIVE_UNREADABLE: 'Name an archive that can be read with --from.',
  ARCHIVE_UNREACHABLE:
    'Check the network and the registry that npm is set to, or name a file or mirror with --from.',
  ARCHIVE_UNKNOWN: 'Only the archives that this program pins are opened. Fetch it again, or from elsewhere.',
  ARCHIVE_MALFORMED: 'The archive does not hold the libraries as pinned. Nothing was installed.',
  LIBRARY_UNKNOWN: 'The library is not the pinned one. Nothing was installed.',
  FOLDER_UNWRITABLE: 'Install as the user who owns the folder of onnxruntime-node.',
  INTERRUPTED: 'Nothing was installed. Run it again.',
} as const;

export type CudaErrorCode = keyof typeof CUDA_ERRORS;

export class CudaError extends CodedError<CudaErrorCode> {
  constructor(code: CudaErrorCode, message: string, options?: ErrorOptions) {
    super(CUDA_ERRORS, code, message, options);
  }
}
