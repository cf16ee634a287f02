import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseOcspResponse, type OcspResponse } from '../../../attestation/x509/ocsp.ts';
import { verifyOcspResponse } from '../../../attestation/x509/ocspResponder.ts';
import { authorityExtensions, extension } from '../../../enclave/collect/simulated/certificate.ts';
import * as der from '../../../enclave/collect/simulated/der.ts';
import { refusalOfAsync } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import * as ocsp from '../../support/ocspAuthority.ts';

const { rimIssuer, rimCa, rimSigner, deviceProvisioner } = ocsp.AUTHORITY;
const issuer = ocsp.certificateOf(rimIssuer);
const subject = ocsp.certificateOf(rimSigner);
const statement = ocsp.encodeStatement({ certId: ocsp.encodeCertId(rimIssuer, subject.serial) });
const responder = ocsp.mintResponder(rimIssuer);
const RESPONDER = 'O=Vouchsafe SIMULATED, CN=OCSP responder';

function answer(by: ocsp.Responder, parts: Partial<ocsp.ResponseParts> = {}): Uint8Array {
  return ocsp.encodeResponse({ responder: by, statements: [statement], ...parts });
}

async function codeOf(bytes: Uint8Array, under = issuer): Promise<string | undefined> {
  const response = parseOcspResponse(bytes);
  return (await refusalOfAsync(() => verifyOcspResponse(response, under, nodeCrypto)))?.code;
}

describe('verifyOcspResponse passes', () => {
  const purposes = [ocsp.OCSP_SIGNING, ocsp.OCSP_NO_CHECK];
  const noCheck = extension(ocsp.OCSP_NO_CHECK, der.element(0x05));
  const passing: readonly (readonly [string, Uint8Array, string?])[] = [
    ['a delegated responder named by its key', answer(responder)],
    ['by its name', answer(responder, { responderId: ocsp.byName(responder.name) })],
    ['one that lists OCSPNoCheck as a purpose', answer(ocsp.mintResponder(rimIssuer, { purposes }))],
    ['one with the extension OCSPNoCheck', answer(ocsp.mintResponder(rimIssuer, { extensions: [noCheck] }))],
    ['one without key usage', answer(ocsp.mintResponder(rimIssuer, { extensions: [] }))],
    ['the issuer itself', answer(ocsp.ownResponder(rimIssuer)), issuer.subject],
    [
      'the issuer by its name',
      answer(ocsp.ownResponder(rimIssuer), { responderId: ocsp.byName(rimIssuer.name) }),
      issuer.subject,
    ],
    [
      'another certificate beside that of the responder',
      answer(responder, { certificates: [rimCa.certificate, ...responder.certificates] }),
    ],
  ];
  for (const [provider, crypto] of [['node', nodeCrypto] as const, ['portable', portableCrypto] as const]) {
    test.each(passing)(`%s, with ${provider} cryptography`, async (_, bytes, signer = RESPONDER) => {
      const verified = await verifyOcspResponse(parseOcspResponse(bytes), issuer, crypto);
      expect(verified.signer.subject).toBe(signer);
    });
  }
});

describe('verifyOcspResponse refuses', () => {
  const ofOthers = ocsp.mintResponder(deviceProvisioner);
  const impostor = ocsp.mintResponder(rimIssuer, { signedBy: deviceProvisioner.key });
  const ca = ocsp.mintResponder(rimIssuer, { extensions: authorityExtensions(0, 'certificates') });
  const keyUsage = extension('2.5.29.15', der.bitString(Uint8Array.of(0x04), 2), true);
  const critical = extension('1.2.3.4', der.smallInteger(1), true);
  const refused: readonly (readonly [string, Uint8Array, string])[] = [
    ['a responder of another authority', answer(ofOthers), 'UNTRUSTED_KEY'],
    ['a responder of the authority above', answer(ocsp.mintResponder(rimCa)), 'UNTRUSTED_KEY'],
    ['a responder that the authority did not sign', answer(impostor), 'UNTRUSTED_KEY'],
    ['another authority itself', answer(ocsp.ownResponder(deviceProvisioner)), 'UNTRUSTED_KEY'],
    [
      'a sibling of the certificate',
      answer(ocsp.mintResponder(rimIssuer, { purposes: [] })),
      'UNTRUSTED_KEY',
    ],
    [
      'the certificate about itself',
      answer({ ...ocsp.ownResponder(rimSigner), certificates: [rimSigner.certificate] }),
      'UNTRUSTED_KEY',
    ],
    [
      'a signer of other purposes',
      answer(ocsp.mintResponder(rimIssuer, { purposes: ['1.3.6.1.5.5.7.3.1', ocsp.OCSP_NO_CHECK] })),
      'UNTRUSTED_KEY',
    ],
    [
      'any extended key usage in place of OCSP signing',
      answer(ocsp.mintResponder(rimIssuer, { purposes: ['2.5.29.37.0'] })),
      'UNTRUSTED_KEY',
    ],
    ['an authority with OCSP signing', answer(ca), 'UNTRUSTED_KEY'],
    [
      'a key that may not sign',
      answer(ocsp.mintResponder(rimIssuer, { extensions: [keyUsage] })),
      'UNTRUSTED_KEY',
    ],
    [
      'a responder with an unknown critical extension',
      answer(ocsp.mintResponder(rimIssuer, { extensions: [critical] })),
      'UNTRUSTED_KEY',
    ],
    ['no certificate of the responder', answer(responder, { certificates: [] }), 'UNTRUSTED_KEY'],
    [
      'the certificate of another responder',
      answer(responder, { certificates: ocsp.mintResponder(rimIssuer).certificates }),
      'UNTRUSTED_KEY',
    ],
    [
      'another name of the responder',
      answer(responder, { responderId: ocsp.byName(rimCa.name) }),
      'UNTRUSTED_KEY',
    ],
    [
      'another signature',
      answer(responder, { signedBy: ocsp.generateKey() }),
      'COLLATERAL_SIGNATURE_INVALID',
    ],
    [
      'a signature of the certificate itself',
      answer(responder, { signedBy: rimSigner.key }),
      'COLLATERAL_SIGNATURE_INVALID',
    ],
    [
      'a signature over another hash',
      answer(responder, { signatureAlgorithm: der.sequence(der.oid('1.2.840.10045.4.3.2')) }),
      'COLLATERAL_SIGNATURE_INVALID',
    ],
    [
      'a signature with SHA-1',
      answer(responder, { signatureAlgorithm: der.sequence(der.oid('1.2.840.10045.4.1')) }),
      'UNSUPPORTED',
    ],
    [
      'more purposes than a responder has',
      answer(
        ocsp.mintResponder(rimIssuer, { purposes: Array.from({ length: 17 }, () => ocsp.OCSP_SIGNING) }),
      ),
      'MALFORMED',
    ],
  ];

  test.each(refused)('%s', async (_, bytes, code) => {
    expect(await codeOf(bytes)).toBe(code);
  });

  test('the responder of one authority under another of the same name', async () => {
    const twin = { ...issuer, spki: ocsp.certificateOf(rimCa).spki };
    expect(await codeOf(answer(responder), twin)).toBe('UNTRUSTED_KEY');
  });

  test(
    'any byte changed, by refusals only, unless what is stated stays as it was',
    async () => {
      const bytes = answer(responder);
      const original = parseOcspResponse(bytes);
      await fc.assert(
        fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (offset, mask) => {
          let changed: OcspResponse | undefined;
          const refusal = await refusalOfAsync(async () => {
            changed = parseOcspResponse(ocsp.xored(bytes, offset, mask));
            await verifyOcspResponse(changed, issuer, nodeCrypto);
          });
          if (refusal === undefined) expect(changed?.tbs).toEqual(original.tbs);
          else expect(refusal).toBeInstanceOf(Refusal);
        }),
        propertyRuns(500),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'statements of one response in another',
    async () => {
      const other = parseOcspResponse(ocsp.respond(rimIssuer, subject, { status: ocsp.UNKNOWN }, responder));
      const good = parseOcspResponse(answer(responder));
      const spliced = { ...good, tbs: concat(other.tbs), statements: other.statements };
      const refusal = await refusalOfAsync(() => verifyOcspResponse(spliced, issuer, nodeCrypto));
      expect(refusal?.code).toBe('COLLATERAL_SIGNATURE_INVALID');
    },
    PROPERTY_TIMEOUT,
  );
});
