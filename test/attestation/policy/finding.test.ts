import { describe, expect, test } from '@jest/globals';
import {
  conclude,
  judgeDebugBit,
  judgeReference,
  kept,
  violated,
  waived,
} from '../../../attestation/policy/finding.ts';

const ID = 'cpu.measurement';
const SEEN = Uint8Array.of(0xab, 0xcd);
const RIGHT = { name: 'release 1', value: 'abcd' };

describe('several rules come to one check', () => {
  test('which passes where one is kept, with every reason once', () => {
    const findings = [kept('as it should be'), waived('whatever it is'), kept('as it should be')];
    expect(conclude(ID, 'cpu', findings)).toMatchObject({
      subject: 'cpu',
      result: 'pass',
      code: 'OK',
      reason: 'as it should be; whatever it is',
    });
  });

  test('which is skipped where all are waived, or where those kept are not enough', () => {
    expect(conclude(ID, 'cpu', [waived('whatever it is')])).toMatchObject({
      result: 'skip',
      code: 'NOT_REQUIRED',
    });
    expect(conclude(ID, 'cpu', [kept('one of two')], false)).toMatchObject({ result: 'skip' });
  });

  test('which fails with the code of what speaks against the evidence, before what is only unknown', () => {
    const findings = [
      violated('REFERENCE_VALUES_MISSING', 'unknown'),
      kept('good'),
      violated('TCB_OUT_OF_DATE', 'old'),
      violated('MEASUREMENT_MISMATCH', 'other'),
    ];
    expect(conclude(ID, 'cpu', findings, true)).toMatchObject({
      result: 'fail',
      code: 'TCB_OUT_OF_DATE',
      reason: 'unknown; old; other',
    });
    expect(conclude(ID, 'cpu', findings.slice(0, 2))).toMatchObject({ code: 'REFERENCE_VALUES_MISSING' });
  });
});

describe('a measured value', () => {
  test('is kept where it is named, and waived where the policy accepts any', () => {
    expect(judgeReference('M', SEEN, [RIGHT])).toEqual(kept('M abcd is release 1'));
    expect(judgeReference('M', SEEN, 'any')).toEqual(waived('M abcd: the policy accepts any'));
  });

  test('is refused beside the nearest one, under the code of the caller', () => {
    const others = [
      { name: 'far', value: '1234' },
      { name: 'near', value: 'abce' },
    ];
    const reason = 'M is abcd; nearest of 2 is near: abce';
    expect(judgeReference('M', SEEN, others)).toEqual(violated('MEASUREMENT_MISMATCH', reason));
    expect(judgeReference('M', SEEN, others, 'UNTRUSTED_KEY')).toEqual(violated('UNTRUSTED_KEY', reason));
  });

  test('that nobody named is not judged', () => {
    const reason = 'no reference value for M abcd';
    expect(judgeReference('M', SEEN, [], 'UNTRUSTED_KEY')).toEqual(
      violated('REFERENCE_VALUES_MISSING', reason),
    );
  });
});

test.each([
  [false, 'refused', 'pass', 'OK', 'bit 1 is 0: debugging is off'],
  [false, 'accepted', 'pass', 'OK', 'bit 1 is 0: debugging is off'],
  [true, 'refused', 'fail', 'DEBUG_ENABLED', 'bit 1 is 1: debugging is on'],
  [true, 'accepted', 'skip', 'NOT_REQUIRED', 'bit 1 is 1: debugging is on, which the policy accepts'],
] as const)('a debug bit of %p under «%s» is a %s', (set, accepted, result, code, reason) => {
  expect(judgeDebugBit('bit 1', set, accepted)).toMatchObject({ id: 'cpu.debug', result, code, reason });
});
