import type { JSX } from 'preact';
import type { FeedEntry } from './report.ts';
import { Panel, Table } from './tables.tsx';
import { amount, clock } from './words.ts';

interface FeedProps {
  /** By falling index. */
  readonly entries: readonly FeedEntry[];
  readonly now: number;
  readonly onOlder: () => void;
}

/** The log as it grows: who asked and what stands nowhere here. */
export function Feed({ entries, now, onOlder }: FeedProps): JSX.Element {
  const last = entries.at(-1);
  return (
    <Panel id="feed" title="Receipts">
      <p class="quiet">Entries of the log, the newest first. Content and tenants are not in them.</p>
      <Table
        label="Receipts"
        heads={[['Index', 'number'], ['Time'], ['Outcome'], ['What'], ['Usage'], ['Channel'], ['Id']]}
      >
        {entries.map((entry) => (
          <Entry key={entry.index} entry={entry} now={now} />
        ))}
      </Table>
      {last && last.index > 0 && (
        <button type="button" class="older" onClick={onOlder}>
          Older entries
        </button>
      )}
    </Panel>
  );
}

const RECORDS = {
  open: 'log opened',
  epoch: 'epoch',
  act: 'act',
  statement: 'statement of somebody else',
} as const;

function Entry({ entry, now }: { readonly entry: FeedEntry; readonly now: number }): JSX.Element {
  const { kind, index, time } = entry;
  const when = time === undefined ? '–' : clock(time, now);
  if (kind !== 'receipt') {
    return (
      <tr class="record">
        <td class="number">{index}</td>
        <td>{when}</td>
        <td colSpan={5}>
          {RECORDS[kind]} {entry.detail !== undefined && <>({entry.detail})</>}
        </td>
      </tr>
    );
  }
  const { outcome = '', reason, model, channel, id } = entry;
  return (
    <tr>
      <td class="number">{index}</td>
      <td>{when}</td>
      <td>
        <span class={`badge ${OUTCOMES[outcome] ?? 'warning'}`}>{outcome}</span>
        {reason !== null && <code> {reason}</code>}
      </td>
      <td>{model}</td>
      <td>{usageOf(entry)}</td>
      <td>{channel}</td>
      <td>
        <code>{id}</code>
      </td>
    </tr>
  );
}

const OUTCOMES: Readonly<Record<string, string>> = {
  complete: 'good',
  aborted: 'neutral',
  refused: 'neutral',
  error: 'critical',
};

function usageOf({ usage = {} }: FeedEntry): string {
  const { prompt_tokens: prompt, completion_tokens: completion, ...others } = usage;
  const parts = [
    ...(prompt === undefined ? [] : [`${amount(prompt)} in`]),
    ...(completion === undefined ? [] : [`${amount(completion)} out`]),
  ];
  if (parts.length > 0) return parts.join(', ');
  return Object.entries(others)
    .map(([name, count]) => `${amount(count)} ${name.replaceAll('_', ' ')}`)
    .join(', ');
}
