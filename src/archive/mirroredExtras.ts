import { isInstancePath } from '../export/paths.ts';
import type { MirroredLog } from './mirroredLog.ts';

/** Anchors may be written again while authorities answer: the newest are read again each time. */
const OPEN_ANCHORS = 4;
const ANCHOR = /^anchors\/(0|[1-9][0-9]*)\.cbor$/;

/** Digests of the files beside a log that the archive has, by path. */
type Known = ReadonlyMap<string, string>;

/** Paths of anchors and collateral that are to be read. */
export async function newExtras(log: MirroredLog, known: Known): Promise<readonly string[]> {
  const paths = await log.extras();
  const anchors = paths.filter((path) => ANCHOR.test(path));
  anchors.sort((a, b) => anchorSize(a) - anchorSize(b));
  const open = new Set(anchors.slice(-OPEN_ANCHORS));
  return paths.filter((path) => !known.has(path) || open.has(path));
}

/** Paths of the collateral that was kept with a document, as far as they are new. */
export async function newCollateral(log: MirroredLog, seq: number, known: Known): Promise<readonly string[]> {
  const path = `evidence/${seq}.collateral`;
  const named = await log.readExtra(path);
  if (!named) return [];
  const collateral = `collateral/${Buffer.from(named).toString('latin1').trim()}.cbor`;
  return [collateral, path].filter((each) => isInstancePath(each) && !known.has(each));
}

function anchorSize(path: string): number {
  return Number(ANCHOR.exec(path)?.[1]);
}
