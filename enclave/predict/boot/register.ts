import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider, HashName } from '../../../attestation/crypto/provider.ts';

/** A hash of what a register is extended with; a part may be known by its digest alone. */
export type Measured = { readonly bytes: Uint8Array } | { readonly digest: Uint8Array };

/** What measured boot measures besides files, as the firmware hashes it (TCG PC Client Platform Firmware Profile). */
export const EVENTS = {
  callingApplication: { bytes: utf8('Calling EFI Application from Boot Option') },
  separator: { bytes: new Uint8Array(4) },
  exitBootServices: { bytes: utf8('Exit Boot Services Invocation') },
  exitedBootServices: { bytes: utf8('Exit Boot Services Returned with Success') },
} as const satisfies Readonly<Record<string, Measured>>;

const DIGEST_BYTES: Readonly<Record<HashName, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 };

/** The value of a register that starts with zeros after these events: `R = H(R || digest)`. */
export function registerOf(events: readonly Measured[], bank: HashName, crypto: CryptoProvider): Uint8Array {
  return events.reduce<Uint8Array>(
    (value, event) => crypto.hash(bank, concat(value, digestOf(event, bank, crypto))),
    new Uint8Array(DIGEST_BYTES[bank]),
  );
}

function digestOf(event: Measured, bank: HashName, crypto: CryptoProvider): Uint8Array {
  return 'digest' in event ? event.digest : crypto.hash(bank, event.bytes);
}

/** Characters of two bytes, little-endian, and the NUL that ends them. */
export function utf16WithNul(text: string): Uint8Array {
  const bytes = new Uint8Array(2 * (text.length + 1));
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < text.length; i++) view.setUint16(2 * i, text.charCodeAt(i), true);
  return bytes;
}
