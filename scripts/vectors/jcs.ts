import { z } from 'zod';
import { toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { canonicalJson } from '../../attestation/json/canonical.ts';
import { parseStrictJsonText } from '../../attestation/json/strict.ts';
import { expectEqual, type Family } from './family.ts';
import { listsMembers } from './vectorFile.ts';

const schema = z.object({
  vectors: z.array(z.object({ name: z.string(), input: z.string(), output_utf8_hex: z.string() })),
});

/** RFC 8785: a text in any form, and the one form of its data. */
export const jcsFamily: Family = {
  claims: ({ json }) => listsMembers(json, 'input', 'output_utf8_hex'),
  cases: ({ json }) =>
    schema.parse(json).vectors.map(({ name, input, output_utf8_hex }) => ({
      name,
      check: () => {
        const text = canonicalJson(parseStrictJsonText(input));
        expectEqual(toHex(utf8(text)), output_utf8_hex, 'the canonical form');
      },
    })),
};
