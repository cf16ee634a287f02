import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Refusal } from '../../../attestation/errors.ts';
import { parseCertificate } from '../../../attestation/x509/certificate.ts';
import { parseCrl } from '../../../attestation/x509/crl.ts';
import { describeCorpus } from '../../support/corpus.ts';
import { propertyRuns } from '../../support/runs.ts';
import { generateChipKeys, mintAuthority } from '../../support/snpAuthority.ts';
import { corpusEncodings } from './corpusEncodings.ts';
import { libraryCertificate, libraryCrl, ourCertificate, ourCrl } from './libraryFields.ts';

// Our reading of certificates and CRLs against that of an unrelated library.

describeCorpus(
  'every certificate and CRL of the corpus reads as the library reads it',
  'evidence',
  (root) => {
    const { certificates, crls } = corpusEncodings(root);

    test('the search finds them', () => {
      expect(certificates.length).toBeGreaterThanOrEqual(345);
      expect(crls.length).toBeGreaterThanOrEqual(27);
    });

    test('certificates', () => {
      for (const der of certificates) {
        expect(ourCertificate(parseCertificate(der))).toEqual(libraryCertificate(der));
      }
    });

    test('CRLs', () => {
      for (const der of crls) expect(ourCrl(parseCrl(der))).toEqual(libraryCrl(der));
    });
  },
);

describe('minted', () => {
  let certificates: readonly Uint8Array[];
  let crl: Uint8Array;

  beforeAll(async () => {
    const [authority, keys] = await Promise.all([mintAuthority(), generateChipKeys()]);
    certificates = [await authority.issueVek(keys), authority.ask, authority.ark];
    crl = await authority.issueCrl({ revoked: ['020001', '00ff', '7f'] });
  });

  test('certificates and CRLs read as the library reads them', () => {
    for (const der of certificates) {
      expect(ourCertificate(parseCertificate(der))).toEqual(libraryCertificate(der));
    }
    expect(ourCrl(parseCrl(crl))).toEqual(libraryCrl(crl));
  });

  test('an altered certificate is refused, or reads as the library reads it where that reads it too', () => {
    const change = fc.tuple(fc.nat(2), fc.nat(), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(change, ([which, position, mask]) => {
        expectSame(altered(certificates[which]!, position, mask), (der) => [
          () => ourCertificate(parseCertificate(der)),
          () => libraryCertificate(der),
        ]);
      }),
      propertyRuns(600),
    );
  });

  test('an altered CRL likewise', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (position, mask) => {
        expectSame(altered(crl, position, mask), (der) => [
          () => ourCrl(parseCrl(der)),
          () => libraryCrl(der),
        ]);
      }),
      propertyRuns(300),
    );
  });
});

function altered(der: Uint8Array, position: number, mask: number): Uint8Array {
  const forged = der.slice();
  const offset = position % forged.length;
  forged[offset] = forged[offset]! ^ mask;
  return forged;
}

type Fields = ReturnType<typeof libraryCertificate> | ReturnType<typeof libraryCrl>;

function expectSame(der: Uint8Array, readings: (der: Uint8Array) => [() => Fields, () => Fields]): void {
  const [ours, library] = readings(der);
  const seen = refusedOr(ours);
  if (!seen) return;
  let other: Fields;
  try {
    other = library();
  } catch {
    return;
  }
  expect(comparable(seen)).toEqual(comparable(other));
}

function refusedOr(read: () => Fields): Fields | undefined {
  try {
    return read();
  } catch (error) {
    expect(error).toBeInstanceOf(Refusal);
    return undefined;
  }
}

/**
 * Without what the library does not hand on as it stands: names that are no text, and keys, which it encodes anew,
 * otherwise than they were signed where their algorithm is no DER.
 */
function comparable(fields: Fields): object {
  return { ...fields, subject: undefined, issuer: undefined, spki: undefined };
}
