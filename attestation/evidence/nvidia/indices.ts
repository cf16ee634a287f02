import type { ChipName } from './certificates.ts';

/** Measures the microcode of NVDEC0. With the engine off the value is undefined and is not judged. */
export const NVDEC0_INDEX = 35;

/** RIM indices that the vendor's manifests of a chip give values for. */
export interface JudgedIndices {
  /** Of the VBIOS manifest, for a switch of the BIOS manifest. */
  readonly firmware: readonly number[];
  /** Of the driver manifest; undefined where no such manifest was seen. */
  readonly driver: readonly number[] | undefined;
}

/**
 * As active in the manifests of the chip that were seen: what a set of pinned values must cover at least. Of GB20X
 * none was seen, of GB100 none for the driver. One GH100 driver manifest also judges 41, the others do not.
 */
export const JUDGED_INDICES: Readonly<Record<ChipName, JudgedIndices | undefined>> = {
  GH100: { firmware: [...span(0, 6), ...span(8, 12)], driver: [7, ...span(21, 40)] },
  GB100: { firmware: [...span(0, 13), ...span(15, 20)], driver: undefined },
  GB20X: undefined,
  LS10: { firmware: span(0, 30), driver: [] },
};

function span(first: number, last: number): readonly number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** `0-6, 8, 12`. */
export function indexText(indices: readonly number[]): string {
  const sorted = indices.toSorted((a, b) => a - b);
  const runs: [number, number][] = [];
  for (const index of sorted) {
    const last = runs.at(-1);
    if (last?.[1] === index - 1) last[1] = index;
    else runs.push([index, index]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
}

/** What pinned values of a chip must cover whatever the device reports: nothing where no manifest was seen. */
export function requiredIndices(chip: ChipName, withDriver: boolean): readonly number[] {
  const judged = JUDGED_INDICES[chip];
  const indices = [...(judged?.firmware ?? []), ...(withDriver ? (judged?.driver ?? []) : [])];
  return indices.filter((index) => index !== NVDEC0_INDEX);
}
