import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import { readEnvelopedSignature } from '../../../attestation/evidence/nvidia/xmldsig.ts';
import { parseCertificate, parsePemChain, type Certificate } from '../../../attestation/x509/certificate.ts';
import { parseOcspResponse } from '../../../attestation/x509/ocsp.ts';
import { OcspLibrary } from '../../../attestation/x509/ocspLibrary.ts';
import { checkOcspAnswer, encodeOcspRequest } from '../../../attestation/x509/ocspRequest.ts';
import { verifyOcspResponse } from '../../../attestation/x509/ocspResponder.ts';
import { lookUpOcspStatus } from '../../../attestation/x509/ocspStatus.ts';
import { describeCorpus } from '../../support/corpus.ts';
import { refusalOf, refusalOfAsync } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { xored } from '../../support/ocspAuthority.ts';

/** What was recomputed for the corpus of each response. */
interface OcspFacts {
  readonly file: string;
  readonly certStatus: string;
  readonly certIdHash: string;
  readonly serial: string;
  readonly producedAt: string;
  readonly thisUpdate: string;
  readonly nextUpdate: string;
  readonly responder: string;
  readonly responderIssuedBy: string;
  readonly responderNotAfter: string;
  readonly nonceExtension: boolean;
}

interface Case {
  readonly verifyAt: string;
  readonly deviceOcspVerifyAt: string;
  readonly checks: { readonly ocsp: readonly OcspFacts[] };
}

const CASE = 'evidence/gpu/h100-550.90.07-full';

describeCorpus('genuine responses of NVIDIA', CASE, (folder) => {
  const read = (file: string) => new Uint8Array(readFileSync(join(folder, file)));
  const data = JSON.parse(readFileSync(join(folder, 'case.json'), 'utf8')) as Case;
  const device = parsePemChain(readFileSync(join(folder, 'certchain.pem'), 'utf8'));
  const [driver, vbios] = ['driver.rim.xml', 'vbios.rim.xml'].map((file) =>
    readEnvelopedSignature(read(file)).certificates.map(parseCertificate),
  ) as [Certificate[], Certificate[]];

  /** The chain, and the position in it, that each response is for. */
  const asked: Readonly<Record<string, readonly [readonly Certificate[], number]>> = {
    'ocsp/device-l2-identity.der': [device, 3],
    'ocsp/device-l3-ica.der': [device, 2],
    'ocsp/device-l4-brom.der': [device, 1],
    'ocsp/rim-l2-ca.der': [driver, 2],
    'ocsp/rim-l3.der': [driver, 1],
    'ocsp/driver-rim-l4.der': [driver, 0],
    'ocsp/vbios-rim-l4.der': [vbios, 0],
  };
  const questionOf = (file: string) => {
    const [chain, i] = asked[file]!;
    return { certificate: chain[i]!, issuer: chain[i + 1]! };
  };
  const nowOf = (file: string) =>
    Date.parse(file.startsWith('ocsp/device') ? data.deviceOcspVerifyAt : data.verifyAt);
  const files = data.checks.ocsp.map((facts) => [facts.file, facts] as const);

  test('there are seven', () =>
    expect(files.map(([file]) => file).toSorted()).toEqual(Object.keys(asked).toSorted()));

  test.each(files)('%s reads as recomputed', (file, facts) => {
    const response = parseOcspResponse(read(file));
    const [statement, ...rest] = response.statements;
    const [responder] = response.certificates;
    expect(rest).toEqual([]);
    expect(statement?.status.kind).toBe(facts.certStatus.toLowerCase());
    expect(statement?.certId.hash).toBe(facts.certIdHash);
    expect(toHex(statement!.certId.serial)).toBe(facts.serial);
    expect([response.producedAt, statement?.thisUpdate, statement?.nextUpdate]).toEqual(
      [facts.producedAt, facts.thisUpdate, facts.nextUpdate].map((time) => Date.parse(time)),
    );
    expect(response.nonce !== undefined).toBe(facts.nonceExtension);
    const inOrder = (name: string) => name.split(/, ?/).toSorted();
    expect(inOrder(responder!.subject)).toEqual(inOrder(facts.responder));
    expect(inOrder(responder!.issuer)).toEqual(inOrder(facts.responderIssuedBy));
    expect(responder!.notAfter).toBe(Date.parse(facts.responderNotAfter));
  });

  for (const [provider, crypto] of [['node', nodeCrypto] as const, ['portable', portableCrypto] as const]) {
    test.each(files)(`%s verifies and is good on its day, with ${provider} cryptography`, async (file) => {
      const { certificate, issuer } = questionOf(file);
      const options = { crypto, now: nowOf(file), tolerance: 0, hold: 'refused' } as const;
      const outcome = await lookUpOcspStatus(certificate, issuer, new OcspLibrary([read(file)]), options);
      expect(outcome.kind).toBe('good');
    });
  }

  test.each(files)('%s verifies under no other issuer of its chains', async (file) => {
    const { issuer } = questionOf(file);
    for (const other of [...device, ...driver, ...vbios]) {
      if (toHex(other.spki) === toHex(issuer.spki)) continue;
      const verifying = () => verifyOcspResponse(parseOcspResponse(read(file)), other, nodeCrypto);
      expect((await refusalOfAsync(verifying))?.code).toBe('UNTRUSTED_KEY');
    }
  });

  test.each(files)('%s answers our request, and no request for another certificate', (file) => {
    const response = parseOcspResponse(read(file));
    for (const other of Object.keys(asked)) {
      const code = refusalOf(() => checkOcspAnswer(response, questionOf(other), nodeCrypto))?.code;
      expect(code).toBe(other === file ? undefined : 'COLLATERAL_MISMATCH');
    }
    const { issuerNameHash, issuerKeyHash } = response.statements[0]!.certId;
    const request = toHex(encodeOcspRequest(questionOf(file), 'sha384', nodeCrypto));
    expect(request).toContain(`0430${toHex(issuerNameHash)}0430${toHex(issuerKeyHash)}02`);
  });

  test(
    'a changed byte is refused, or changes nothing that is signed',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...Object.keys(asked)),
          fc.nat(),
          fc.integer({ min: 1, max: 255 }),
          async (file, position, mask) => {
            const bytes = read(file);
            const changed = xored(bytes, position % bytes.length, mask);
            const verifying = () =>
              verifyOcspResponse(parseOcspResponse(changed), questionOf(file).issuer, nodeCrypto);
            if ((await refusalOfAsync(verifying)) !== undefined) return;
            expect(parseOcspResponse(changed).tbs).toEqual(parseOcspResponse(bytes).tbs);
          },
        ),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
