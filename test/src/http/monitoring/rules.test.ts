import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ALARMS } from '../../../../src/http/monitoring/alarms.ts';
import { startTestService } from '../../../support/service.ts';

const FOLDER = new URL('../../../../src/http/monitoring/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, FOLDER), 'utf8');

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}
const DASHBOARD = JSON.parse(read('grafana-dashboard.json')) as { readonly panels: readonly Panel[] };

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly severity: string;
  readonly code: string;
  readonly summary: string;
  readonly advice: string;
}

/** The rules as the file writes them: a closed form of YAML, each value on the line of its name. */
function parseRules(text: string): readonly Rule[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  expect(lines.slice(0, 3)).toEqual(['groups:', '  - name: vouchsafe', '    rules:']);
  const rules: Record<string, string>[] = [];
  for (const line of lines.slice(3)) {
    const found = /^(?: {6}- (alert)| {8}(expr|for)| {10}(severity|code|summary|advice)): (.+)$/.exec(line);
    if (found === null) {
      expect(['        labels:', '        annotations:']).toContain(line);
      continue;
    }
    const [name, value] = [found[1] ?? found[2] ?? found[3]!, found[4]!];
    if (name === 'alert') rules.push({});
    const quoted = /^'((?:[^']|'')*)'$/.exec(value);
    // What is not quoted must need no quotes.
    if (!quoted) expect(value).toMatch(/^[\w]+$/);
    rules.at(-1)![name] = quoted ? quoted[1]!.replaceAll("''", "'") : value;
  }
  return rules as unknown as readonly Rule[];
}

const RULES = parseRules(read('alert-rules.yaml'));
const EXPRESSIONS = [
  ...RULES.map(({ expr }) => expr),
  ...DASHBOARD.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
];

describe('dashboard and alert rules', () => {
  let metrics: string;

  beforeAll(async () => {
    const { url } = await startTestService(
      {},
      {
        collateralStatus: () => ({ statements: [], gaps: [] }),
        world: { outsiders: () => Promise.resolve([{ name: 'w', kind: 'witness', confirm: never }]) },
      },
    );
    metrics = await (await fetch(`${url}/metrics`)).text();
  });

  test('every metric that they name is one of the service, under a label that it has', () => {
    const known = new Map(
      [...metrics.matchAll(/^# TYPE (\w+) (\w+)$/gm)].flatMap(([, name, type]) =>
        type === 'histogram'
          ? [`${name!}_bucket`, `${name!}_sum`, `${name!}_count`].map((part) => [part, type] as const)
          : [[name!, type!] as const],
      ),
    );
    const named = new Set(EXPRESSIONS.flatMap((expr) => expr.match(/\bvouchsafe_\w+/g) ?? []));
    expect([...named].filter((name) => !known.has(name))).toEqual([]);
    expect(named.size).toBeGreaterThan(30);
  });

  test('every alarm of the console has one rule, with its severity and words', () => {
    const alarms = Object.entries(ALARMS).map(([code, [severity, summary, advice]]) => ({
      code,
      severity,
      summary,
      advice,
    }));
    const own = RULES.filter(({ code }) => code !== 'DOWN');
    expect(own).toEqual(alarms.map((alarm) => expect.objectContaining(alarm)));
    expect(new Set(RULES.map(({ alert }) => alert)).size).toBe(RULES.length);
  });

  test('brackets of expressions close, and panels have names and places of their own', () => {
    for (const expr of EXPRESSIONS) {
      for (const [open, close] of ['()', '[]', '{}']) {
        expect(expr.split(open!).length).toBe(expr.split(close!).length);
      }
    }
    const { panels } = DASHBOARD;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  });
});

function never(): Promise<never> {
  return Promise.reject(new Error('nobody is asked'));
}
