import type { Bundle } from '../../attestation/bundle/bundle.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { CLAIM, type ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { parseReceipt, type EntryHeader } from '../../attestation/receipt/receipt.ts';
import { parseRecord } from '../../attestation/receipt/record.ts';
import type { Beside } from './inspectDeviceSet.ts';
import { documentSections } from './inspectEvidence.ts';
import { readable, type Section } from './inspectSection.ts';
import { secondsText, type Row } from './receiptText.ts';

export function bundleSections(bundle: Bundle, manifests: Beside['rims'] = []): readonly Section[] {
  const { receipt, cited, covering, collateral } = bundle;
  const rims = [...collateral.rims.keys()].join(', ') || 'none';
  const parts: readonly Row[] = [
    ['receipt', `${receipt.length} bytes`],
    [
      'covered',
      covering
        ? `by a later document, ${covering.inclusion.length} hashes of inclusion`
        : 'no: signed, no more',
    ],
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
  if (record.kind === 'epoch') {
    const own: readonly Row[] = [
      ['seq', String(record.seq)],
      ['evidence', toHex(record.evidenceDigest)],
    ];
    return { title: 'record', rows: [...common, ...own] };
  }
  const { predecessor } = record;
  return { title: 'record', rows: [...common, ['predecessor', predecessor ? predecessor.origin : 'none']] };
}

export function checkpointSection(bytes: Uint8Array): Section {
  const note = parseNote(bytes);
  const { origin, size, root, extensions } = parseCheckpoint(note.text);
  return {
    title: 'checkpoint',
    rows: [
      ['origin', origin],
      ['size', String(size)],
      ['root', toHex(root)],
      ...extensions.map((line): Row => ['extension', line]),
      ...note.signatures.map(({ name, keyId }): Row => [
        'signed by',
        `${name} (key id ${keyId.toString(16).padStart(8, '0')})`,
      ]),
    ],
  };
}
