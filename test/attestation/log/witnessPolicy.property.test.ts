import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { encodeVkey, KEY_TYPE, makeVkey } from '../../../attestation/log/vkey.ts';
import { parseWitnessPolicy } from '../../../attestation/log/witnessPolicy.ts';
import { witnessesOf } from '../../../attestation/log/witnesses.ts';
import { refusalOf } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const sha256 = sha256With(nodeCrypto);
const vkeys = Array.from({ length: 6 }, (_, i) =>
  makeVkey(sha256, `w${i}.example`, new Uint8Array(32).fill(i), KEY_TYPE.cosignature),
);
const words = fc.constantFrom(
  'log', 'witness', 'group', 'quorum', 'any', 'all', 'none', '1', '2', 'A', 'B', '#', '\t', ' ', '\n', '\n',
  ...vkeys.slice(0, 2).map(encodeVkey),
); // prettier-ignore

test(
  'any text is read or refused, never anything else thrown',
  () => {
    const texts = fc.array(words, { maxLength: 30 }).map((parts) => utf8(`${parts.join(' ')}\n`));
    fc.assert(
      fc.property(fc.oneof(texts, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        refusalOf(() => parseWitnessPolicy(bytes, sha256));
      }),
      propertyRuns(1000),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'each witness of a quorum stands in one place, whatever the groups are',
  () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(sizes, (groups) => {
        const lines = vkeys.map((vkey, i) => `witness W${i} ${encodeVkey(vkey)}`);
        const free = vkeys.map((_, i) => `W${i}`);
        for (const [i, size] of groups.entries()) {
          lines.push(`group G${i} any ${free.splice(0, Math.min(size, free.length)).join(' ')}`);
          free.push(`G${i}`);
        }
        lines.push(`group everyone all ${free.join(' ')}`, 'quorum everyone', '');
        const { quorum } = parseWitnessPolicy(utf8(lines.join('\n')), sha256);
        const names = witnessesOf(quorum!).map(({ name }) => name);
        expect(names.toSorted()).toEqual(vkeys.map((_, i) => `W${i}`));
      }),
      propertyRuns(100),
    );
  },
  PROPERTY_TIMEOUT,
);
