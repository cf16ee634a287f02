import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import type { EvidenceDocument } from '../../../attestation/evidence/document.ts';
import { encodeCheckpoint } from '../../../attestation/log/checkpoint.ts';
import { formatNote } from '../../../attestation/log/note.ts';
import type { Policy } from '../../../attestation/policy/policy.ts';
import { appraiseTimeAnchor } from '../../../attestation/time/lower.ts';
import { mintTimestampAuthority, timestampAuthority } from '../../support/timestampAuthority.ts';
import { mintWitness } from '../../support/witnessedBundle.ts';
import { contextOf, NOW, policyOf } from '../../support/world.ts';

const HOUR = 3_600_000;
const authority = timestampAuthority();
const [one, two] = [mintWitness('one.example'), mintWitness('two.example')];
// An origin whose first byte is that of a DER SEQUENCE.
const TEXT = encodeCheckpoint({ origin: '0.example/log', size: 3, root: new Uint8Array(32), extensions: [] });
const policy = policyOf({
  witnesses: { quorum: 2, keys: [one.text, two.text] },
  timestamps: { authorities: [{ name: 'minted', value: authority.anchor.spkiSha256 }], required: false },
});

function judge(timeAnchor: Uint8Array | undefined, changes: Partial<Policy> = {}) {
  const document = { timeAnchor } as EvidenceDocument;
  return appraiseTimeAnchor(document, 'cited document', contextOf({ policy: { ...policy, ...changes } }));
}

function cosigned(...times: readonly [first: number, second?: number]): Uint8Array {
  const witnesses = [one, two];
  const lines = times.flatMap((time, i) => (time === undefined ? [] : [witnesses[i]!.cosign(TEXT, time)]));
  return formatNote(TEXT, lines);
}

describe('the time after which a document was made', () => {
  test('is that of a token in it, at its earliest', async () => {
    const { check, lower } = await judge(authority.token(utf8('any head'), NOW - HOUR));
    expect(check).toMatchObject({ id: 'document.lower', subject: 'cited document', result: 'pass' });
    expect(lower?.time).toBe(NOW - HOUR - 1000);
  });

  test('is that of cosignatures in it, which no single witness can move', async () => {
    const { check, lower } = await judge(cosigned(NOW - HOUR, NOW));
    expect(check.result).toBe('pass');
    expect(lower?.time).toBe(NOW - HOUR);
  });

  test.each([
    ['no anchor', undefined, {}],
    ['a token of a stranger', mintTimestampAuthority().token(utf8('any'), NOW), {}],
    ['a token where none is trusted', authority.token(utf8('any'), NOW), { timestamps: 'none' }],
    ['a note below the quorum', cosigned(NOW), {}],
    ['a note where no witness is trusted', cosigned(NOW, NOW), { witnesses: 'none' }],
  ] as const)('is not known with %s', async (_, anchor, changes) => {
    const { check, lower } = await judge(anchor, changes);
    expect(check).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
    expect(lower).toBeUndefined();
  });

  test('refuses a trusted token that does not verify, and what is neither token nor note', async () => {
    const token = authority.token(utf8('any'), NOW);
    const forged = token.with(-1, token.at(-1)! ^ 1);
    expect((await judge(forged)).check.code).toBe('SIGNATURE_INVALID');
    expect((await judge(utf8('neither'))).check.code).toBe('MALFORMED');
  });

  test('contradicts a judgement for an earlier time', async () => {
    const { check, lower } = await judge(authority.token(utf8('any'), NOW + HOUR));
    expect(check).toMatchObject({ result: 'fail', code: 'TIME_CONTRADICTION' });
    expect(lower).toBeUndefined();
  });
});
