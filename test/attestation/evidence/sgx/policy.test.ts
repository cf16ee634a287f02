import { describe, expect, test } from '@jest/globals';
import { sgxPolicySchema } from '../../../../attestation/policy/sgx.ts';
import { LAX_SGX } from '../../../support/dcapPolicies.ts';

const accepts = (policy: unknown) => sgxPolicySchema.safeParse(policy).success;

describe('the SGX policy', () => {
  test('is closed: every member is given and no other', () => {
    expect(accepts(LAX_SGX)).toBe(true);
    for (const member of Object.keys(LAX_SGX)) {
      expect(accepts(Object.fromEntries(Object.entries(LAX_SGX).filter(([name]) => name !== member)))).toBe(
        false,
      );
    }
    expect(accepts({ ...LAX_SGX, more: 'any' })).toBe(false);
  });

  test('knows no status of TDX modules', () => {
    const tcb = { ...LAX_SGX.tcb, statuses: ['UpToDate', 'TDRelaunchAdvised'] };
    expect(accepts({ ...LAX_SGX, tcb })).toBe(false);
  });

  test('takes a product or version only together with whose it is', () => {
    const mrSigner = [{ name: 'our key', value: '51'.repeat(32) }];
    for (const changes of [{ isvProdIds: [1] }, { minimumIsvSvn: 1 }]) {
      expect(accepts({ ...LAX_SGX, ...changes })).toBe(false);
      expect(accepts({ ...LAX_SGX, ...changes, mrSigner })).toBe(true);
    }
  });
});
