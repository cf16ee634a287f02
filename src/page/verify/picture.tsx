import { chainOf, chainText, type Chain, type ChainEdge, type ChainNode, type Part } from './chain.ts';
import type { Report } from './protocol.ts';
import { SYMBOLS } from './states.ts';

interface Place {
  readonly x: number;
  readonly y: number;
}

interface Layout {
  readonly name: 'wide' | 'narrow';
  readonly width: number;
  readonly height: number;
  /** Of every box. */
  readonly box: { readonly width: number; readonly height: number };
  /** Top left corners. */
  readonly places: Readonly<Record<Part, Place>>;
  /** Characters of a status that fit into a box. */
  readonly characters: number;
}

const WIDE: Layout = {
  name: 'wide',
  width: 760,
  height: 404,
  box: { width: 216, height: 74 },
  characters: 27,
  places: {
    cpu: { x: 92, y: 2 },
    devices: { x: 452, y: 2 },
    statement: { x: 272, y: 110 },
    keyset: { x: 2, y: 219 },
    log: { x: 542, y: 219 },
    receipt: { x: 272, y: 328 },
    time: { x: 542, y: 328 },
  },
};

const NARROW: Layout = {
  name: 'narrow',
  width: 340,
  height: 432,
  box: { width: 160, height: 78 },
  characters: 22,
  places: {
    cpu: { x: 2, y: 2 },
    devices: { x: 178, y: 2 },
    statement: { x: 90, y: 117 },
    keyset: { x: 2, y: 234 },
    log: { x: 178, y: 234 },
    receipt: { x: 2, y: 350 },
    time: { x: 178, y: 350 },
  },
};

/** The chain of trust, drawn. The list of checks says the same in words. */
export function Picture({ report }: { readonly report: Report }) {
  const chain = chainOf(report);
  return (
    <figure class="chain">
      <Drawing chain={chain} layout={WIDE} />
      <Drawing chain={chain} layout={NARROW} />
      <figcaption>
        Each line is a commitment that was checked, or drawn dotted where it was not. What a box came to
        stands in it.
      </figcaption>
    </figure>
  );
}

function Drawing({ chain, layout }: { readonly chain: Chain; readonly layout: Layout }) {
  const { name, width, height } = layout;
  const id = `chain-${name}`;
  return (
    <svg
      class={`drawing ${name}`}
      viewBox={`0 0 ${width} ${height}`}
      role="img"
      aria-labelledby={`${id}-title ${id}-text`}
    >
      <title id={`${id}-title`}>Chain of trust</title>
      <desc id={`${id}-text`}>{chainText(chain)}</desc>
      {chain.edges.map((edge) => (
        <Line key={`${edge.from}-${edge.to}`} edge={edge} layout={layout} />
      ))}
      {chain.nodes.map((node) => (
        <Box key={node.part} node={node} layout={layout} />
      ))}
    </svg>
  );
}

function Box({ node, layout }: { readonly node: ChainNode; readonly layout: Layout }) {
  const { x, y } = layout.places[node.part];
  const { width, height } = layout.box;
  const { state, present, title, status, detail, simulated } = node;
  return (
    <g class={`box ${present ? state : 'absent'}`}>
      <rect x={x} y={y} width={width} height={height} rx="3" />
      <text class="box-title" x={x + 12} y={y + 24}>
        {title}
      </text>
      <text class="box-symbol" x={x + width - 12} y={y + 25} text-anchor="end">
        {present ? SYMBOLS[state] : ''}
      </text>
      <text class="box-status" x={x + 12} y={y + 44}>
        {cut(status, layout.characters)}
      </text>
      <text class={simulated ? 'box-simulated' : 'box-detail'} x={x + 12} y={y + 62}>
        {cut(simulated ? `SIMULATED ${detail}` : detail, layout.characters)}
      </text>
    </g>
  );
}

function cut(text: string, characters: number): string {
  return text.length <= characters ? text : `${text.slice(0, characters - 1)}…`;
}

function Line({ edge, layout }: { readonly edge: ChainEdge; readonly layout: Layout }) {
  const [from, to] = [layout.places[edge.from], layout.places[edge.to]];
  const { width, height } = layout.box;
  // From the lower edge of one box to the upper edge of the next, or from side to side of boxes of one row.
  const isRow = from.y === to.y;
  const start = isRow
    ? { x: from.x + width, y: from.y + height / 2 }
    : { x: towards(from.x, to.x, width), y: from.y + height };
  const end = isRow ? { x: to.x, y: to.y + height / 2 } : { x: towards(to.x, from.x, width), y: to.y };
  return (
    <g class={`edge ${edge.present ? edge.state : 'absent'}`}>
      <path d={`M${start.x} ${start.y}L${end.x} ${end.y}`} />
      <circle cx={end.x} cy={end.y} r="3" />
      <text x={(start.x + end.x) / 2 + 8} y={(start.y + end.y) / 2 + 4}>
        {edge.label}
      </text>
    </g>
  );
}

/** Where a line leaves a box: its middle, moved a third of the width towards the other. */
function towards(own: number, other: number, width: number): number {
  return own + width / 2 + Math.sign(other - own) * (width / 4);
}
