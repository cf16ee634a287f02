import { TILE_WIDTH } from '../../../attestation/log/tiles.ts';
import type { DocumentReport, InstanceReport } from '../report.ts';
import type { Markup } from './markup.ts';
import { stripPlot, type CellColor, type StripRow } from './plots.ts';

const DECISION_COLORS = { accepted: 'pass', refused: 'fail', 'not-judged': 'skip' } as const;
const MAX_DEVICES = 80;

/** What of the log is here, what is missing, and what is covered. */
export function gapPlot({ checkpoint, coveredSize, entries, instance, missing }: InstanceReport): Markup {
  const gone = missing.map(({ from, to }) => ({ from: from * TILE_WIDTH, to: to * TILE_WIDTH }));
  const size = Math.max(checkpoint?.size ?? 0, entries, ...gone.map(({ to }) => to));
  const rows: StripRow[] = [
    {
      name: 'entries here',
      parts: [
        { from: 0, to: size, color: 'pass', title: `entries 0 to ${size - 1}` },
        ...gone.map(({ from, to }) => ({
          from,
          to: Math.min(to, size),
          color: 'skip' as const,
          title: `entries ${from} to ${Math.min(to, size) - 1} are not here`,
        })),
      ],
    },
    {
      name: 'covered by hardware',
      parts: [
        { from: 0, to: Math.min(coveredSize, size), color: 'pass', title: `below ${coveredSize}` },
        ...(coveredSize < size
          ? [
              {
                from: coveredSize,
                to: size,
                color: 'skip' as const,
                title: `from ${coveredSize} on not covered`,
              },
            ]
          : []),
      ],
    },
  ];
  const scale = { start: 0, end: size, startText: 'entry 0', endText: `entry ${Math.max(0, size - 1)}` };
  return stripPlot(
    `Gaps of ${instance}`,
    rows,
    scale,
    'Entries of the log: green is there, amber is missing or not covered.',
  );
}

export function epochPlot(report: InstanceReport): Markup {
  const { documents, instance } = report;
  const end = Math.max(
    1,
    ...documents.map(({ cited, logSize }) => Math.max(logSize, (cited?.last ?? 0) + 1)),
  );
  const parts = documents.flatMap(({ cited, facts, seq }) =>
    cited
      ? [
          {
            from: cited.first,
            to: cited.last + 1,
            color: DECISION_COLORS[facts.decision],
            title: `document ${seq}: ${cited.receipts} receipts`,
          },
        ]
      : [],
  );
  const scale = { start: 0, end, startText: 'entry 0', endText: `entry ${end - 1}` };
  const caption = 'Epochs: the receipts that cite each evidence document, green where the policy accepts it.';
  return stripPlot(`Epochs of ${instance}`, [{ name: 'epochs', parts }], scale, caption);
}

/** Which machine and devices the documents are of. */
export function devicePlot({ documents, instance }: InstanceReport): Markup {
  const rows = new Map<string, StripRow['parts'][number][]>();
  for (const document of documents) {
    for (const name of namesOf(document))
      rows.set(name, [
        ...(rows.get(name) ?? []),
        cellOf(document, DECISION_COLORS[document.facts.decision], name),
      ]);
  }
  const list = [...rows].slice(0, MAX_DEVICES).map(([name, parts]) => ({ name, parts }));
  return stripPlot(
    `Devices of ${instance}`,
    list,
    documentScale(documents),
    'The CPU and the devices of each evidence document.',
  );
}

function namesOf({ facts }: DocumentReport): readonly string[] {
  const cpu =
    facts.machine === undefined ? `${facts.platform}: not verified` : `${facts.platform} ${facts.machine}`;
  return [cpu, ...facts.devices.map(({ kind, serial }) => `${kind} ${serial}`)];
}

const TCB_COLORS: Readonly<Record<string, CellColor>> = { pass: 'pass', fail: 'fail', skip: 'skip' };

export function tcbPlot({ documents, instance }: InstanceReport): Markup {
  const parts = documents.map((document) => {
    const { tcb } = document.facts;
    const color = tcb ? (TCB_COLORS[tcb.result] ?? 'none') : 'none';
    return cellOf(document, color, tcb ? `${tcb.code}: ${tcb.reason}` : 'not reached');
  });
  const caption =
    'Firmware level of the CPU as judged for each document: green passes, amber is not required, red fails.';
  return stripPlot(
    `TCB status of ${instance}`,
    [{ name: 'firmware level', parts }],
    documentScale(documents),
    caption,
  );
}

function cellOf({ seq, upper }: DocumentReport, color: CellColor, text: string): StripRow['parts'][number] {
  const when = upper ? `, seen ${new Date(upper.time).toISOString()}` : '';
  return { from: seq, to: seq + 1, color, title: `document ${seq}${when}: ${text}` };
}

function documentScale(documents: readonly DocumentReport[]) {
  const [first, last] = [documents[0]?.seq ?? 0, documents.at(-1)?.seq ?? 0];
  return { start: first, end: last + 1, startText: `document ${first}`, endText: `document ${last}` };
}
