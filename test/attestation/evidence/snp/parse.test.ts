import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Refusal } from '../../../../attestation/errors.ts';
import { parseSnpReport } from '../../../../attestation/evidence/snp/parse.ts';
import { productOfCpuid, productOfName, splitTcb } from '../../../../attestation/evidence/snp/product.ts';
import { genoaReport } from '../../../support/snpAuthority.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';

function edited(edit: (view: DataView) => void): Uint8Array {
  const report = genoaReport();
  edit(new DataView(report.buffer));
  return report;
}

const code = (bytes: Uint8Array) => refusalOf(() => parseSnpReport(bytes))?.code;

describe('parseSnpReport', () => {
  test('reads fields at their offsets', () => {
    const report = parseSnpReport(
      edited((view) => {
        view.setUint32(0x004, 7, true);
        view.setBigUint64(0x008, 0x3ff_0a1fn | (1n << 17n), true);
        view.setUint32(0x030, 2, true);
        view.setBigUint64(0x040, 0xa5n, true);
        view.setUint32(0x048, 0b0_0001, true);
        view.setUint8(0x1e8, 49);
        view.setUint8(0x1e9, 55);
        view.setUint8(0x1ea, 1);
        view.setBigUint64(0x1f8, 3n, true);
        view.setUint8(0x2a0, 0x11);
        view.setUint8(0x2e8 + 47, 0x22);
      }),
    );
    expect(report).toMatchObject({
      version: 5,
      guestSvn: 7,
      vmpl: 2,
      policy: {
        abiMajor: 10,
        abiMinor: 31,
        smt: true,
        migrationAgent: true,
        debug: true,
        pageSwapDisabled: true,
      },
      platformInfo: { smtEnabled: true, tsmeEnabled: false, eccEnabled: true, tioEnabled: true },
      keyInfo: { authorKeyEnabled: true, maskChipKey: false, signingKey: 'vcek' },
      cpuid: { family: 0x19, model: 0x11, stepping: 1 },
      currentVersion: { major: 1, minor: 55, build: 49 },
      launchMitigations: 3n,
      currentMitigations: 0n,
    });
    expect(report.signedBytes).toHaveLength(0x2a0);
    expect(report.signature[47]).toBe(0x11);
    expect(report.signature[48]).toBe(0x22);
  });

  test('version 2 has no CPUID and version 3 no mitigations', () => {
    const second = edited((view) => {
      view.setUint32(0, 2, true);
      for (const offset of [0x188, 0x189, 0x18a]) view.setUint8(offset, 0);
    });
    expect(parseSnpReport(second).cpuid).toBeUndefined();
    const third = parseSnpReport(
      edited((view) => {
        view.setUint32(0, 3, true);
      }),
    );
    expect(third.cpuid).toBeDefined();
    expect(third.launchMitigations).toBeUndefined();
  });

  test.each([
    ['empty', new Uint8Array(), 'MALFORMED'],
    ['cut by one byte', genoaReport().subarray(0, 1183), 'MALFORMED'],
    ['one byte more', new Uint8Array(1185), 'MALFORMED'],
    [
      'version 1',
      edited((v) => {
        v.setUint32(0, 1, true);
      }),
      'UNSUPPORTED',
    ],
    [
      'version 6',
      edited((v) => {
        v.setUint32(0, 6, true);
      }),
      'UNSUPPORTED',
    ],
    [
      'CPUID in version 2',
      edited((v) => {
        v.setUint32(0, 2, true);
      }),
      'MALFORMED',
    ],
    [
      'policy bit 17 cleared',
      edited((v) => {
        v.setBigUint64(8, 0x10000n, true);
      }),
      'MALFORMED',
    ],
    [
      'policy bit 26 set',
      edited((v) => {
        v.setBigUint64(8, 0x4030000n, true);
      }),
      'UNSUPPORTED',
    ],
    [
      'policy bit 63 set',
      edited((v) => {
        v.setUint8(0x0f, 0x80);
      }),
      'UNSUPPORTED',
    ],
    [
      'signature algorithm 0',
      edited((v) => {
        v.setUint32(0x34, 0, true);
      }),
      'UNSUPPORTED',
    ],
    [
      'signature algorithm 2',
      edited((v) => {
        v.setUint32(0x34, 2, true);
      }),
      'UNSUPPORTED',
    ],
    [
      'signing key 2',
      edited((v) => {
        v.setUint32(0x48, 2 << 2, true);
      }),
      'UNSUPPORTED',
    ],
    [
      'key information bit 31',
      edited((v) => {
        v.setUint8(0x4b, 0x80);
      }),
      'UNSUPPORTED',
    ],
    [
      'reserved byte 0x4c set',
      edited((v) => {
        v.setUint8(0x4c, 1);
      }),
      'MALFORMED',
    ],
    [
      'reserved byte 0x19f set',
      edited((v) => {
        v.setUint8(0x19f, 1);
      }),
      'MALFORMED',
    ],
    [
      'reserved byte 0x1eb set',
      edited((v) => {
        v.setUint8(0x1eb, 1);
      }),
      'MALFORMED',
    ],
    [
      'reserved byte 0x29f set',
      edited((v) => {
        v.setUint8(0x29f, 1);
      }),
      'MALFORMED',
    ],
    [
      'mitigations in version 4',
      edited((v) => {
        v.setUint32(0, 4, true);
        v.setUint8(0x1f8, 1);
      }),
      'MALFORMED',
    ],
    [
      'R with a 49th byte',
      edited((v) => {
        v.setUint8(0x2a0 + 48, 1);
      }),
      'MALFORMED',
    ],
    [
      'S with a 72nd byte',
      edited((v) => {
        v.setUint8(0x2e8 + 71, 1);
      }),
      'MALFORMED',
    ],
    [
      'a byte after the signature',
      edited((v) => {
        v.setUint8(0x330, 1);
      }),
      'MALFORMED',
    ],
    [
      'the last byte set',
      edited((v) => {
        v.setUint8(0x49f, 1);
      }),
      'MALFORMED',
    ],
  ])('refuses a report with %s', (_corruption, bytes, expected) => {
    expect(code(bytes)).toBe(expected);
  });

  test('throws nothing but refusals', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1184, maxLength: 1184 }),
        fc.integer({ min: 0, max: 7 }),
        (bytes, version) => {
          bytes.set([version, 0, 0, 0]);
          expect(refusalOf(() => parseSnpReport(bytes))).toBeInstanceOf(Refusal);
        },
      ),
      propertyRuns(200),
    );
  });
});

describe('products', () => {
  test.each([
    [0x19, 0x00, 'milan'],
    [0x19, 0x0f, 'milan'],
    [0x19, 0x10, 'genoa'],
    [0x19, 0x1f, 'genoa'],
    [0x19, 0xa0, 'genoa'],
    [0x19, 0xaf, 'genoa'],
    [0x1a, 0x02, 'turin'],
  ])('CPU family %i model %i is %s', (family, model, product) => {
    expect(productOfCpuid({ family, model, stepping: 0 })).toBe(product);
  });

  test.each([
    [0x17, 0x31],
    [0x19, 0x20],
    [0x19, 0xb0],
    [0x1b, 0x00],
  ])('CPU family %i model %i has no product', (family, model) => {
    expect(refusalOf(() => productOfCpuid({ family, model, stepping: 0 }))?.code).toBe('UNSUPPORTED');
  });

  test('a product name may carry a stepping and nothing else', () => {
    expect(productOfName('Milan-B0')).toBe('milan');
    expect(productOfName('Turin')).toBe('turin');
    for (const name of ['', 'milan', 'Milan-', 'Milan-B0x', 'Genoa ', 'Venice', 'constructor']) {
      expect(refusalOf(() => productOfName(name))?.code).toBe('UNSUPPORTED');
    }
  });

  test('a TCB is split by the layout of its product', () => {
    const raw = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    expect(splitTcb(raw, 'genoa')).toEqual({ fmc: undefined, bootloader: 1, tee: 2, snp: 7, microcode: 8 });
    expect(splitTcb(raw, 'turin')).toEqual({ fmc: 1, bootloader: 2, tee: 3, snp: 4, microcode: 8 });
  });
});
