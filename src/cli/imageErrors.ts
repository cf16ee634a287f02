import { DeployError, type DeployErrorCode } from '../../enclave/deploy/errors.ts';
import { ImageError, type ImageErrorCode } from '../../enclave/image/errors.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';

/** Codes of what was looked at and is not as it was said to be; all others are of what cannot be read. */
const EXITS: Partial<Readonly<Record<ImageErrorCode | DeployErrorCode, ExitCode>>> = {
  IMAGE_INPUT_CHANGED: EXIT.refused,
  IMAGE_VERITY_MISMATCH: EXIT.refused,
  IMAGE_MANIFEST_MISMATCH: EXIT.refused,
  IMAGE_SIGNATURE_INVALID: EXIT.refused,
  IMAGE_REFERENCE_REFUSED: EXIT.refused,
  IMAGE_REFERENCE_MISSING: EXIT.notJudged,
  IMAGE_CONFIG_INVALID: EXIT.misuse,
  IMAGE_APPLICATION_INVALID: EXIT.misuse,
  DEPLOY_OPTIONS_INVALID: EXIT.misuse,
};

export const IMAGE_EXIT_HELP = `
Exit codes:
  0 done, good or the same   2 not what was said, refused or different
  3 a value or a firmware file is missing   4 unreachable or unreadable   64 misuse
`;

/** Runs an action of `image`; its refusals end the command with their code, sentence and advice. */
export async function imageAction<Result>(act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof ImageError || error instanceof DeployError)) throw error;
    const exit = EXITS[error.code] ?? EXIT.unreadable;
    throw new CliError(exit, `${error.code}: ${error.message}`, error.advice);
  }
}
