import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { LogAnchor } from '../../attestation/log/anchor.ts';
import { parseTimestamp } from '../../attestation/time/timestamp.ts';
import { parseTimestampResponse } from '../../attestation/time/timestampExchange.ts';
import type { TimestampInfo } from '../../attestation/time/timestampInfo.ts';
import { nameText } from '../../attestation/x509/name.ts';
import { certificateSections, signatureText } from './inspectCertificate.ts';
import { readable, readableRows, timeText, yes, type Section } from './inspectSection.ts';
import { checkpointSection } from './inspectCheckpoint.ts';
import { isTimestampResponse } from '../../attestation/recognition/derShape.ts';
import type { Row } from './receiptText.ts';

/** A token, alone or in the answer that brought it. */
export function timestampSections(bytes: Uint8Array, prefix = ''): readonly Section[] {
  const token = isTimestampResponse(bytes) ? parseTimestampResponse(bytes) : bytes;
  const { info, signed } = parseTimestamp(token);
  const rows: readonly Row[] = [
    ...infoRows(info),
    ...signerRows(signed.signer),
    ['signed over', signed.hash],
    ...readableRows('signature', () => [['signature', signatureText(signed.signatureAlgorithm)]]),
    ['certificates', String(signed.certificates.length)],
    ['SHA-256', toHex(nodeCrypto.hash('sha256', token))],
    ['bytes', String(token.length)],
  ];
  return [
    { title: `${prefix}timestamp`, rows },
    ...certificateSections(signed.certificates, `${prefix}timestamp certificate`),
  ];
}

function infoRows(info: TimestampInfo): readonly Row[] {
  return [
    ['time', timeText(info.time)],
    ['accuracy', info.accuracy === undefined ? 'not stated' : `${info.accuracy} ms either way`],
    ['imprint', `${toHex(info.imprint.digest)} (${info.imprint.hash})`],
    ['serial', toHex(info.serial) || '0'],
    ['nonce', info.nonce ? toHex(info.nonce) : 'none'],
    ['policy', info.policy],
    ['ordering', yes(info.ordering)],
    ['authority', info.tsa ? nameText(info.tsa) : 'not stated'],
  ];
}

function signerRows(signer: ReturnType<typeof parseTimestamp>['signed']['signer']): readonly Row[] {
  if ('keyId' in signer) return [['signer key id', toHex(signer.keyId)]];
  return [
    ['signer issued by', nameText(signer.issuerName)],
    ['signer serial', toHex(signer.serial)],
  ];
}

/** What outsiders confirmed: the head of the log and each token. */
export function anchorSections({ note, tokens }: LogAnchor, prefix = ''): readonly Section[] {
  return [
    ...readable(`${prefix}checkpoint`, () => [{ ...checkpointSection(note), title: `${prefix}checkpoint` }]),
    ...tokens.flatMap((token, i) =>
      readable(`${prefix}timestamp ${i}`, () => timestampSections(token, `${prefix}token ${i} `)),
    ),
  ];
}
