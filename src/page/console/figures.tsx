import type { ComponentChildren, JSX } from 'preact';
import type { Status } from './report.ts';
import { amount, clock, counted, short, span } from './words.ts';

/** The figures that are looked at first, each with what it is measured against. */
export function Figures({ status }: { readonly status: Status }): JSX.Element {
  return (
    <section aria-labelledby="figures">
      <h2 id="figures">At a glance</h2>
      <div class="cards">
        <EvidenceCard status={status} />
        <KeysetCard status={status} />
        <LogCard status={status} />
        <RequestsCard status={status} />
      </div>
    </section>
  );
}

interface CardProps {
  readonly title: string;
  readonly value: string;
  readonly rows: readonly (readonly [string, ComponentChildren])[];
  readonly children?: ComponentChildren;
}

function Card({ title, value, rows, children }: CardProps): JSX.Element {
  return (
    <article class="card">
      <h3>{title}</h3>
      <p class="figure">{value}</p>
      {children}
      <dl>
        {rows.map(([name, content]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{content}</dd>
          </div>
        ))}
      </dl>
    </article>
  );
}

const CHECKED = {
  passed: 'accepts it',
  failed: 'REFUSES it',
  pending: 'has judged none yet',
  off: 'off',
} as const;

function EvidenceCard({
  status: { evidence, self_check: check, time },
}: {
  readonly status: Status;
}): JSX.Element {
  const { head, max_age_seconds: most, uncovered, epoch_seconds: epoch, took, failure } = evidence;
  const rows: (readonly [string, ComponentChildren])[] = [
    [
      'Own verifier',
      check.refusal === null ? CHECKED[check.state] : `${CHECKED[check.state]}: ${check.refusal}`,
    ],
    [
      'Document',
      head ? (
        <>
          number {head.seq}, <Digest hex={head.digest} />
        </>
      ) : (
        'none'
      ),
    ],
    ['Collected', head ? clock(head.collected_at, time) : 'never'],
    ['Not covered', `${counted(uncovered, 'receipt')}; an epoch is ${span(epoch)}`],
  ];
  if (took) rows.push(['Took', `CPU ${amount(took.cpu, 'ms')}, devices ${amount(took.devices, 'ms')}`]);
  if (failure) rows.push(['Last try', `failed: ${failure.code}`]);
  return (
    <Card title="Evidence" value={head ? `${span(head.age_seconds)} old` : 'none'} rows={rows}>
      {head && (
        <Share
          label={`of ${span(most)}, when signing stops`}
          part={head.age_seconds}
          of={most}
          low={most / 2}
        />
      )}
    </Card>
  );
}

function KeysetCard({ status: { keyset, time } }: { readonly status: Status }): JSX.Element {
  return (
    <Card
      title="Keys"
      value={`${span(keyset.not_after - time)} left`}
      rows={[
        ['Generation', keyset.generation],
        ['End', clock(keyset.not_after, time)],
        ['Keyset', <Digest key="digest" hex={keyset.digest} />],
      ]}
    />
  );
}

function LogCard({ status: { log, anchoring, archive, time } }: { readonly status: Status }): JSX.Element {
  const rows: (readonly [string, ComponentChildren])[] = [
    ['Published', counted(log.published, 'entry', 'entries')],
    ['Checkpoint', log.checkpoint_at === null ? 'none' : clock(log.checkpoint_at, time)],
    ['Takes entries', log.failure === null ? 'yes' : `no: ${log.failure}`],
  ];
  if (anchoring) {
    const { entries, age_seconds: age, failing } = anchoring;
    const outside = age === null ? 'nothing yet' : `${amount(entries)}, ${span(age)} ago`;
    rows.push(['Confirmed outside', failing.length > 0 ? `${outside}; ${failing.length} fail` : outside]);
  }
  if (archive) rows.push(['Archive', `${archive.state}, ${amount(archive.behind)} behind`]);
  return <Card title="Log" value={counted(log.entries, 'entry', 'entries')} rows={rows} />;
}

function RequestsCard({ status: { requests, engine } }: { readonly status: Status }): JSX.Element {
  const { inside, waiting, places, concurrency, processes } = requests;
  return (
    <Card
      title="Requests"
      value={`${amount(inside)} under way`}
      rows={[
        ['Waiting', `${amount(waiting)}; ${concurrency} are worked on at once`],
        ['Engine', `${engine.state}, ${amount(engine.pending)} pending`],
        ['Restarts', amount(engine.restarts)],
        ...(processes > 1 ? [['Processes', `${processes}; those of the signing one`] as const] : []),
      ]}
    >
      <Share label={`of ${counted(places, 'place')}`} part={inside} of={places} low={places * 0.9} />
    </Card>
  );
}

interface ShareProps {
  readonly label: string;
  readonly part: number;
  readonly of: number;
  /** What is above is worth a look. */
  readonly low: number;
}

function Share({ label, part, of, low }: ShareProps): JSX.Element {
  const value = Math.min(Math.max(part, 0), of);
  return (
    <p class="share">
      <meter min={0} max={of} low={low} high={of * 0.95} optimum={0} value={value} aria-label={label} />
      <span>{label}</span>
    </p>
  );
}

function Digest({ hex }: { readonly hex: string }): JSX.Element {
  return (
    <code class="digest" title={hex}>
      {short(hex)}
    </code>
  );
}
