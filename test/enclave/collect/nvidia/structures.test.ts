import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { equalBytes } from '../../../../attestation/bytes/bytes.ts';
import { CollectError } from '../../../../enclave/collect/errors.ts';
import {
  CERTIFICATE_BYTES,
  filled,
  readCertificateChain,
  readReport,
  readSettings,
  readState,
  readText,
  REPORT_STRUCTURE_BYTES,
  reportRequest,
  settingsRequest,
} from '../../../../enclave/collect/nvidia/structures.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { u32s } from '../../../support/nvidiaDriver.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

const refusal = (step: () => unknown) => collectFailure(() => Promise.resolve().then(step));

describe('structures of NVML', () => {
  test('state: environment, feature, DevTools', () => {
    expect(readState(u32s(2, 1, 0))).toEqual({ environment: 2, ccFeature: 1, devToolsMode: 0 });
  });

  test('settings: the version is written before the call and must come back', async () => {
    expect(settingsRequest()).toEqual(u32s(0x1000014, 0, 0, 0, 0));
    const settings = { environment: 2, ccFeature: 1, devToolsMode: 0, multiGpuMode: 2 };
    expect(readSettings(u32s(0x1000014, 2, 1, 0, 2))).toEqual(settings);
    expect(await refusal(() => readSettings(u32s(0x2000018, 2, 1, 0, 2)))).toBe('EVIDENCE_MALFORMED');
  });

  test('the nonce lies at byte 12 of a request that is zero otherwise', () => {
    const request = reportRequest(new Uint8Array(32).fill(0xff));
    expect(request).toHaveLength(REPORT_STRUCTURE_BYTES);
    expect(request.reduce((sum, byte) => sum + byte, 0)).toBe(32 * 0xff);
    expect(request.subarray(12, 44)).toEqual(new Uint8Array(32).fill(0xff));
    expect(() => reportRequest(new Uint8Array(33))).toThrow(RangeError);
  });

  test('the report begins at byte 44, the attestation chain at byte 4104', () => {
    const report = new Uint8Array(REPORT_STRUCTURE_BYTES);
    report.set(u32s(3), 4);
    report.set([1, 2, 3, 4], 44);
    expect(readReport(report)).toEqual(Uint8Array.of(1, 2, 3));
    const certificate = new Uint8Array(CERTIFICATE_BYTES);
    certificate.set(u32s(9, 2), 0);
    certificate.set([5, 6, 7], 4104);
    expect(readCertificateChain(certificate)).toEqual(Uint8Array.of(5, 6));
  });

  test('what is read is a copy: a late call cannot change it', () => {
    const array = Uint8Array.of(1, 2, 3);
    const copy = filled(array, 2, 'array');
    array.fill(0);
    expect(copy).toEqual(Uint8Array.of(1, 2));
  });

  test.each([
    ['no NUL', Buffer.from('text')],
    ['nothing', Buffer.from('\0text')],
    ['a control character', Buffer.from('te\nxt\0')],
    ['a byte above ASCII', Buffer.from('te\u00e9xt\0')],
    ['no bytes', Buffer.alloc(0)],
  ])('text with %s is refused', async (_, bytes) => {
    expect(await refusal(() => readText(bytes, 'text'))).toBe('EVIDENCE_MALFORMED');
  });

  test.each([
    ['report', readReport, REPORT_STRUCTURE_BYTES, 44],
    ['certificate', readCertificateChain, CERTIFICATE_BYTES, 4104],
  ] as const)(
    'a %s structure of any content gives a part of its array or is refused',
    (_, read, size, start) => {
      fc.assert(
        fc.property(
          fc.oneof(fc.nat(9000), fc.integer({ min: 0, max: 0xffffffff })),
          fc.uint8Array({ minLength: 64, maxLength: 64 }),
          (stated, noise) => {
            const bytes = new Uint8Array(size);
            for (let at = 0; at < size; at += noise.length) bytes.set(noise.subarray(0, size - at), at);
            bytes.set(u32s(stated), 4);
            try {
              const part = read(bytes);
              return part.length === stated && equalBytes(part, bytes.subarray(start, start + stated));
            } catch (error) {
              return error instanceof CollectError && error.code === 'EVIDENCE_MALFORMED';
            }
          },
        ),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
