import type { AuditReport } from '../report.ts';
import { html, type Markup } from './markup.ts';
import { table } from './page.ts';

/** Rules that ask for records, in our own words and for orientation alone. */
const RULES: readonly (readonly [rule: string, asks: string, answer: string])[] = [
  [
    'EU AI Act (2024/1689), Article 12',
    'High-risk systems can record events by themselves over their lifetime, so that risks and use can be traced.',
    'Each answer, refusal and error after admission is an entry; so are changes of evidence and acts on the archive.',
  ],
  [
    'EU AI Act, Articles 19(1) and 26(6)',
    'Providers, and deployers for what they control, keep these logs for a time that suits the purpose, six months at least.',
    'The export is a copy that the deployer keeps without the provider. The first and last time in it are above.',
  ],
  [
    'EU AI Act, Article 18',
    'Technical documentation is kept for ten years after the system is placed on the market.',
    'Digests of model manifests and of the software measured by hardware tie entries to that documentation; it is kept elsewhere.',
  ],
  [
    'EU AI Act, Article 50',
    'Transparency of interaction and marking of synthetic content.',
    'Not answered by receipts.',
  ],
  [
    'SEC 17a-4(f), 18a-6',
    'Either write-once storage, or an audit trail with time, actor and every change, from which the original can be made again; verified completeness; a usable download.',
    'The tree shows that no entry is missing, doubled or altered; acts name actor, rule and time of removals; this file is the download. Content is kept by whoever archives it.',
  ],
  [
    'CFTC 1.31, FINRA 4511',
    'Records are kept for years, five and six in general.',
    'Retention is set in the archive; what retention removed is named in the log.',
  ],
  [
    'HIPAA 45 CFR 164.312(b), 164.316(b)(2)(i)',
    'Audit controls; required documentation is kept for six years.',
    'Entries hold no content: requests, responses and tenants are commitments.',
  ],
  [
    'GDPR Articles 5(1)(c) and (e), 17, 25',
    'Keep little, keep it no longer than needed, erase on request unless an exception holds.',
    'The log holds commitments whose keys can be destroyed; erasures are acts in the log.',
  ],
  [
    'EDPB Guidelines 02/2025 (for consultation)',
    'No personal data on a record that cannot be changed; commitments or keyed hashes whose key can be destroyed.',
    'Commitments are keyed by 32 random bytes for each receipt, which are not in the log.',
  ],
  [
    'NIST AI RMF 1.0, AI 600-1',
    'Voluntary: measure, manage, document incidents.',
    'Entries and findings are material for it.',
  ],
  ['ISO/IEC 42001 Annex A', 'Recording of event logs of AI systems.', 'The same entries.'],
];

const FIELDS: readonly (readonly [field: string, records: string, serves: string])[] = [
  ['id, index', 'Which answer, and its place in the log', 'AI Act 12; SEC 17a-4(f) completeness'],
  ['time (`iat`)', 'When, by the clock of the machine', 'AI Act 12, 19; SEC 17a-4(f) time stamps'],
  ['model, manifest digest', 'Which model, byte for byte', 'AI Act 12, 18'],
  ['parameters, usage', 'How it was asked to answer, and how much', 'AI Act 12; ISO/IEC 42001'],
  ['outcome, reason', 'Answered, aborted, refused or failed, and why', 'AI Act 12; incident records'],
  [
    'request, response',
    'Commitments to content that is kept elsewhere',
    'GDPR 5, 25; SEC 17a-4(f) re-creation, with the content archive',
  ],
  ['tenant', 'Commitment to who asked', 'GDPR 5, 25; HIPAA audit controls'],
  ['evidence digest, keyset, devices', 'On which hardware and under which keys', 'AI Act 12, 18'],
  ['channel', 'How the answer was protected on its way', 'HIPAA safeguards; GDPR 32'],
  [
    '`act` records',
    'Holds, removals and admin acts with actor and rule',
    'SEC 17a-4(f) audit trail; GDPR 17',
  ],
  ['`open` and `epoch` records', 'Starts of instances and renewals of evidence', 'AI Act 12'],
];

export function recordKeeping(report: AuditReport): Markup {
  const code = (text: string): Markup => html`${text.replaceAll('`', '')}`;
  return html`<section class="page">
    <h2>Record keeping</h2>
    <p class="dim">
      Facts for orientation, in our own words; not legal advice. Whether a rule applies is for counsel to say;
      read the primary texts.
    </p>
    <h3>Fields of the record</h3>
    ${table(
      ['Field', 'What it records', 'Rules that it serves'],
      FIELDS.map(([field, ...rest]) => [code(field), ...rest]),
    )}
    <h3>Rules</h3>
    ${table(['Rule', 'What it asks', 'What this record answers'], RULES)}
    <h3>Where the times come from</h3>
    <p>${timeSource(report)}</p>
  </section>`;
}

/** In plain words: who says what time it was. */
function timeSource({ instances }: AuditReport): string {
  const anchors = instances.flatMap((instance) => instance.anchors);
  const names = [...new Set(anchors.map(({ by }) => by))];
  const clock =
    'The time in each receipt is what the clock of the machine said. Its host sets that clock, so it is a claim and no evidence.';
  if (anchors.length === 0) {
    return `${clock} Nobody outside whom the policy trusts saw these logs: no time in this report is vouched for by anyone else.`;
  }
  return `${clock} At ${anchors.length} points the logs were shown to outsiders whom the policy trusts (${names.join('; ')}). What stood in a log at such a point existed at that time at the latest; that it was not made long before, these times do not say.`;
}
