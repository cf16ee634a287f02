import { fromHex, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import type { SharedFiles } from '../export/source.ts';
import type { FilesParts } from './files.ts';
import { readPolicy } from './policies.ts';
import { bytesOf } from './sql.ts';

const POLICY = /^policies\/([0-9a-f]{64})\.json$/;

/** The registered policies as exports have them: `policies/<digest>.json`. */
export function policyFiles(parts: FilesParts): SharedFiles {
  return {
    async *paths() {
      const rows = await parts.sql.query({ text: 'SELECT digest FROM archive_policies ORDER BY digest' });
      for (const row of rows) yield `policies/${toHex(bytesOf(row, 'digest'))}.json`;
    },
    read: async (path) => {
      const [, digest] = POLICY.exec(path) ?? [];
      return digest === undefined ? undefined : utf8(await readPolicy(parts, fromHex(digest)));
    },
  };
}
