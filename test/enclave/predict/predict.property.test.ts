import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { gptEvent } from '../../../enclave/predict/boot/gpt.ts';
import { patchKernel } from '../../../enclave/predict/boot/linuxHeader.ts';
import {
  authenticodeDigest,
  peSections,
  sectionData,
} from '../../../enclave/predict/boot/portableExecutable.ts';
import { PredictError } from '../../../enclave/predict/errors.ts';
import { parseGuidTable } from '../../../enclave/predict/firmware/guidTable.ts';
import { parseSevTables } from '../../../enclave/predict/firmware/sevMetadata.ts';
import { parseTdxSections } from '../../../enclave/predict/firmware/tdxMetadata.ts';
import { mintFirmware, mintPe } from '../../support/mintedFirmware.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const FIRMWARE = mintFirmware({
  size: 4096,
  sev: [{ address: 0x80_0000, size: 0x1000, type: 1 }],
  tdx: [{ offset: 0, fileSize: 4096, address: 0xffff_f000, size: 4096, type: 0, attributes: 1 }],
  hashTable: 0x81_0000,
  reset: 0x80_b004,
});
const IMAGE = mintPe({ sections: [{ name: '.text', data: Uint8Array.of(1, 2, 3) }] });

/** What an attacker who may write a file of the operator's build folder can hand in: changed, cut or arbitrary bytes. */
function damaged(genuine: Uint8Array): fc.Arbitrary<Uint8Array> {
  const change = fc.tuple(fc.nat(genuine.length - 1), fc.nat(255));
  const changed = fc.array(change, { minLength: 1, maxLength: 12 }).map((changes) => {
    const bytes = Uint8Array.from(genuine);
    for (const [offset, value] of changes) bytes[offset] = value;
    return bytes;
  });
  const cut = fc.nat(genuine.length).map((length) => genuine.slice(0, length));
  return fc.oneof(changed, cut, fc.uint8Array({ maxLength: 9000 }));
}

const PARSERS: readonly (readonly [name: string, genuine: Uint8Array, parse: (bytes: Uint8Array) => unknown])[] = [
  ['GUID table', FIRMWARE, parseGuidTable],
  ['SEV metadata', FIRMWARE, parseSevTables],
  ['TDX metadata', FIRMWARE, parseTdxSections],
  ['PE image', IMAGE, (bytes) => authenticodeDigest(bytes, 'sha256', nodeCrypto)],
  ['sections of a PE image', IMAGE, (bytes) => {
    // A section may claim a gigabyte of memory: those that a test can hold are read.
    return peSections(bytes).filter(({ virtualSize }) => virtualSize < 65_536).map((one) => sectionData(bytes, one));
  }],
  ['partition table', new Uint8Array(34 * 512), gptEvent],
  ['kernel', new Uint8Array(4096), (bytes) => patchKernel(bytes, { initrdBytes: 1, memoryBytes: 2 ** 30, acpiDataBytes: 0x2_8000 })],
]; // prettier-ignore

describe.each(PARSERS)('%s', (_name, genuine, parse) => {
  test(
    'is read or refused by name, whatever the bytes are',
    () => {
      fc.assert(
        fc.property(damaged(genuine), (bytes) => {
          const before = Uint8Array.from(bytes);
          try {
            parse(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(PredictError);
          }
          expect(Buffer.compare(bytes, before)).toBe(0);
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
