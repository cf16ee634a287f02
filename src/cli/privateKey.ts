import { createPrivateKey, type KeyObject } from 'node:crypto';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';

/** A private key from a file in PEM; VOUCHSAFE_KEY_PASSPHRASE opens one that is encrypted. Throws `CliError`. */
export async function readPrivateKey(path: string): Promise<KeyObject> {
  const pem = Buffer.from(await readInput(path));
  const passphrase = process.env['VOUCHSAFE_KEY_PASSPHRASE'];
  try {
    return createPrivateKey({ key: pem, ...(passphrase !== undefined && { passphrase }) });
  } catch {
    const advice = 'Give a private key in PEM. VOUCHSAFE_KEY_PASSPHRASE opens one that is encrypted.';
    throw new CliError(EXIT.unreadable, `${path} holds no private key that can be read`, advice);
  }
}
