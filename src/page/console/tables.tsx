import type { ComponentChildren, JSX } from 'preact';
import { Advice } from './advice.tsx';
import type { EvidenceDocument, Finding, Machine, Model, Statement, Status } from './report.ts';
import { amount, clock, counted, short, span } from './words.ts';

interface PanelProps {
  readonly id: string;
  readonly title: string;
  readonly children: ComponentChildren;
}

export function Panel({ id, title, children }: PanelProps): JSX.Element {
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}

interface TableProps {
  readonly label: string;
  readonly heads: readonly (readonly [string, ('number' | 'wide')?])[];
  readonly children: ComponentChildren;
}

/** Wide tables are moved inside their frame, with the keyboard, too. */
export function Table({ label, heads, children }: TableProps): JSX.Element {
  return (
    <div class="frame" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {heads.map(([name, kind]) => (
              <th key={name} scope="col" class={kind}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

const GOOD = new Set(['ready', 'usable', 'current']);
const QUIET = new Set(['absent', 'loading', 'unloading']);

/** A state in words; the colour says the same once more. */
function Badge({ state }: { readonly state: string }): JSX.Element {
  const kind = GOOD.has(state) ? 'good' : QUIET.has(state) ? 'neutral' : 'warning';
  return <span class={`badge ${kind}`}>{state}</span>;
}

const DOCUMENTS = 8;

/** The line of evidence documents: what lies between two is an epoch. */
export function DocumentTable({
  status: { documents, evidence, time },
}: {
  readonly status: Status;
}): JSX.Element {
  const newest = [...documents].reverse();
  const before = (i: number): EvidenceDocument | undefined => newest[i + 1];
  const row = (document: EvidenceDocument, i: number): JSX.Element => {
    const { seq, digest, collected_at: at, log_size: size } = document;
    const former = before(i);
    return (
      <tr key={seq}>
        <td class="number">{seq}</td>
        <td>{clock(at, time)}</td>
        <td class="number">{former ? span(at - former.collected_at) : '–'}</td>
        <td class="number">{former ? amount(size - former.log_size) : amount(size)}</td>
        <td>
          <code title={digest}>{short(digest)}</code>
        </td>
      </tr>
    );
  };
  return (
    <Panel id="epochs" title="Evidence and epochs">
      <p class="quiet">Open epoch: {counted(evidence.uncovered, 'receipt')} that no document covers yet.</p>
      <Table
        label="Evidence documents"
        heads={[['No.', 'number'], ['Collected'], ['After', 'number'], ['Entries', 'number'], ['Digest']]}
      >
        {newest.slice(0, DOCUMENTS).map(row)}
      </Table>
    </Panel>
  );
}

export function ModelTable({ status: { models } }: { readonly status: Status }): JSX.Element {
  const row = ({ id, tasks, state, reason, manifest_digest: digest, providers }: Model): JSX.Element => (
    <tr key={id}>
      <th scope="row">{id}</th>
      <td>
        <Badge state={state} /> {reason}
      </td>
      <td>{tasks.join(', ')}</td>
      <td>{providers.map((name) => name.replace('ExecutionProvider', '')).join(', ')}</td>
      <td>{digest !== null && <code title={digest}>{short(digest)}</code>}</td>
    </tr>
  );
  return (
    <Panel id="models" title="Models">
      {models.length === 0 ? (
        <p>None.</p>
      ) : (
        <Table label="Models" heads={[['Model'], ['State'], ['Tasks'], ['Runs on'], ['Manifest']]}>
          {models.map(row)}
        </Table>
      )}
    </Panel>
  );
}

export function MachineTable({ machine }: { readonly machine: Machine | null }): JSX.Element {
  return (
    <Panel id="machine" title="CPU and devices">
      {machine === null ? (
        <p>No evidence was good yet.</p>
      ) : (
        <>
          <p class="quiet">
            As the newest document has them: {machine.cpu.platform},{' '}
            {counted(machine.devices.length, 'device')}.
            {machine.cpu.debug && <strong> The host may look inside: debug is on.</strong>}
          </p>
          <div class="parts">
            <Part name={machine.cpu.platform} facts={machine.cpu.facts} />
            {machine.devices.map(({ kind, serial, facts }) => (
              <Part key={serial} name={`${kind} ${short(serial)}`} facts={[['serial', serial], ...facts]} />
            ))}
          </div>
        </>
      )}
    </Panel>
  );
}

interface PartProps {
  readonly name: string;
  readonly facts: readonly (readonly [string, string])[];
}

function Part({ name, facts }: PartProps): JSX.Element {
  return (
    <details>
      <summary>{name}</summary>
      <dl class="facts">
        {facts.map(([fact, value]) => (
          <div key={fact}>
            <dt>{fact}</dt>
            <dd>
              <code>{value}</code>
            </dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

/** What ends first comes first. */
export function CollateralTable({ status: { collateral, time } }: { readonly status: Status }): JSX.Element {
  if (!collateral) {
    return (
      <Panel id="collateral" title="Collateral">
        <p>No vendor is asked: collateral.enabled is off. Clients bring their own.</p>
      </Panel>
    );
  }
  const end = ({ expires_at: at }: Statement): number => at ?? Infinity;
  const sorted = [...collateral.statements].sort((a, b) => end(a) - end(b));
  return (
    <Panel id="collateral" title="Collateral">
      {sorted.length === 0 ? (
        <p>The evidence wants none.</p>
      ) : (
        <Table
          label="Statements of vendors"
          heads={[['Statement'], ['Ends'], ['Age', 'number'], ['Renewal', 'wide']]}
        >
          {sorted.map((statement) => (
            <StatementRow key={`${statement.kind} ${statement.name}`} statement={statement} time={time} />
          ))}
        </Table>
      )}
      {collateral.gaps.length > 0 && (
        <>
          <p>Nobody is asked for:</p>
          <ul>
            {collateral.gaps.map((gap) => (
              <li key={gap}>{gap}</li>
            ))}
          </ul>
        </>
      )}
    </Panel>
  );
}

/** What is past its end is not what a vendor says now, whoever gave it last. */
function renewalOf({ age_seconds: age, expires_at: end, failing }: Statement, time: number): string {
  if (failing) return 'fails';
  if (age === null) return 'missing';
  return end !== null && end <= time ? 'ended' : 'current';
}

interface StatementRowProps {
  readonly statement: Statement;
  readonly time: number;
}

function StatementRow({ statement, time }: StatementRowProps): JSX.Element {
  const { kind, name, age_seconds: age, expires_at: end, failing } = statement;
  return (
    <tr>
      <th scope="row">
        {kind} <span class="quiet">{name}</span>
      </th>
      <td>
        {end === null ? (
          'states no end'
        ) : end > time ? (
          `in ${span(end - time)}`
        ) : (
          <strong>ENDED {span(time - end)} ago</strong>
        )}
      </td>
      <td class="number">{age === null ? 'none' : span(age)}</td>
      <td class="wide">
        <Badge state={renewalOf(statement, time)} />
        {failing && (
          <span class="quiet">
            {' '}
            <code>{failing.code}</code> for {span(time - failing.since)}. <Advice text={failing.advice} />
          </span>
        )}
      </td>
    </tr>
  );
}

export function FindingTable({ findings }: { readonly findings: readonly Finding[] }): JSX.Element {
  return (
    <Panel id="findings" title="What the doctor found at the start">
      {findings.length === 0 ? (
        <p>
          Nothing was looked for. <code>vouchsafe doctor</code> looks now.
        </p>
      ) : (
        <Table label="Findings" heads={[['What'], ['State'], ['Detail', 'wide']]}>
          {findings.map(({ what, state, detail, fix }) => (
            <tr key={what}>
              <th scope="row">{what}</th>
              <td>
                <Badge state={state} />
              </td>
              <td class="wide">
                {detail}
                {fix !== undefined && state === 'unusable' && (
                  <p class="advice">
                    <Advice text={fix} />
                  </p>
                )}
              </td>
            </tr>
          ))}
        </Table>
      )}
    </Panel>
  );
}
