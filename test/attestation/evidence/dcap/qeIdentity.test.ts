import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex } from '../../../../attestation/bytes/bytes.ts';
import { parseQeIdentity, parseQeIdentityHead } from '../../../../attestation/evidence/dcap/qeIdentity.ts';
import { parseSignedJson } from '../../../../attestation/evidence/dcap/signedJson.ts';
import { checkQeIdentity } from '../../../../attestation/evidence/dcap/tcbLevel.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { isvLevel, qeIdentity, QE_MRSIGNER, without, type Json } from '../../../support/intelStatements.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';
import { loadDcapCases, readQeIdentity } from './collateralCases.ts';

const codeOf = (value: unknown) => refusalOf(() => parseQeIdentity(value))?.code;

describe('parseQeIdentity', () => {
  test('reads version 2', () => {
    expect(parseQeIdentity(qeIdentity())).toEqual({
      id: 'TD_QE',
      issueDate: Date.parse('2026-06-10T08:00:00Z'),
      nextUpdate: Date.parse('2026-07-10T08:00:00Z'),
      tcbEvaluationDataNumber: 20,
      miscSelect: new Uint8Array(4),
      miscSelectMask: new Uint8Array(4).fill(0xff),
      attributes: fromHex('11000000000000000000000000000000'),
      attributesMask: fromHex('fbffffffffffffff0000000000000000'),
      mrSigner: fromHex(QE_MRSIGNER),
      isvProdId: 2,
      tcbLevels: [
        { isvSvn: 4, status: 'UpToDate', tcbDate: Date.parse('2025-05-14T00:00:00Z'), advisoryIds: [] },
        { isvSvn: 2, status: 'OutOfDate', tcbDate: Date.parse('2023-08-09T00:00:00Z'), advisoryIds: [] },
      ],
    });
  });

  test('puts the highest version first, whatever the order', () => {
    const tcbLevels = [isvLevel(2, 'Revoked'), isvLevel(8, 'UpToDate'), isvLevel(5, 'OutOfDate')];
    expect(parseQeIdentity(qeIdentity({ tcbLevels })).tcbLevels.map(({ isvSvn }) => isvSvn)).toEqual([
      8, 5, 2,
    ]);
  });

  test.each<readonly [string, Json]>([
    ['version 1', qeIdentity({ version: 1 })],
    ['an unknown enclave', qeIdentity({ id: 'QE2' })],
    ['an unknown member', qeIdentity({ mrenclave: '00' })],
    ['an unknown status', qeIdentity({ tcbLevels: [isvLevel(1, 'SWHardeningNeeded')] })],
  ])('refuses as UNSUPPORTED: %s', (_name, value) => {
    expect(codeOf(value)).toBe('UNSUPPORTED');
  });

  test.each<readonly [string, unknown]>([
    ['no object', null],
    ['no MRSIGNER', without(qeIdentity(), 'mrsigner')],
    ['an MRSIGNER of no bytes', qeIdentity({ mrsigner: '' })],
    ['a mask that is too short', qeIdentity({ attributesMask: 'FB' })],
    ['no levels', qeIdentity({ tcbLevels: [] })],
    ['a level twice', qeIdentity({ tcbLevels: [isvLevel(1, 'UpToDate'), isvLevel(1, 'Revoked')] })],
    ['a version above 65535', qeIdentity({ tcbLevels: [isvLevel(65536, 'UpToDate')] })],
  ])('refuses as MALFORMED: %s', (_name, value) => {
    expect(codeOf(value)).toBe('MALFORMED');
  });

  test('whatever is put in place of a member, only coded refusals come', () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(qeIdentity())), fc.jsonValue(), (name, value) => {
        expect([undefined, 'MALFORMED', 'UNSUPPORTED']).toContain(codeOf(qeIdentity({ [name]: value })));
      }),
      propertyRuns(1000),
    );
  });

  test('the head says for what it is, and nothing of its levels', () => {
    expect(parseQeIdentityHead(qeIdentity({ tcbLevels: 'unread' }))).toMatchObject({ id: 'TD_QE' });
  });
});

describe('checkQeIdentity', () => {
  const identity = parseQeIdentity(qeIdentity());
  const report = {
    miscSelect: 0,
    attributes: fromHex('1500000000000000e700000000000000'),
    mrSigner: fromHex(QE_MRSIGNER),
    isvProdId: 2,
  };
  const code = (changes: Partial<typeof report>) =>
    refusalOf(() => checkQeIdentity({ ...report, ...changes }, identity))?.code;

  test('accepts the enclave that Intel names; bits outside the masks may differ', () => {
    expect(code({})).toBeUndefined();
    expect(code({ attributes: fromHex('1100000000000000ffffffffffffffff') })).toBeUndefined();
  });

  test.each<readonly [string, Partial<typeof report>]>([
    ['MISCSELECT', { miscSelect: 1 }],
    ['the highest bit of MISCSELECT', { miscSelect: 0x80000000 }],
    ['the debug bit of ATTRIBUTES', { attributes: fromHex('1700000000000000e700000000000000') }],
    ['no provisioning key bit', { attributes: fromHex('0500000000000000e700000000000000') }],
    ['ATTRIBUTES of another length', { attributes: fromHex('11') }],
    ['MRSIGNER', { mrSigner: fromHex(`00${QE_MRSIGNER.slice(2)}`) }],
    ['no MRSIGNER', { mrSigner: new Uint8Array() }],
    ['ISVPRODID', { isvProdId: 1 }],
  ])('refuses another %s', (_name, changes) => {
    expect(code(changes)).toBe('QE_IDENTITY_MISMATCH');
  });

  test('compares MISCSELECT as it lies in memory, little endian', () => {
    const misc = { miscselect: '01000000', miscselectMask: 'FF000000' };
    const other = parseQeIdentity(qeIdentity(misc));
    expect(refusalOf(() => checkQeIdentity({ ...report, miscSelect: 1 }, other))).toBeUndefined();
    expect(refusalOf(() => checkQeIdentity({ ...report, miscSelect: 0x01000000 }, other))?.code).toBe(
      'QE_IDENTITY_MISMATCH',
    );
  });
});

for (const folder of ['evidence/cpu/intel', 'evidence/cpu/azure']) {
  describeCorpus(`QE identities of ${folder}`, folder, (root) => {
    for (const item of loadDcapCases(root)) {
      test(`${item.id}: is read and is of the enclave that the quote names`, () => {
        const identity = parseQeIdentity(parseSignedJson(readQeIdentity(item).body, 'enclaveIdentity').value);
        const { qe, tcb } = item.facts;
        const evaluation = tcb?.tcbEvaluationDataNumber?.qeIdentity;
        if (evaluation !== undefined) expect(identity.tcbEvaluationDataNumber).toBe(evaluation);
        if (!qe) return;
        const { isvProdId } = qe;
        const miscSelect = new DataView(fromHex(qe.miscSelect).buffer).getUint32(0, true);
        const attributes = fromHex(qe.attributes);
        checkQeIdentity({ miscSelect, attributes, mrSigner: fromHex(qe.mrSigner), isvProdId }, identity);
      });
    }
  });
}
