import type { JSX } from 'preact';
import { Advice } from './advice.tsx';
import type { Alarm } from './report.ts';
import { counted } from './words.ts';

const WORD = { critical: 'Critical', warning: 'Warning', notice: 'Notice' } as const;
/** An alarm about many things names so many of them. */
const MOST_CAUSES = 8;

export function Alarms({ alarms }: { readonly alarms: readonly Alarm[] }): JSX.Element {
  return (
    <section aria-labelledby="alarms">
      <h2 id="alarms">Alarms</h2>
      {/* Only a change of the sentence is read out. */}
      <p role="status">{summary(alarms)}</p>
      {alarms.length > 0 && (
        <ul class="alarms">
          {alarms.map((alarm) => (
            <AlarmItem key={alarm.code} alarm={alarm} />
          ))}
        </ul>
      )}
    </section>
  );
}

function summary(alarms: readonly Alarm[]): string {
  const of = (severity: Alarm['severity']): number =>
    alarms.filter((alarm) => alarm.severity === severity).length;
  const [critical, warnings, notices] = [of('critical'), of('warning'), of('notice')];
  if (critical + warnings === 0) {
    return notices === 0 ? 'None.' : `Nothing needs a person. ${counted(notices, 'notice')}.`;
  }
  const parts = [
    critical > 0 && `${critical} critical`,
    warnings > 0 && counted(warnings, 'warning'),
    notices > 0 && counted(notices, 'notice'),
  ];
  return `${parts.filter((part) => part !== false).join(', ')}.`;
}

function AlarmItem({ alarm }: { readonly alarm: Alarm }): JSX.Element {
  const { code, severity, summary: what, advice, causes } = alarm;
  return (
    <li class={`alarm ${severity}`}>
      <p>
        <strong class={`badge ${severity}`}>{WORD[severity]}</strong> <code>{code}</code>
      </p>
      <p>{what}</p>
      {causes.length > 0 && <Causes causes={causes} />}
      <p class="advice">
        <Advice text={advice} />
      </p>
    </li>
  );
}

function Causes({ causes }: Pick<Alarm, 'causes'>): JSX.Element {
  const rest = causes.length - MOST_CAUSES;
  return (
    <ul class="causes">
      {causes.slice(0, MOST_CAUSES).map(({ subject, code: cause, advice: how }) => (
        <li key={`${subject} ${cause ?? ''}`}>
          {subject}
          {cause !== null && (
            <>
              {' '}
              <code>{cause}</code>
            </>
          )}
          {how !== null && (
            <span class="quiet">
              {' '}
              <Advice text={how} />
            </span>
          )}
        </li>
      ))}
      {rest > 0 && <li>and {counted(rest, 'other')}</li>}
    </ul>
  );
}
