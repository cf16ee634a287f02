import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import { policyDigest } from '../../../attestation/policy/digest.ts';
import type { NvidiaPolicy } from '../../../attestation/policy/nvidia.ts';
import { parsePolicy, policySchema, type Policy } from '../../../attestation/policy/policy.ts';
import { refusalOf } from '../../support/refusal.ts';

const { devices } = DEFAULT_POLICY;
if (devices === 'none') throw new TypeError('the published policy takes devices');

function policyOf(changes: Partial<Record<keyof NvidiaPolicy, unknown>>): unknown {
  return { ...DEFAULT_POLICY, devices: { ...(devices as object), nvidia: { ...nvidia, ...changes } } };
}
const { nvidia } = devices;

const VALUE = 'ab'.repeat(48);
const valuesOf = (indices: readonly number[]) =>
  Object.fromEntries(indices.map((index) => [String(index), [VALUE]]));
const span = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
const FIRMWARE = [...span(0, 6), ...span(8, 12)];
const DRIVER = [7, ...span(21, 34), ...span(36, 40)];
const SET = {
  name: 'H200 of our fleet',
  kind: 'gpu',
  chip: 'GH100',
  driverVersion: '570.124.06',
  vbiosVersion: '96.00.BC.00.02',
  values: valuesOf([...FIRMWARE, ...DRIVER]),
};
const SWITCH = {
  name: 'LS10',
  kind: 'switch',
  chip: 'LS10',
  vbiosVersion: '96.10.73.00.01',
  values: valuesOf(span(0, 30)),
};

describe('the policy of NVIDIA devices', () => {
  test.each<[string, Partial<Record<keyof NvidiaPolicy, unknown>>]>([
    ['pinned values of a GPU and of a switch', { pinnedMeasurements: [SET, SWITCH] }],
    [
      'pinned values of a VBIOS',
      { pinnedMeasurements: [{ ...SET, driverVersion: 'published', values: valuesOf(FIRMWARE) }] },
    ],
    [
      'pinned values of a chip whose manifests nobody has seen',
      { pinnedMeasurements: [{ ...SET, chip: 'GB20X', values: valuesOf([1]) }] },
    ],
    ['a minimum driver for each chip', { minimumDriver: [{ chip: 'GH100', version: '550.90.07' }] }],
    ['a VBIOS whatever the board', { minimumVbios: [{ chip: 'LS10', version: '96.10.55.00' }] }],
    [
      'revocation',
      {
        revocation: {
          device: 'required',
          references: 'when-present',
          hold: 'refused',
          toleranceSeconds: 300,
        },
      },
    ],
  ])('%s', (_, changes) => {
    const policy = parsePolicy(policyOf(changes));
    expect(policyDigest(policy, nodeCrypto)).not.toEqual(policyDigest(DEFAULT_POLICY, nodeCrypto));
  });

  test.each<[string, Partial<Record<keyof NvidiaPolicy, unknown>>]>([
    ['no chip', { chips: [] }],
    ['an unknown chip', { chips: ['GR100'] }],
    ['opaque data of a version that does not exist', { minimumOpaqueVersion: 2 }],
    ['a topology that does not exist', { topology: 'when-present' }],
    ['a driver version that is no version', { minimumDriver: '550' }],
    ['a minimum driver of a switch', { minimumDriver: [{ chip: 'LS10', version: '550.90' }] }],
    [
      'two minimums of one chip',
      {
        minimumVbios: [
          { chip: 'GH100', version: '96.00.74.00' },
          { chip: 'GH100', version: '96.00.9F.00' },
        ],
      },
    ],
    ['a VBIOS in lower case', { minimumVbios: [{ chip: 'GH100', version: '96.00.9f.00.04' }] }],
    ['a member that is absent', { pinnedMeasurements: undefined }],
    ['two sets of one name', { pinnedMeasurements: [SET, SET] }],
    ['a set without a name', { pinnedMeasurements: [{ ...SET, name: '' }] }],
    ['a set without a driver', { pinnedMeasurements: [{ ...SET, driverVersion: undefined }] }],
    ['a set of a GPU for a switch', { pinnedMeasurements: [{ ...SET, chip: 'LS10' }] }],
    ['a set of a switch with a driver', { pinnedMeasurements: [{ ...SWITCH, driverVersion: '570.10' }] }],
    ['a set without values', { pinnedMeasurements: [{ ...SET, chip: 'GB20X', values: {} }] }],
    ['an index without values', { pinnedMeasurements: [{ ...SET, values: { ...SET.values, '1': [] } }] }],
    [
      'a value of 32 bytes',
      { pinnedMeasurements: [{ ...SET, values: { ...SET.values, '1': ['ab'.repeat(32)] } }] },
    ],
    [
      'an index that is no number',
      { pinnedMeasurements: [{ ...SET, values: { ...SET.values, '01': [VALUE] } }] },
    ],
    [
      'a tolerance of more than a week',
      {
        revocation: {
          device: 'required',
          references: 'required',
          hold: 'refused',
          toleranceSeconds: 604_801,
        },
      },
    ],
    [
      'revocation of devices alone',
      { revocation: { device: 'required', hold: 'refused', toleranceSeconds: 0 } },
    ],
  ])('refuses %s', (_, changes) => {
    expect(refusalOf(() => parsePolicy(policyOf(changes)))?.code).toBe('POLICY_INVALID');
  });

  test.each([
    ['a GPU', { ...SET, values: valuesOf([...FIRMWARE.slice(1), ...DRIVER.slice(0, -1)]) }, /index 0, 40/],
    ['a VBIOS', { ...SET, driverVersion: 'published', values: valuesOf(DRIVER) }, /index 0-6, 8-12/],
    ['a switch', { ...SWITCH, values: valuesOf(span(0, 29)) }, /index 30/],
  ])('names the values of %s that are wanting', (_, set, pattern) => {
    const refusal = refusalOf(() => parsePolicy(policyOf({ pinnedMeasurements: [set] })));
    expect(refusal?.code).toBe('POLICY_INVALID');
    expect(refusal?.message).toMatch(pattern);
  });

  test('has a JSON Schema, and the default keeps its own', () => {
    expect(JSON.stringify(z.toJSONSchema(policySchema))).toContain('pinnedMeasurements');
    const text = JSON.stringify(DEFAULT_POLICY);
    expect(parsePolicy(JSON.parse(text) as Policy)).toEqual(DEFAULT_POLICY);
  });
});
