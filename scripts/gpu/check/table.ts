import type { Figure, Finding, ModelFacts, Report } from './result.ts';

const MARKS = { pass: 'ok  ', fail: 'FAIL', skip: '-   ' } as const;

/** The report for people. */
export function tableOf(report: Report): string {
  const { gpu, provider, node, cores, pack, complete, holds } = report;
  const card = gpu
    ? `${gpu.name}, ${gpu.memoryMiB ?? '?'} MiB, compute capability ${gpu.computeCapability}; driver ${gpu.driver}, CUDA ${gpu.cuda ?? '?'}`
    : 'no NVIDIA device seen';
  const lines = [
    card,
    `provider ${provider}, Node ${node}, ${cores} cores`,
    `pack ${pack ?? 'none: a clone'}`,
  ];
  for (const facts of report.models) lines.push('', ...modelLines(facts, report));
  const known = new Set(report.models.map(({ model }) => model));
  const others = report.findings.filter(({ model }) => !known.has(model));
  if (others.length > 0)
    lines.push('', 'not loaded', ...others.map((f) => `  ${f.model}  ${findingLine(f)}`));
  const failed = report.findings.filter(({ outcome }) => outcome === 'fail').length;
  const verdict = holds ? 'holds' : failed > 0 ? `DOES NOT HOLD: ${failed} failed` : 'DOES NOT HOLD';
  lines.push('', complete ? verdict : `NOT COMPLETE, ${verdict}`);
  return `${lines.join('\n')}\n`;
}

function modelLines(facts: ModelFacts, { findings, figures }: Report): readonly string[] {
  const { model, runtime, providers, options, loadMs, referenceLoadMs } = facts;
  const batching = ['decoder', 'decoder_batching', 'embedding_batching']
    .filter((name) => options[name] !== undefined)
    .map((name) => `${name} ${options[name] ?? ''}`);
  const loading = `loaded in ${seconds(loadMs)}, on the CPU in ${seconds(referenceLoadMs)}`;
  return [
    `${model}: ${[providers.join(', '), runtime, loading, ...batching].join('; ')}`,
    ...findings.filter((finding) => finding.model === model).map((finding) => `  ${findingLine(finding)}`),
    ...figures.filter((figure) => figure.model === model).map((figure) => `  ${figureLine(figure)}`),
  ];
}

const findingLine = ({ check, outcome, detail }: Finding): string =>
  `${MARKS[outcome]} ${check.padEnd(36)} ${detail}`;

const figureLine = ({ name, value, unit }: Figure): string =>
  `     ${name.padEnd(48)} ${value.toPrecision(4).padStart(10)} ${unit}`;

const seconds = (milliseconds: number | undefined): string =>
  milliseconds === undefined ? '?' : `${(milliseconds / 1000).toFixed(2)} s`;
