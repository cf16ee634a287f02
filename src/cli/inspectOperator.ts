import { toHex } from '../../attestation/bytes/bytes.ts';
import { instanceUrn } from '../../attestation/keyset.ts';
import { parseOperatorStatement } from '../../attestation/operator/statement.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { readableRows, type Section } from './inspectSection.ts';
import { secondsText } from './receiptText.ts';

/** What an organisation says of an instance; no signature is checked. */
export function operatorSection(encoded: Uint8Array, prefix = ''): Section {
  const statement = parseOperatorStatement(encoded);
  const { organisation, instance, image, text, notBefore, notAfter, alg, certificates } = statement;
  return {
    title: `${prefix}operator statement`,
    rows: [
      ['organisation', organisation],
      ['instance', instanceUrn(instance)],
      ['image', image ? toHex(image) : 'none named'],
      ['text', text],
      ['from', secondsText(notBefore)],
      ['until', secondsText(notAfter)],
      ['alg', String(alg)],
      ...certificates.flatMap((der, i) =>
        readableRows(`certificate ${i}`, () => [[`certificate ${i}`, parseCertificate(der).subject]]),
      ),
    ],
  };
}
