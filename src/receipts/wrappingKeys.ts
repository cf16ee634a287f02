import { FileRefused } from '../models/errors.ts';
import { readPlain } from '../models/files.ts';
import { parseKeyFile, unwrapDataKey } from '../models/sealed/wrappedKey.ts';
import { KeyReleaseError } from './keyReleaser.ts';

/** A name that is a file and nothing else. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const MAX_KEY_FILE_BYTES = 1024;

/**
 * Wrapping keys as files `<name>.key` of one folder. Each is read when it is needed and overwritten afterwards, so that
 * a key is in memory for the time of one release, and a new file needs no restart.
 */
export function wrappingKeysIn(
  folder: string,
): (keyName: string, wrapped: Uint8Array) => Promise<Uint8Array> {
  return async (keyName, wrapped) => {
    if (!NAME.test(keyName)) throw new KeyReleaseError('KEY_UNKNOWN', 'no key of this node has such a name');
    let wrapping: Uint8Array | undefined;
    try {
      wrapping = await readWrapping(folder, keyName);
      return unwrapDataKey(wrapping, keyName, wrapped);
    } catch (error) {
      throw error instanceof FileRefused ? refused(error) : error;
    } finally {
      wrapping?.fill(0);
    }
  };
}

async function readWrapping(folder: string, keyName: string): Promise<Uint8Array> {
  const bytes = await readPlain(folder, `${keyName}.key`, MAX_KEY_FILE_BYTES);
  try {
    return parseKeyFile(bytes);
  } finally {
    bytes.fill(0);
  }
}

/** Where the file lies is nobody's business who asks. */
function refused({ code, message }: FileRefused): KeyReleaseError {
  if (code === 'SEALED_REFUSED') return new KeyReleaseError('KEY_REFUSED', message);
  return new KeyReleaseError('KEY_UNKNOWN', `the key of this name cannot be used (${code})`);
}
