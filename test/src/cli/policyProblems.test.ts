import { describe, expect, test } from '@jest/globals';
import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import { policySchema } from '../../../attestation/policy/policy.ts';
import { policyProblems } from '../../../src/cli/policyProblems.ts';

type Json = Record<string, unknown>;

/** What is wrong with the default policy where the members of its TDX part, or of all, are others. */
function problems(tdx: Json, whole: Json = {}): readonly string[] {
  const policy = JSON.parse(JSON.stringify(DEFAULT_POLICY)) as Json;
  const cpu = policy['cpu'] as Json;
  Object.assign(cpu['tdx'] as Json, tdx);
  Object.assign(policy, whole);
  const value: unknown = JSON.parse(JSON.stringify(policy));
  const result = policySchema.safeParse(value);
  const found = result.success ? [] : policyProblems(result.error.issues, value);
  return found.map(({ member, message }) => `${member} ${message}`);
}

describe('problems of a policy, in words', () => {
  test.each([
    ['a member that is not there', { xfam: undefined }, 'cpu.tdx.xfam is missing: expected "any" or a text'],
    ['another word', { debug: 'no' }, 'cpu.tdx.debug is "no": expected "refused" or "accepted"'],
    ['another kind of value', { rtmr1: 7 }, 'cpu.tdx.rtmr1 is 7: expected "any" or a list'],
    ['a bare digest', { mrTd: ['00'] }, 'cpu.tdx.mrTd.0 is "00": expected an object'],
    [
      'a short digest',
      { mrTd: [{ name: 'a', value: '00' }] },
      'cpu.tdx.mrTd.0.value expected 96 lower-case hex digits',
    ],
    ['an unknown member', { mrtd: [] }, 'cpu.tdx no member is called "mrtd"'],
  ])('%s', (_name, tdx, expected) => {
    expect(problems(tdx)).toEqual([expected]);
  });

  test('a register that no TPM has', () => {
    const { cpu } = JSON.parse(JSON.stringify(DEFAULT_POLICY)) as typeof DEFAULT_POLICY;
    const azure = cpu['azure-snp'];
    if (azure === 'refused') throw new Error('the default policy takes Azure');
    const pcrs = { bank: 'sha256', values: { '24': [] } };
    const broken = { ...cpu, 'azure-snp': { ...azure, tpm: { ...azure.tpm, pcrs } } };
    expect(problems({}, { cpu: broken })).toEqual([
      'cpu.azure-snp.tpm.pcrs.values.24 expected a PCR index of 0 to 23',
    ]);
  });

  test('a platform in a form of its own', () => {
    expect(problems({}, { devices: 'some' })).toEqual(['devices is "some": expected "none" or an object']);
  });

  test('long text is cut', () => {
    expect(problems({ debug: 'x'.repeat(500) })[0]?.length).toBeLessThan(130);
  });
});
