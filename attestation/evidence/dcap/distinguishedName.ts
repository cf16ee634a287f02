import { fromUtf8 } from '../../bytes/bytes.ts';
import { TAG } from '../../x509/der.ts';
import { commonNames } from '../../x509/name.ts';

/** The one common name in an encoded name, byte by byte; undefined where there is none or more than one. */
export function commonNameOf(name: Uint8Array): string | undefined {
  const [found, second] = commonNames(name);
  if (!found || second) return undefined;
  return found.tag === TAG.utf8String || found.tag === TAG.printableString ? fromUtf8(found.content) : '';
}
