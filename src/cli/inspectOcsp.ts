import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { nameText } from '../../attestation/x509/name.ts';
import { parseOcspResponse, type OcspResponse, type OcspStatement } from '../../attestation/x509/ocsp.ts';
import { publicKeyBits } from '../../attestation/x509/ocspCertId.ts';
import { statusText } from '../collateral/ocsp.ts';
import { certificateSections, signatureText } from './inspectCertificate.ts';
import { readableRows, timeText, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

/** Who answers, and what it says of each certificate. */
export function ocspSections(bytes: Uint8Array): readonly Section[] {
  const response = parseOrError(bytes);
  if (typeof response === 'string') {
    const rows: readonly Row[] = [
      ['answer', response],
      ['statuses', 'none: an error is signed by nobody and says nothing of any certificate'],
      ['bytes', String(bytes.length)],
    ];
    return [{ title: 'OCSP response', rows }];
  }
  const { statements, certificates } = response;
  return [
    { title: 'OCSP response', rows: responseRows(response, bytes) },
    ...statements.map((statement, i) => statementSection(statement, `certificate status ${i + 1}`)),
    ...certificateSections(
      certificates.map(({ der }) => der),
      'responder certificate',
    ),
  ];
}

/** The error that a responder answered, in words. */
function parseOrError(bytes: Uint8Array): OcspResponse | string {
  try {
    return parseOcspResponse(bytes);
  } catch (error) {
    if (error instanceof Refusal && error.code === 'COLLATERAL_MISSING') return error.message;
    throw error;
  }
}

function responseRows(response: OcspResponse, bytes: Uint8Array): readonly Row[] {
  const { producedAt, statements, nonce, signatureAlgorithm, certificates } = response;
  return [
    ...readableRows('responder', () => responderRows(response)),
    ['produced', timeText(producedAt)],
    ['statuses', String(statements.length)],
    ['nonce', nonce ? toHex(nonce) : 'none'],
    ...readableRows('signature', () => [['signature', signatureText(signatureAlgorithm)]]),
    ['certificates', String(certificates.length)],
    ['SHA-256', toHex(nodeCrypto.hash('sha256', bytes))],
    ['bytes', String(bytes.length)],
  ];
}

/** By name, or by the hash of its key: then a certificate beside it may say who that is. */
function responderRows({ responderId, certificates }: OcspResponse): readonly Row[] {
  if ('name' in responderId) return [['responder', nameText(responderId.name)]];
  const { keyHash } = responderId;
  const named = certificates.find((certificate) =>
    equalBytes(nodeCrypto.hash('sha1', publicKeyBits(certificate)), keyHash),
  );
  return [
    ['responder', named?.subject ?? 'not among the certificates'],
    ['responder key hash', toHex(keyHash)],
  ];
}

function statementSection({ certId, status, thisUpdate, nextUpdate }: OcspStatement, title: string): Section {
  return {
    title,
    rows: [
      ['serial', toHex(certId.serial) || 'empty'],
      ['status', statusText(status)],
      [
        'valid',
        `${timeText(thisUpdate)} to ${nextUpdate === undefined ? 'no stated end' : timeText(nextUpdate)}`,
      ],
      ['hash', certId.hash],
      ['issuer name hash', toHex(certId.issuerNameHash)],
      ['issuer key hash', toHex(certId.issuerKeyHash)],
    ],
  };
}
