import { describe, expect, test } from '@jest/globals';
import { tdxPolicySchema } from '../../../../attestation/policy/tdx.ts';
import { LAX_TDX } from '../../../support/dcapPolicies.ts';

const accepts = (policy: unknown) => tdxPolicySchema.safeParse(policy).success;

describe('the TDX policy', () => {
  test('is closed: every member is given and no other', () => {
    expect(accepts(LAX_TDX)).toBe(true);
    for (const member of Object.keys(LAX_TDX)) {
      expect(accepts(Object.fromEntries(Object.entries(LAX_TDX).filter(([name]) => name !== member)))).toBe(
        false,
      );
    }
    for (const member of Object.keys(LAX_TDX.attributes)) {
      const attributes = Object.fromEntries(
        Object.entries(LAX_TDX.attributes).filter(([name]) => name !== member),
      );
      expect(accepts({ ...LAX_TDX, attributes })).toBe(false);
    }
    expect(accepts({ ...LAX_TDX, more: 'any' })).toBe(false);
    expect(accepts({ ...LAX_TDX, attributes: { ...LAX_TDX.attributes, debug: 'accepted' } })).toBe(false);
  });

  test('accepts no status that no policy may, and always UpToDate', () => {
    const statuses = (list: readonly string[]) =>
      accepts({ ...LAX_TDX, tcb: { ...LAX_TDX.tcb, statuses: list } });
    expect(statuses(['UpToDate', 'TDRelaunchAdvised'])).toBe(true);
    expect(statuses(['UpToDate', 'Revoked'])).toBe(false);
    expect(statuses(['UpToDate', 'NotSupported'])).toBe(false);
    expect(statuses(['OutOfDate'])).toBe(false);
    expect(statuses([])).toBe(false);
    expect(statuses(['UpToDate', 'UpToDate'])).toBe(false);
  });

  test.each([
    ['a measurement in upper case', { mrTd: [{ name: 'x', value: 'AA'.repeat(48) }] }],
    ['a measurement of 32 bytes', { mrTd: [{ name: 'x', value: 'aa'.repeat(32) }] }],
    ['a mask that is a number', { xfam: 0x602e7 }],
    ['a mask with 0x', { xfam: '0x000000000602e7' }],
    ['an advisory of another form', { tcb: { ...LAX_TDX.tcb, advisories: ['00837'] } }],
    ['days below zero', { tcb: { ...LAX_TDX.tcb, maximumDaysBehind: -1 } }],
    ['an empty list of platforms', { platform: { ppids: [], fmspcs: 'any' } }],
  ])('refuses %s', (_name, changes) => {
    expect(accepts({ ...LAX_TDX, ...changes })).toBe(false);
  });
});
