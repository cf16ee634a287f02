import { describe, expect, test } from '@jest/globals';
import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import { parsePolicy } from '../../../attestation/policy/policy.ts';
import { refusalOf } from '../../support/refusal.ts';
import { mintWitness } from '../../support/witnessedBundle.ts';

const [one, two] = [mintWitness('one.example'), mintWitness('two.example')];
const authority = { name: 'a', value: '00'.repeat(32) };

function codeOf(changes: object): string | undefined {
  return refusalOf(() => parsePolicy({ ...DEFAULT_POLICY, ...changes }))?.code;
}

describe('members of time', () => {
  test.each([
    [{ witnesses: 'none', timestamps: 'none' }],
    [{ witnesses: { quorum: 1, keys: [one.text] } }],
    [{ witnesses: { quorum: 2, keys: [one.text, two.text] } }],
    [{ timestamps: { authorities: [], required: true } }],
    [{ timestamps: { authorities: [authority], required: false } }],
  ])('take %j', (changes) => {
    expect(codeOf(changes)).toBeUndefined();
  });

  const sameKey = one.text.replace(/^[^+]+\+[0-9a-f]{8}/, 'other.example+00000000');
  test.each([
    ['no timestamps member', { timestamps: undefined }],
    ['no witnesses member', { witnesses: undefined }],
    ['a quorum of none', { witnesses: { quorum: 0, keys: [one.text] } }],
    ['a quorum above the keys', { witnesses: { quorum: 2, keys: [one.text] } }],
    ['no keys', { witnesses: { quorum: 1, keys: [] } }],
    ['one key under two names', { witnesses: { quorum: 1, keys: [one.text, sameKey] } }],
    ['what is no vkey', { witnesses: { quorum: 1, keys: ['one.example'] } }],
    [
      'a vkey of a log',
      { witnesses: { quorum: 1, keys: ['a+00000000+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB'] } },
    ],
    ['a further member of witnesses', { witnesses: { quorum: 1, keys: [one.text], any: true } }],
    ['authorities that say not whether they are required', { timestamps: { authorities: [authority] } }],
    [
      'one authority twice',
      { timestamps: { authorities: [authority, { ...authority, name: 'b' }], required: true } },
    ],
    [
      'an authority by another hash',
      { timestamps: { authorities: [{ name: 'a', value: '00' }], required: true } },
    ],
  ])('refuse %s', (_, changes) => {
    expect(codeOf(changes)).toBe('POLICY_INVALID');
  });
});
