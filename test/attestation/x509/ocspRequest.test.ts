import { describe, expect, test } from '@jest/globals';
import { fromHex, toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import { parseOcspResponse } from '../../../attestation/x509/ocsp.ts';
import { checkOcspAnswer, encodeOcspRequest } from '../../../attestation/x509/ocspRequest.ts';
import * as der from '../../../enclave/collect/simulated/der.ts';
import { refusalOf } from '../../support/refusal.ts';
import * as ocsp from '../../support/ocspAuthority.ts';

const { rimIssuer, rimCa, rimSigner } = ocsp.AUTHORITY;
const question = { certificate: ocsp.certificateOf(rimSigner), issuer: ocsp.certificateOf(rimIssuer) };
const { serial } = question.certificate;
const NONCE = new Uint8Array(32).fill(0x5a);

describe('encodeOcspRequest', () => {
  test.each(['sha1', 'sha384'] as const)('asks for one certificate with %s', (hash) => {
    const certId = ocsp.encodeCertId(rimIssuer, serial, hash);
    const expected = der.sequence(der.sequence(der.sequence(der.sequence(certId))));
    for (const crypto of [nodeCrypto, portableCrypto]) {
      expect(toHex(encodeOcspRequest(question, hash, crypto))).toBe(toHex(expected));
    }
  });

  test.each([1, 32, 128])('with a nonce of %i bytes', (length) => {
    const nonce = new Uint8Array(length).fill(0x5a);
    const list = der.sequence(der.sequence(ocsp.encodeCertId(rimIssuer, serial)));
    const extensions = der.tagged(2, der.sequence(ocsp.nonceExtension(nonce)));
    const request = encodeOcspRequest({ ...question, nonce }, 'sha384', nodeCrypto);
    expect(toHex(request)).toBe(toHex(der.sequence(der.sequence(list, extensions))));
  });

  test.each(['7f', '80', 'ff00', '00'])('a serial %s is positive', (hex) => {
    const certificate = { ...question.certificate, serial: fromHex(hex) };
    const request = encodeOcspRequest({ ...question, certificate }, 'sha1', nodeCrypto);
    expect(toHex(request)).toContain(toHex(der.integer(fromHex(hex))));
  });

  test.each([0, 129])('refuses a nonce of %i bytes', (length) => {
    const asking = () =>
      encodeOcspRequest({ ...question, nonce: new Uint8Array(length) }, 'sha384', nodeCrypto);
    expect(asking).toThrow(RangeError);
  });
});

describe('checkOcspAnswer', () => {
  const responder = ocsp.mintResponder(rimIssuer);
  const answer = (certId: Uint8Array, extensions?: readonly Uint8Array[]) =>
    parseOcspResponse(
      ocsp.encodeResponse({
        responder,
        statements: [ocsp.encodeStatement({ certId })],
        ...(extensions ? { extensions } : {}),
      }),
    );
  const asked = ocsp.encodeCertId(rimIssuer, serial);
  const codeOf = (response: ReturnType<typeof answer>, nonce?: Uint8Array) =>
    refusalOf(() => checkOcspAnswer(response, { ...question, nonce }, nodeCrypto))?.code;

  test('passes the answer to the question', () => {
    const response = answer(asked, [ocsp.nonceExtension(NONCE)]);
    expect(checkOcspAnswer(response, question, nodeCrypto)).toBe(response.statements[0]);
    expect(codeOf(response, NONCE)).toBeUndefined();
  });

  test.each([
    ['another serial', ocsp.encodeCertId(rimIssuer, Uint8Array.of(1))],
    ['another issuer', ocsp.encodeCertId(rimCa, serial)],
    ['the name of another issuer', ocsp.encodeCertId({ ...rimIssuer, name: rimCa.name }, serial)],
    ['the key of another issuer', ocsp.encodeCertId({ ...rimIssuer, key: rimCa.key }, serial)],
  ])('refuses an answer about %s', (_, certId) => {
    expect(codeOf(answer(certId))).toBe('COLLATERAL_MISMATCH');
  });

  test('refuses another nonce and none', () => {
    const other = ocsp.nonceExtension(new Uint8Array(32).fill(1));
    expect(codeOf(answer(asked, [other]), NONCE)).toBe('NONCE_MISMATCH');
    expect(codeOf(answer(asked), NONCE)).toBe('NONCE_MISMATCH');
  });
});
