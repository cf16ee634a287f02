import type { Bundle, Witnessed } from '../../attestation/bundle/bundle.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { CLAIM, type ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { parseReceipt, type EntryHeader } from '../../attestation/receipt/receipt.ts';
import { parseRecord, type LogRecord } from '../../attestation/receipt/record.ts';
import type { Beside } from './inspectDeviceSet.ts';
import { checkpointSection } from './inspectCheckpoint.ts';
import { documentSections } from './inspectEvidence.ts';
import { readable, type Section } from './inspectSection.ts';
import { anchorSections } from './inspectTimestamp.ts';
import { secondsText, type Row } from './receiptText.ts';

export function bundleSections(bundle: Bundle, manifests: Beside['rims'] = []): readonly Section[] {
  const { receipt, cited, covering, witnessed, collateral } = bundle;
  const rims = [...collateral.rims.keys()].join(', ') || 'none';
  const parts: readonly Row[] = [
    ['receipt', `${receipt.length} bytes`],
    [
      'covered',
      covering
        ? `by a later document, ${covering.inclusion.length} hashes of inclusion`
        : 'no: signed, no more',
    ],
    ['outsiders', witnessed ? witnessedText(witnessed) : 'none: nobody outside says when it existed'],
    ['RIMs', rims],
    ['CRLs', String(collateral.crls.length)],
    ['TCB info', String(collateral.tcbInfos.length)],
    ['QE identities', String(collateral.qeIdentities.length)],
    ['own policy', bundle.policy === undefined ? 'none' : 'there is one; it is never used'],
    ['own verdict', bundle.verdict === undefined ? 'none' : 'there is one; it is never used'],
  ];
  return [
    { title: 'parts', rows: parts },
    ...readable('receipt', () => receiptSections(receipt)),
    ...readable('cited document', () => documentSections(parseDocument(cited), 'cited ', manifests)),
    ...(covering
      ? [
          ...readable('checkpoint', () => [checkpointSection(covering.checkpoint)]),
          ...readable('covering document', () =>
            documentSections(parseDocument(covering.document), 'covering ', manifests),
          ),
        ]
      : []),
    ...(witnessed ? witnessedSections(witnessed) : []),
  ];
}

function witnessedText({ tokens, epoch }: Witnessed): string {
  const stamps = tokens.length === 1 ? '1 timestamp' : `${tokens.length} timestamps`;
  return `a confirmed checkpoint with ${stamps}, over the epoch record at ${epoch.index}`;
}

function witnessedSections(witnessed: Witnessed): readonly Section[] {
  return [
    ...anchorSections(witnessed, 'witnessed '),
    ...readable('epoch record', () => [{ ...recordSection(witnessed.epoch.entry), title: 'epoch record' }]),
  ];
}

export function receiptSections(encoded: Uint8Array): readonly Section[] {
  const { header, claims } = parseReceipt(encoded);
  return [
    { title: 'receipt header', rows: headerRows(header) },
    { title: 'receipt claims', rows: claimRows(claims) },
  ];
}

function headerRows({ alg, kid, type, issuer, subject }: EntryHeader): readonly Row[] {
  return [
    ['alg', String(alg)],
    ['kid', toHex(kid)],
    ['typ', type],
    ['iss', issuer],
    ['sub', subject],
  ];
}

/** Every claim with the number under which the receipt holds it. */
function claimRows(claims: ReceiptClaims): readonly Row[] {
  const values: Readonly<Record<Exclude<keyof typeof CLAIM, 'profile'>, string>> = {
    issuedAt: secondsText(claims.issuedAt),
    id: toHex(claims.id),
    nonce: claims.nonce ? toHex(claims.nonce) : 'none',
    index: String(claims.index),
    evidence: toHex(claims.evidenceDigest),
    keyset: toHex(claims.keysetDigest),
    channel: claims.channel,
    method: claims.method,
    path: claims.path,
    model: claims.model,
    manifest: toHex(claims.manifestDigest),
    config: toHex(claims.configDigest),
    providers: claims.providers.join(', ') || 'none',
    devices: claims.devices.map(toHex).join(', ') || 'none',
    parameters:
      [...claims.parameters].map(([name, value]) => `${name}=${parameterText(value)}`).join(', ') || 'none',
    tenant: claims.tenant ? `commitment ${toHex(claims.tenant)}` : 'none',
    outcome: claims.outcome,
    reason: claims.reason ?? 'none',
    usage: [...claims.usage].map(([name, count]) => `${name}=${count}`).join(', ') || 'none',
    commitments: commitmentText(claims),
  };
  return Object.entries(values).map(([name, value]) => [
    `${name} (${CLAIM[name as keyof typeof CLAIM]})`,
    value,
  ]);
}

function parameterText(value: string | Uint8Array): string {
  return typeof value === 'string' ? value : `commitment ${toHex(value)}`;
}

function commitmentText({ request, response }: ReceiptClaims): string {
  const answer =
    response.kind === 'body'
      ? `response ${toHex(response.commitment)}`
      : `${response.count} chunks of ${response.bytes} bytes, root ${toHex(response.root)}`;
  return `request ${toHex(request)}, ${answer}`;
}

export function recordSection(encoded: Uint8Array): Section {
  const { header, record } = parseRecord(encoded);
  const common: readonly Row[] = [
    ['kind', record.kind],
    ['issuer', header.issuer],
    ['issued', secondsText(record.issuedAt)],
    ['keyset digest', toHex(record.keysetDigest)],
  ];
  return { title: 'record', rows: [...common, ...ownRows(record)] };
}

function ownRows(record: LogRecord): readonly Row[] {
  switch (record.kind) {
    case 'open':
      return [['predecessor', record.predecessor ? record.predecessor.origin : 'none']];
    case 'epoch':
      return [
        ['seq', String(record.seq)],
        ['evidence', toHex(record.evidenceDigest)],
      ];
    case 'act':
      return [
        ['act', record.act],
        ['actor', record.actor],
        ['rule', record.rule],
        ['subject', toHex(record.subject)],
        ['count', String(record.count)],
      ];
  }
}
