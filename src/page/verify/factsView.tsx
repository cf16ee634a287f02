import type { DeviceFacts, DocumentFacts, Measured, Moment, Report, Row } from './protocol.ts';

const ROLES = {
  document: 'Evidence document',
  cited: 'Cited evidence (A)',
  covering: 'Covering evidence (B)',
};

/** Epochs as a line, in order; it is not drawn to scale, for most of its points have no time of their own. */
export function Timeline({ moments }: Report) {
  if (moments.length === 0) return null;
  return (
    <section class="timeline" aria-labelledby="timeline">
      <h2 id="timeline">Epochs, in their order</h2>
      <ol>
        {moments.map((moment, i) => (
          <MomentItem key={i} moment={moment} />
        ))}
      </ol>
    </section>
  );
}

function MomentItem({ moment: { kind, title, time, note } }: { readonly moment: Moment }) {
  return (
    <li class={kind}>
      <strong>{title}</strong>
      {time !== undefined && <time dateTime={time}>{time.replace('.000', '')}</time>}
      <span class="small">{note}</span>
    </li>
  );
}

/** What the CPU measured at launch beside what the policy names. */
export function Measurements({ measured }: Report) {
  if (measured.length === 0) return null;
  return (
    <section aria-labelledby="measured">
      <h2 id="measured">Measured software</h2>
      <div class="scroll" tabIndex={0} role="region" aria-labelledby="measured">
        <table>
          <thead>
            <tr>
              <th scope="col">Value</th>
              <th scope="col">Found, and what the policy expects</th>
              <th scope="col">Result</th>
            </tr>
          </thead>
          <tbody>
            {measured.map((each) => (
              <MeasuredRow key={each.what} measured={each} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

const MEASURED_STATES = {
  equal: 'equal',
  differs: 'differs',
  any: 'any value is accepted',
  missing: 'no values are named',
} as const;

function MeasuredRow({ measured: { what, found, expected, state } }: { readonly measured: Measured }) {
  return (
    <tr class={state}>
      <th scope="row">{what}</th>
      <td>
        <Hex value={found} />
        {state === 'differs' &&
          expected.map(({ name, value }) => (
            <span class="expected" key={value}>
              {name}: <Difference found={found} expected={value} />
            </span>
          ))}
        {state === 'equal' && (
          <span class="expected">{expected.find(({ value }) => value === found)?.name}</span>
        )}
      </td>
      <td>{MEASURED_STATES[state]}</td>
    </tr>
  );
}

function Hex({ value }: { readonly value: string }) {
  return <code class="hex">{value === '' ? 'absent' : value}</code>;
}

/** The expected value, with the digits that are not those that were found marked. */
function Difference({ found, expected }: { readonly found: string; readonly expected: string }) {
  const parts: { readonly text: string; readonly same: boolean }[] = [];
  for (let i = 0; i < expected.length; i += 2) {
    const text = expected.slice(i, i + 2);
    const same = text === found.slice(i, i + 2);
    const last = parts.at(-1);
    if (last?.same === same) parts[parts.length - 1] = { text: last.text + text, same };
    else parts.push({ text, same });
  }
  return (
    <code class="hex">{parts.map(({ text, same }, i) => (same ? text : <mark key={i}>{text}</mark>))}</code>
  );
}

/** Devices that verified, each with its reference values. */
export function Devices({ devices }: { readonly devices: readonly DeviceFacts[] | undefined }) {
  if (!devices || devices.length === 0) return null;
  const differing = devices.filter(({ comparison }) => comparison.differing.length > 0);
  return (
    <section aria-labelledby="devices">
      <h2 id="devices">Devices that verified</h2>
      <div class="scroll" tabIndex={0} role="region" aria-labelledby="devices">
        <table>
          <thead>
            <tr>
              {['Device', 'Model', 'Mode', 'Driver', 'Firmware', 'Reference values', 'Leaf serial'].map(
                (name) => (
                  <th scope="col" key={name}>
                    {name}
                  </th>
                ),
              )}
            </tr>
          </thead>
          <tbody>
            {devices.map((device) => (
              <DeviceRow key={device.subject} device={device} />
            ))}
          </tbody>
        </table>
      </div>
      {differing.map((device) => (
        <Differences key={device.subject} device={device} />
      ))}
    </section>
  );
}

function DeviceRow({ device }: { readonly device: DeviceFacts }) {
  const { subject, kind, model, mode, driver, firmware, serial, simulated, comparison } = device;
  const { equal, differing, skipped } = comparison;
  return (
    <tr>
      <th scope="row">
        {subject}
        {simulated && <strong class="badge small-badge">SIMULATED</strong>}
      </th>
      <td>{model}</td>
      <td>{mode}</td>
      <td>{kind === 'gpu' ? driver : '–'}</td>
      <td>{firmware}</td>
      <td title={comparison.sources.join('; ')}>
        {equal} equal, {differing.length} different
        {skipped.length > 0 && `, ${skipped.length} not judged`}
      </td>
      <td>
        <code title={serial}>{serial.length > 16 ? `${serial.slice(0, 16)}…` : serial}</code>
      </td>
    </tr>
  );
}

/** Measurements of one device that are none of the published values, by RIM index. */
function Differences({ device: { subject, comparison } }: { readonly device: DeviceFacts }) {
  return (
    <details open class="differences">
      <summary>
        {subject}: {comparison.differing.length} measurements are not the published values
      </summary>
      <p class="small">Compared with {comparison.sources.join(' and ')}.</p>
      <dl>
        {comparison.differing.map(({ index, found, expected }) => (
          <div key={index}>
            <dt>Index {index}</dt>
            <dd>
              <Hex value={found} />
              {expected.map((value, i) => (
                <span class="expected" key={i}>
                  {i === 0 ? 'expected' : 'or'}: <Difference found={found} expected={value} />
                </span>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

/** What the receipt and the documents say, once they verified. */
export function Statements({ receipt, documents, shown, verdict }: Report) {
  const isSaid = verdict.decision !== 'accepted';
  return (
    <section class="statements" aria-labelledby="statements">
      <h2 id="statements">{isSaid ? 'What the input says of itself' : 'What is vouched for'}</h2>
      <div class="columns">
        {receipt.length > 0 && <Rows title="Receipt" rows={receipt} />}
        {documents.map((document, i) => (
          <Rows
            key={document.role}
            title={ROLES[document.role]}
            rows={documentRows(document, i > 0 ? documents[0] : undefined)}
          />
        ))}
        {shown.length > 0 && <Rows title="Opened content" rows={shown} />}
      </div>
    </section>
  );
}

/** Of a later document what it has in common with the earlier one is said there. */
function documentRows(
  { digest, seq, final, logSize, platform, rows }: DocumentFacts,
  earlier: DocumentFacts | undefined,
): readonly Row[] {
  const place = `${seq}${final ? ', the last of its instance' : ''}`;
  const own: readonly Row[] = [
    ['Digest', digest],
    ['Number', place],
    ['Log size', String(logSize)],
    ['Platform', platform],
  ];
  const isCommon = ([name, value]: Row) =>
    earlier?.rows.some(([other, said]) => other === name && said === value) ?? false;
  const rest = rows.filter((row) => !isCommon(row));
  return [
    ...own,
    ...rest,
    ...(rest.length < rows.length ? [['Else', 'as the cited evidence'] as const] : []),
  ];
}

function Rows({ title, rows }: { readonly title: string; readonly rows: readonly Row[] }) {
  return (
    <div class="rows">
      <h3>{title}</h3>
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}
