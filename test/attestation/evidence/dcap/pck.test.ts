import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex } from '../../../../attestation/bytes/bytes.ts';
import { readPckCertificate } from '../../../../attestation/evidence/dcap/pck.ts';
import { parseCertificate } from '../../../../attestation/x509/certificate.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import {
  der,
  derUint,
  FMSPC,
  issueCertificate,
  issuePck,
  issuePckCa,
  mintRoot,
  PLATFORM_PCE_SVN,
  PLATFORM_SVNS,
  PPID,
  sgxExtension,
  sgxField,
  sgxTcb,
  type Issuer,
} from '../../../support/intelStatements.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';
import { loadDcapCases, readPckChain } from './collateralCases.ts';

let ca: Issuer;

beforeAll(async () => {
  ca = await issuePckCa(await mintRoot());
});

async function read(extension: Uint8Array) {
  return readPckCertificate(parseCertificate(await issuePck(ca, extension)));
}

async function codeOf(extension: Uint8Array) {
  const certificate = parseCertificate(await issuePck(ca, extension));
  return refusalOf(() => readPckCertificate(certificate))?.code;
}

const flag = (value: number) => der(0x01, Uint8Array.of(value));
const configuration = (...flags: readonly Uint8Array[]) =>
  sgxField([7], der(0x30, ...flags.map((value, i) => sgxField([7, i + 1], value))));

describe('readPckCertificate', () => {
  test('reads every field', async () => {
    expect(await read(sgxExtension())).toEqual({
      ppid: PPID,
      cpuSvn: '06060202040100050000000000000000',
      tcbComponents: PLATFORM_SVNS,
      pceSvn: PLATFORM_PCE_SVN,
      pceId: '0000',
      fmspc: FMSPC,
      sgxType: 'scalable',
    });
  });

  test('reads the fields of the Platform CA', async () => {
    const more = [
      sgxField([6], der(0x04, new Uint8Array(16).fill(0xab))),
      configuration(flag(0xff), flag(0), flag(0xff)),
    ];
    expect(await read(sgxExtension({ sgxType: 2, more }))).toMatchObject({
      sgxType: 'scalable-with-integrity',
      platformInstanceId: 'ab'.repeat(16),
      configuration: { dynamicPlatform: true, cachedKeys: false, smtEnabled: true },
    });
  });

  test('reads security versions of 255 and of two bytes', async () => {
    const svns = PLATFORM_SVNS.with(0, 255);
    expect(await read(sgxExtension({ svns, pceSvn: 65535 }))).toMatchObject({
      tcbComponents: svns,
      pceSvn: 65535,
    });
  });

  test('refuses a certificate without the extension', async () => {
    const certificate = parseCertificate(
      await issueCertificate(ca, { subject: 'CN=Intel SGX PCK Certificate', serialNumber: '05' }),
    );
    expect(refusalOf(() => readPckCertificate(certificate))?.code).toBe('MALFORMED');
  });

  const required = (skip: number) =>
    [
      sgxField([1], der(0x04, fromHex(PPID))),
      sgxField([2], sgxTcb()),
      sgxField([3], der(0x04, new Uint8Array(2))),
      sgxField([4], der(0x04, fromHex(FMSPC))),
      sgxField([5], der(0x0a, Uint8Array.of(1))),
    ].filter((_, i) => i + 1 !== skip);

  test.each([1, 2, 3, 4, 5])('refuses the extension without field %i', async (arc) => {
    expect(await codeOf(der(0x30, ...required(0)))).toBeUndefined();
    expect(await codeOf(der(0x30, ...required(arc)))).toBe('MALFORMED');
  });

  test.each([1, 2, 3, 4, 5])('refuses field %i twice', async (arc) => {
    expect(await codeOf(der(0x30, ...required(0), required(0)[arc - 1]!))).toBe('MALFORMED');
  });

  test.each<readonly [string, Uint8Array]>([
    ['an unknown field', sgxExtension({ more: [sgxField([8], flag(0))] })],
    ['a field below a known one', sgxExtension({ more: [sgxField([6, 1], flag(0))] })],
    ['an unknown SGX type', sgxExtension({ sgxType: 3 })],
  ])('refuses as UNSUPPORTED: %s', async (_name, extension) => {
    expect(await codeOf(extension)).toBe('UNSUPPORTED');
  });

  test.each<readonly [string, Uint8Array]>([
    ['an FMSPC of five bytes', sgxExtension({ fmspc: new Uint8Array(5) })],
    ['a PCE id of three bytes', sgxExtension({ pceId: new Uint8Array(3) })],
    ['a PPID of fifteen bytes', sgxExtension({ ppid: new Uint8Array(15) })],
    ['fifteen components', sgxExtension({ svns: PLATFORM_SVNS.slice(1) })],
    ['a component above 255', sgxExtension({ svns: PLATFORM_SVNS.with(3, 256) })],
    ['a PCE SVN above 65535', sgxExtension({ pceSvn: 0x10000 })],
    ['a BOOLEAN of another value than 0 and 255', sgxExtension({ more: [configuration(flag(1))] })],
    ['bytes after the extension', Uint8Array.of(...sgxExtension(), 0)],
    ['a field with a third element', sgxExtension({ more: [der(0x30, sgxField([6], flag(0)), flag(0))] })],
    ['no extension at all', new Uint8Array()],
  ])('refuses as MALFORMED: %s', async (_name, extension) => {
    expect(await codeOf(extension)).toBe('MALFORMED');
  });

  test('refuses a component written with a leading zero byte that it does not need', async () => {
    const padded = der(0x30, sgxField([2, 1], der(0x02, Uint8Array.of(0, 6))));
    expect(await codeOf(der(0x30, ...required(2), sgxField([2], padded)))).toBe('MALFORMED');
    expect(derUint(6)).toEqual(Uint8Array.of(2, 1, 6));
  });

  test('a changed extension is refused or read without harm', async () => {
    const certificate = parseCertificate(await issuePck(ca));
    const extension = sgxExtension();
    const change = fc.tuple(fc.nat(extension.length - 1), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(change, ([offset, mask]) => {
        const value = extension.slice();
        value[offset] = value[offset]! ^ mask;
        const extensions = new Map([...certificate.extensions].map(([oid, known]) => [oid, { ...known }]));
        extensions.set('1.2.840.113741.1.13.1', { critical: false, value });
        const changed = Object.create(certificate, {
          extensions: { value: extensions },
        }) as typeof certificate;
        const before = readPckCertificate(certificate);
        const refusal = refusalOf(() => {
          expect(readPckCertificate(changed)).not.toEqual(before);
        });
        expect([undefined, 'MALFORMED', 'UNSUPPORTED']).toContain(refusal?.code);
      }),
      propertyRuns(500),
    );
  });
});

for (const folder of ['evidence/cpu/intel', 'evidence/cpu/azure']) {
  describeCorpus(`PCK certificates of ${folder}`, folder, (root) => {
    for (const item of loadDcapCases(root).filter(({ facts }) => facts.pck)) {
      test(`${item.id}: states what the case states`, () => {
        const identity = readPckCertificate(readPckChain(item).pck);
        const boolean = (value: boolean | undefined) => (value === undefined ? null : value ? 'ff' : '00');
        expect({
          fmspc: identity.fmspc,
          pceId: identity.pceId,
          pceSvn: identity.pceSvn,
          tcbComps: identity.tcbComponents,
          cpuSvn: identity.cpuSvn,
          ppid: identity.ppid,
          sgxType: ['standard', 'scalable', 'scalable-with-integrity'].indexOf(identity.sgxType),
          smt: boolean(identity.configuration?.smtEnabled),
          dyn: boolean(identity.configuration?.dynamicPlatform),
          cached: boolean(identity.configuration?.cachedKeys),
        }).toEqual({
          ...Object.fromEntries(
            Object.entries(item.facts.pck!).filter(
              ([name]) => !['serialHex', 'issuer', 'notBefore', 'notAfter'].includes(name),
            ),
          ),
        });
      });
    }
  });
}
