import { ImageError, type ImageErrorCode } from '../../../../enclave/image/errors.ts';
import { errorOfAsync } from '../../../support/refusal.ts';

/** The code with which something is refused. */
export async function refusalCode(act: () => unknown): Promise<ImageErrorCode | 'accepted'> {
  return (await errorOfAsync(ImageError, act))?.code ?? 'accepted';
}
