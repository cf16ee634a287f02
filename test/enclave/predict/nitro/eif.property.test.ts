import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { equalBytes } from '../../../../attestation/bytes/bytes.ts';
import { PredictError } from '../../../../enclave/predict/errors.ts';
import { parseEif } from '../../../../enclave/predict/nitro/eif.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { mintEif, withChecksum, type MintedSection } from './mintedEif.ts';

const bytes = fc.uint8Array({ maxLength: 200 });
const cmdline = fc.stringMatching(/^[ -~]{0,60}$/);

/** Sections as the format allows them: kernel and command line, then the others in some order. */
const sections: fc.Arbitrary<readonly MintedSection[]> = fc
  .tuple(bytes, cmdline, bytes, fc.array(bytes, { minLength: 1, maxLength: 5 }), fc.option(bytes), fc.nat(5))
  .map(([kernel, line, metadata, ramdisks, signature, place]) => {
    const later: MintedSection[] = ramdisks.map((data) => ['ramdisk', data]);
    later.splice(Math.min(place, later.length), 0, ['metadata', metadata]);
    if (signature) later.push(['signature', signature]);
    return [['kernel', kernel], ['cmdline', new TextEncoder().encode(line)], ...later];
  });

test(
  'what is written by the format is read back',
  () => {
    fc.assert(
      fc.property(sections, (minted) => {
        const eif = parseEif(mintEif(minted));
        const of = (wanted: string): Uint8Array[] =>
          minted.filter(([type]) => type === wanted).map(([, data]) => data);
        expect(equalBytes(eif.kernel, of('kernel')[0]!)).toBe(true);
        expect(eif.ramdisks.length).toBe(of('ramdisk').length);
        expect(eif.ramdisks.every((data, index) => equalBytes(data, of('ramdisk')[index]!))).toBe(true);
        expect(eif.signature).toEqual(of('signature')[0]);
      }),
      propertyRuns(100),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'a damaged file is read or refused by name, and left as it is',
  () => {
    const genuine = mintEif();
    const change = fc.tuple(fc.oneof(fc.nat(600), fc.nat(genuine.length - 1)), fc.nat(255));
    const damaged = fc
      .tuple(fc.array(change, { minLength: 1, maxLength: 6 }), fc.nat(genuine.length))
      .map(([changes, length]) => {
        const file = Uint8Array.from(genuine);
        for (const [offset, value] of changes) file[offset] = value;
        const cut = file.slice(0, Math.max(length, genuine.length - 40));
        return cut.length >= 548 ? withChecksum(cut) : cut;
      });
    fc.assert(
      fc.property(damaged, (file) => {
        const before = Uint8Array.from(file);
        try {
          parseEif(file);
        } catch (error) {
          expect(error).toBeInstanceOf(PredictError);
        }
        expect(Buffer.compare(file, before)).toBe(0);
      }),
      propertyRuns(300),
    );
  },
  PROPERTY_TIMEOUT,
);
