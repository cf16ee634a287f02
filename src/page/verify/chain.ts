import type { CheckId } from '../../../attestation/checks.ts';
import type { SimulatedComponent } from '../../../attestation/verdict/verdict.ts';
import type { Check, Report } from './protocol.ts';
import { gravest, isLimit, STATE_NAMES, stateOf, type State } from './states.ts';

/** The parts of the chain of trust, as the picture has them. */
export const PARTS = ['cpu', 'devices', 'statement', 'keyset', 'log', 'receipt', 'time'] as const;
export type Part = (typeof PARTS)[number];

export interface ChainNode {
  readonly part: Part;
  readonly title: string;
  readonly state: State;
  /** False where nothing of this part is in the input: it is drawn as absent. */
  readonly present: boolean;
  /** What the checks came to, in few words. */
  readonly status: string;
  readonly detail: string;
  readonly simulated: boolean;
}

export interface ChainEdge {
  readonly from: Part;
  readonly to: Part;
  readonly label: string;
  readonly state: State;
  readonly present: boolean;
}

export interface Chain {
  readonly nodes: readonly ChainNode[];
  readonly edges: readonly ChainEdge[];
}

const TITLES: Readonly<Record<Part, string>> = {
  cpu: 'CPU',
  devices: 'GPUs',
  statement: 'Statement',
  keyset: 'Keyset',
  log: 'Log',
  receipt: 'Receipt',
  time: 'Time',
};

/** Checks that belong elsewhere than their prefix says. */
const ELSEWHERE: Readonly<Partial<Record<CheckId, Part>>> = {
  'document.keyset': 'keyset',
  'document.time': 'keyset',
  'document.lower': 'time',
  'cpu.binding': 'statement',
  'devices.binding': 'statement',
  'log.witnesses': 'time',
  'log.timestamp': 'time',
  'log.upper': 'time',
  'receipt.time': 'time',
  'receipt.keyset': 'keyset',
};
const BY_PREFIX: Readonly<Record<string, Part>> = {
  document: 'statement',
  cpu: 'cpu',
  devices: 'devices',
  device: 'devices',
  token: 'devices',
  bundle: 'receipt',
  receipt: 'receipt',
  disclosure: 'receipt',
  log: 'log',
  operator: 'keyset',
};

/** The part of the picture that a check belongs to; limits belong to none. */
export function partOf({ id }: Pick<Check, 'id'>): Part | undefined {
  return ELSEWHERE[id] ?? BY_PREFIX[id.split('.')[0] ?? ''];
}

const COMPONENTS: Partial<Record<Part, SimulatedComponent>> = { cpu: 'cpu', devices: 'gpu' };

/** What the picture shows, from the checks alone: it says nothing that they do not. */
export function chainOf({ verdict, documents, receipt }: Report): Chain {
  const checks = verdict.checks.filter((check) => !isLimit(check));
  const details = detailsOf(documents, receipt, checks);
  const nodes = PARTS.map((part): ChainNode => {
    const own = checks.filter((check) => partOf(check) === part);
    const component = COMPONENTS[part];
    const simulated = component !== undefined && verdict.simulated.includes(component);
    const state = gravest(own);
    return {
      part,
      title: TITLES[part],
      // Hardware that proves nothing is never drawn as good.
      state: simulated && state === 'pass' ? 'warning' : state,
      present: own.length > 0,
      status: statusOf(own),
      detail: details[part] ?? '',
      simulated,
    };
  });
  return { nodes, edges: EDGES.map((edge) => edgeOf(edge, checks)) };
}

function statusOf(checks: readonly Check[]): string {
  if (checks.length === 0) return 'not in this input';
  const state = gravest(checks);
  const decisive = checks.find((check) => stateOf(check) === state);
  if (state === 'fail' || state === 'not-judged') return decisive?.code ?? STATE_NAMES[state];
  const passed = checks.filter(({ result }) => result === 'pass').length;
  if (state === 'open') return 'nothing to check';
  const rest = checks.length - passed;
  return rest === 0 ? `${passed} passed` : `${passed} passed, ${rest} not made`;
}

function detailsOf(
  documents: Report['documents'],
  receipt: Report['receipt'],
  checks: readonly Check[],
): Partial<Record<Part, string>> {
  const [first] = documents;
  const row = (name: string) => first?.rows.find(([label]) => label === name)?.[1] ?? '';
  const devices = new Set(checks.filter(({ id }) => id.startsWith('device.')).map(({ subject }) => subject));
  const perDocument = devices.size / Math.max(1, new Set([...devices].map(prefixOf)).size);
  return {
    cpu: first?.platform ?? '',
    devices: devices.size > 0 ? `${perDocument} device${perDocument === 1 ? '' : 's'}` : '',
    statement: first ? `document ${documents.map(({ seq }) => seq).join(' and ')}` : '',
    keyset: first ? `generation ${row('Generation')}` : '',
    log: first ? `${documents.at(-1)?.logSize ?? 0} entries covered` : '',
    receipt: receipt.find(([label]) => label === 'Model')?.[1] ?? '',
  };
}

/** `cited` and `covering` stand before subjects where there are two documents. */
function prefixOf(subject: string): string {
  return /^(?:cited|covering) /.exec(subject)?.[0] ?? '';
}

interface EdgeShape {
  readonly from: Part;
  readonly to: Part;
  readonly label: string;
  /** The checks that this line stands for. */
  readonly ids: readonly CheckId[];
}

const EDGES: readonly EdgeShape[] = [
  { from: 'cpu', to: 'statement', label: 'report data', ids: ['cpu.binding'] },
  { from: 'devices', to: 'statement', label: 'nonce', ids: ['device.nonce', 'devices.binding'] },
  { from: 'statement', to: 'keyset', label: 'vouches for', ids: ['document.keyset'] },
  { from: 'statement', to: 'log', label: 'log root', ids: ['log.checkpoint', 'log.covering'] },
  { from: 'keyset', to: 'receipt', label: 'signs', ids: ['receipt.signature'] },
  { from: 'log', to: 'receipt', label: 'holds', ids: ['log.inclusion', 'log.covered'] },
  { from: 'log', to: 'time', label: 'seen by', ids: ['log.timestamp', 'log.witnesses', 'log.upper'] },
];

function edgeOf({ ids, ...edge }: EdgeShape, checks: readonly Check[]): ChainEdge {
  const own = checks.filter(({ id }) => ids.includes(id));
  return { ...edge, state: gravest(own), present: own.length > 0 };
}

/** The picture in words. */
export function chainText({ nodes }: Chain): string {
  return nodes
    .map(({ title, status, state, simulated }) => {
      const badge = simulated ? ', SIMULATED' : '';
      return `${title}: ${STATE_NAMES[state]}, ${status}${badge}`;
    })
    .join('. ');
}
