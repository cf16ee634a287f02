import type { GpuCase } from '../corpus/gpu/case.ts';
import { measureInBrowser } from './browserRun.ts';
import { figure, goal, type Figure } from './figure.ts';
import { fullGpuCase } from './gpuCase.ts';
import { measureCold, measureOnNode, type Sample } from './gpuOnNode.ts';
import { median } from './measure.ts';

const BROWSER_MS = 150;

/** Figures of the GPU verifier; none where no genuine evidence lies beside the clone. */
export async function gpuFigures(rounds: number, say: (text: string) => void): Promise<readonly Figure[]> {
  const gpuCase = fullGpuCase();
  if (!gpuCase) {
    say('gpu: skipped: no shared corpus');
    return [];
  }
  return [...(await onNode(gpuCase, rounds)), ...(await inBrowser(gpuCase, rounds, say))];
}

async function onNode(gpuCase: GpuCase, rounds: number): Promise<readonly Figure[]> {
  const { ours, cached, bare, imported, signatures } = await measureOnNode(gpuCase, rounds);
  const cold = await measureCold(gpuCase, rounds);
  const within2 = (value: number) => value <= 2;
  return [
    ...spread('H100 with manifests and OCSP', wallOf(ours)),
    figure('  processor time', median(cpuOf(ours)), 'ms'),
    ...spread('  first in a new process', cold),
    figure('  with chains and keys remembered', median(wallOf(cached)), 'ms'),
    ...spread(`  its ${signatures} signatures alone, keys read`, wallOf(imported)),
    figure('  the same, keys read before', median(wallOf(bare)), 'ms'),
    goal(
      '  against the signatures with their keys',
      median(wallOf(ours)) / median(wallOf(imported)),
      'x',
      'within 2',
      within2,
    ),
    goal(
      '  the same in processor time',
      median(cpuOf(ours)) / median(cpuOf(imported)),
      'x',
      'within 2',
      within2,
    ),
    figure('  against the signatures alone', median(wallOf(ours)) / median(wallOf(bare)), 'x'),
  ];
}

async function inBrowser(
  gpuCase: GpuCase,
  rounds: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> {
  const pages = await measureInBrowser(gpuCase, rounds);
  if (!pages) {
    say('browser: skipped: no Chromium');
    return [];
  }
  const quick = (value: number) => value <= BROWSER_MS;
  const text = `at most ${BROWSER_MS}`;
  const warm = pages.flatMap((page) => page.warm);
  const cold = pages.map((page) => page.cold);
  return [
    goal('the same in Chromium', median(warm), 'ms', text, quick),
    figure('  the least', Math.min(...warm), 'ms'),
    goal('  first in a new browser', median(cold), 'ms', text, quick),
    figure('  the least', Math.min(...cold), 'ms'),
    figure('  its signatures alone', median(pages.flatMap(({ signatures }) => signatures)), 'ms'),
  ];
}

function spread(name: string, values: readonly number[]): readonly Figure[] {
  return [figure(name, median(values), 'ms'), figure('  the least', Math.min(...values), 'ms')];
}

function wallOf(samples: readonly Sample[]): readonly number[] {
  return samples.map(({ wall }) => wall);
}

function cpuOf(samples: readonly Sample[]): readonly number[] {
  return samples.map(({ cpu }) => cpu);
}
