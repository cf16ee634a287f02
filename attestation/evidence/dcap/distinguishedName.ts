import { fromUtf8 } from '../../bytes/bytes.ts';
import { decodeOid, DerReader, TAG } from '../../x509/der.ts';

const COMMON_NAME = '2.5.4.3';

/** The one common name in an encoded name, byte by byte; undefined where there is none or more than one. */
export function commonNameOf(name: Uint8Array): string | undefined {
  const found: string[] = [];
  const sets = new DerReader(name, 'name').enter(TAG.sequence);
  while (!sets.done) {
    const attributes = sets.enter(TAG.set);
    while (!attributes.done) {
      const attribute = attributes.enter(TAG.sequence);
      const type = decodeOid(attribute.take(TAG.oid).content);
      const { tag, content } = attribute.take();
      if (type !== COMMON_NAME) continue;
      found.push(tag === TAG.utf8String || tag === TAG.printableString ? fromUtf8(content) : '');
    }
  }
  return found.length === 1 ? found[0] : undefined;
}
