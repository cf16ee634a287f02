import { toHex } from '../../../attestation/bytes/bytes.ts';
import { isoTime } from '../../../attestation/x509/time.ts';
import type { ReceiptClaims } from '../../../attestation/receipt/claims.ts';
import { upperOf } from '../anchors.ts';
import { receiptId, type FoundReceipt } from '../receiptSearch.ts';
import type { AuditReport, InstanceReport } from '../report.ts';
import { header } from './htmlReport.ts';
import { html, type Markup } from './markup.ts';
import { code, page, table, type Cell } from './page.ts';

/** One page about one receipt of an audited export: what it says, what covers it, and who saw it when. */
export function receiptPage(report: AuditReport, found: FoundReceipt): string {
  const { index, instance, receipt } = found;
  const own = report.instances.find((candidate) => candidate.instance === instance);
  const id = receiptId(receipt);
  return page(
    `Receipt ${id}`,
    html`<h1>Receipt ${id}</h1>
      <section>
        <h2>What it says</h2>
        ${table(['Field', 'Value'], claimRows(receipt.claims))}
      </section>
      <section>
        <h2>What vouches for it</h2>
        ${table(['', ''], proofRows(own, found))}
      </section>
      <section>
        <h2>Found about it</h2>
        ${findingsAbout(report, instance, index)}
      </section>
      <section class="keep">
        <h2>The audit that it was part of</h2>
        ${header(report)}
      </section>`,
  );
}

function claimRows(claims: ReceiptClaims): readonly (readonly Cell[])[] {
  const { response } = claims;
  const parameters = [...claims.parameters].map(
    ([name, value]) => `${name} = ${typeof value === 'string' ? value : toHex(value)}`,
  );
  return [
    ['Time by the machine’s clock', isoTime(claims.issuedAt * 1000)],
    ['Model', claims.model],
    ['Model manifest', code(toHex(claims.manifestDigest))],
    ['Called', `${claims.method} ${claims.path}, channel ${claims.channel}`],
    ['Outcome', claims.reason === undefined ? claims.outcome : `${claims.outcome}: ${claims.reason}`],
    ['Usage', [...claims.usage].map(([name, count]) => `${name} ${count}`).join(', ')],
    ['Parameters', parameters.join('; ')],
    ['Computed by', claims.providers.join(', ')],
    ['Devices', html`${claims.devices.map((serial) => html`${code(toHex(serial))} `)}`],
    ['Commitment to the request', code(toHex(claims.request))],
    [
      'Commitment to the response',
      response.kind === 'body'
        ? code(toHex(response.commitment))
        : html`${code(toHex(response.root))}, ${response.count} chunks of ${response.bytes} bytes`,
    ],
    ['Commitment to the tenant', claims.tenant ? code(toHex(claims.tenant)) : 'none'],
    ['Evidence that it cites', code(toHex(claims.evidenceDigest))],
    ['Keyset', code(toHex(claims.keysetDigest))],
  ];
}

function proofRows(
  own: InstanceReport | undefined,
  { index, instance, receipt }: FoundReceipt,
): readonly (readonly Cell[])[] {
  const cited = own?.documents.find(({ digest }) => digest === toHex(receipt.claims.evidenceDigest));
  const covering = own?.documents.find(
    ({ facts, logSize, seq }) => seq > (cited?.seq ?? 0) && logSize > index && facts.decision === 'accepted',
  );
  const upper = own && upperOf(own.anchors, index);
  const machine = cited?.facts.machine;
  return [
    ['Place', html`entry ${index} of the log ${code(own?.origin ?? instance)}`],
    [
      'Cited evidence',
      cited ? `document ${cited.seq}: ${cited.facts.decision}` : 'not in the line of this instance',
    ],
    [
      'Hardware',
      html`${cited?.facts.platform ?? 'unknown'} ${machine === undefined ? undefined : code(machine)}`,
    ],
    [
      'Covered by',
      covering
        ? documentText(covering.seq, covering.logSize)
        : 'no accepted hardware report: it is signed, no more',
    ],
    [
      'Seen by outsiders',
      upper ? `at ${isoTime(upper.time)} at the latest, by ${upper.by}` : 'by nobody whom the policy trusts',
    ],
  ];
}

function documentText(seq: number, logSize: number): string {
  return `the hardware report of document ${seq}, which commits to the first ${logSize} entries`;
}

function findingsAbout({ findings }: AuditReport, instance: string, index: number): Markup {
  const about = findings.filter(
    (finding) =>
      finding.instance === instance &&
      (finding.index === undefined || (finding.index <= index && index <= (finding.last ?? finding.index))),
  );
  return table(
    ['Code', 'What'],
    about.map(({ code: name, detail }) => [name, detail]),
  );
}
