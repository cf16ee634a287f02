import { toHex } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import {
  documentDigest,
  parseDocument,
  type EvidenceDocument,
} from '../../../attestation/evidence/document.ts';
import { instanceUrn } from '../../../attestation/keyset.ts';
import type { ReceiptClaims } from '../../../attestation/receipt/claims.ts';
import { contentText, type Judged } from './judge.ts';
import { measuredOf } from './measured.ts';
import type { Check, DocumentFacts, Measured, Moment, Report, Row, ShownVerdict } from './protocol.ts';
import { timeText, visible } from './visible.ts';

/** Everything that is shown with the verdict, as plain values: it travels to the page by message. */
export function reportOf(judged: Judged, crypto: CryptoProvider): Report {
  const { what, names, policy, policyName, verdict, claims, hints } = judged;
  const cited = readDocument(judged.cited);
  const covering = readDocument(judged.covering);
  const cpu = cited?.cpu ?? rawCpuOf(judged);
  const role = claims || covering ? 'cited' : 'document';
  return {
    what,
    names: names.map(visible),
    policy: policyName,
    verdict: { ...verdict, checks: verdict.checks.map(shownCheck) },
    receipt: claims ? receiptRows(claims) : [],
    documents: [
      ...(cited ? [documentFacts(cited, role, crypto)] : []),
      ...(covering ? [documentFacts(covering, 'covering', crypto)] : []),
    ],
    moments: momentsOf(verdict, cited, covering, claims),
    measured: cpu ? measuredOf(cpu, policy).map(shownMeasured) : [],
    hints: hints.map(visible),
    shown: judged.shown.flatMap(shownRows),
  };
}

function rawCpuOf({ devices }: Judged) {
  return devices && 'verified' in devices ? devices.cpu : undefined;
}

/** Reasons hold texts of the file. */
function shownCheck(check: Check): Check {
  return { ...check, subject: visible(check.subject), reason: visible(check.reason) };
}

function shownMeasured(measured: Measured): Measured {
  const expected = measured.expected.map(({ name, value }) => ({ name: visible(name), value }));
  return { ...measured, expected };
}

function shownRows(content: Judged['shown'][number]): readonly Row[] {
  switch (content.kind) {
    case 'chunks':
      return content.chunks.map((bytes, i) => [`chunk ${content.start + i}`, contentText(bytes)]);
    case 'parameter':
      return [[`parameter ${visible(content.name)}`, contentText(content.bytes)]];
    case 'request':
    case 'response':
    case 'tenant':
      return [[content.kind, contentText(content.bytes)]];
  }
}

function readDocument(encoded: Uint8Array | undefined): EvidenceDocument | undefined {
  if (!encoded) return undefined;
  try {
    return parseDocument(encoded);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

function receiptRows(claims: ReceiptClaims): readonly Row[] {
  const usage = [...claims.usage].map(([name, count]) => `${name} ${count}`).join(', ');
  const { response } = claims;
  const rows: readonly Row[] = [
    ['Receipt', toHex(claims.id)],
    ['Model', claims.model],
    ['Manifest', toHex(claims.manifestDigest)],
    ['Answered', `${claims.method} ${claims.path} over ${claims.channel}, ${claims.outcome}`],
    ['Issued', `${timeText(claims.issuedAt * 1000)} by the guest’s clock`],
    ['Log index', String(claims.index)],
    ['Providers', claims.providers.join(', ')],
    ...(response.kind === 'stream'
      ? [['Stream', `${response.count} chunks, ${response.bytes} bytes`] as const]
      : []),
    ...(usage === '' ? [] : [['Usage', usage] as const]),
  ];
  return rows.map(([name, value]) => [name, visible(value)]);
}

function documentFacts(
  document: EvidenceDocument,
  role: DocumentFacts['role'],
  crypto: CryptoProvider,
): DocumentFacts {
  const { keyset, statement, cpu, devices, bootLog, timeAnchor } = document;
  const gpus = devices.filter(({ kind }) => kind === 'gpu').length;
  const rows: readonly Row[] = [
    ['Instance', instanceUrn(keyset.instance)],
    ['Generation', String(keyset.generation)],
    ['Software', `${keyset.software.name} ${keyset.software.version}`],
    ['Keys end', timeText(keyset.notAfter * 1000)],
    ['Log', keyset.origin],
    ['Nonces', String(statement.nonceCount)],
    ['GPUs', String(gpus)],
    ['Switches', String(devices.length - gpus)],
    ['Boot log', bootLog ? `${bootLog.length} bytes` : 'none'],
    ['Time anchor', timeAnchor ? 'yes' : 'none'],
    ['TLS key', keyset.tlsSpki ? toHex(keyset.tlsSpki) : 'none: TLS does not end in the VM'],
  ];
  return {
    role,
    digest: toHex(documentDigest(document.encoded, crypto)),
    seq: statement.seq,
    final: statement.final,
    logSize: statement.logSize,
    platform: cpu.platform,
    rows: rows.map(([name, value]) => [name, visible(value)]),
  };
}

/** In the order in which they must have happened. A time stands only where somebody outside vouches for it. */
function momentsOf(
  { lower, upper, judgedAt }: ShownVerdict,
  cited: EvidenceDocument | undefined,
  covering: EvidenceDocument | undefined,
  claims: ReceiptClaims | undefined,
): readonly Moment[] {
  if (!cited) return [];
  const evidence = (letter: string, { statement }: EvidenceDocument, does: string): Moment => ({
    kind: 'evidence',
    title: `${letter} · document ${statement.seq}`,
    note: `log of ${statement.logSize} entries; ${does}${statement.final ? '; the last of its instance' : ''}`,
  });
  return [
    ...(lower === undefined
      ? []
      : [
          {
            kind: 'lower',
            title: 'Not before',
            time: lower,
            note: 'somebody outside vouches that A was made after it',
          } as const,
        ]),
    evidence('A', cited, claims ? 'the receipt cites it' : 'this evidence'),
    ...(claims ? [receiptMoment(claims)] : []),
    ...(covering ? [evidence('B', covering, 'it covers the receipt')] : []),
    ...(upper === undefined
      ? []
      : [
          {
            kind: 'upper',
            title: 'Not after',
            time: upper,
            note: 'somebody outside saw it by then',
          } as const,
        ]),
    { kind: 'judged', title: 'Judged for', time: judgedAt, note: 'all windows are judged for this time' },
  ];
}

function receiptMoment({ index, issuedAt }: ReceiptClaims): Moment {
  const claim = `the guest claims ${timeText(issuedAt * 1000)}`;
  return { kind: 'receipt', title: `Receipt · entry ${index}`, note: claim };
}
