import { ImageError, type ImageErrorCode } from '../../../../enclave/image/errors.ts';

/** The code with which something is refused. */
export async function refusalCode(act: () => unknown): Promise<ImageErrorCode | 'accepted'> {
  try {
    await act();
  } catch (error) {
    if (error instanceof ImageError) return error.code;
    throw error;
  }
  return 'accepted';
}
