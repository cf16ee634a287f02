import { join } from 'node:path';
import type { SegmentFiles } from '../../../attestation/archive/renewalFiles.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import { openDataFolder } from '../../export/dataFolder.ts';
import { ExportError } from '../../export/errors.ts';
import { INSTANCES } from '../../export/paths.ts';
import type { InstanceFiles } from '../../export/source.ts';
import { isLocked } from '../../log/lock.ts';
import { RenewalError } from './errors.ts';

/** What a live log replaces: the newest checkpoint, edges of the tree, and anchors that gain timestamps. */
const REPLACED = /^checkpoint$|\.p\/|^anchors\//;
const DOCUMENT = /^evidence\/(\d+)\.cbor$/;

export interface RenewableInstance {
  readonly files: SegmentFiles;
  /** Files that may still be replaced, which a renewal leaves out. */
  readonly isOpen: (path: string) => boolean;
}

/** All instances of a data folder. The newest is open until its final evidence, and so is one that is being written. */
export async function openInstances(data: string): Promise<readonly RenewableInstance[]> {
  const instances = await readInstances(data);
  const newest = Math.max(0, ...instances.map(({ created }) => created));
  const renewable: RenewableInstance[] = [];
  for (const files of instances) {
    const isLive =
      (await isLocked(join(data, INSTANCES, files.instance))) ||
      (files.created === newest && !(await isFinal(files)));
    renewable.push({ files, isOpen: (path) => isLive && REPLACED.test(path) });
  }
  return renewable;
}

async function readInstances(data: string): Promise<readonly InstanceFiles[]> {
  try {
    return await openDataFolder(data).instances();
  } catch (error) {
    if (error instanceof ExportError) throw new RenewalError('DATA_UNREADABLE', error.message, error);
    throw error;
  }
}

async function isFinal(files: InstanceFiles): Promise<boolean> {
  let last = -1;
  for await (const path of files.paths()) last = Math.max(last, Number(DOCUMENT.exec(path)?.[1] ?? -1));
  const document = last < 0 ? undefined : await files.read(`evidence/${last}.cbor`);
  try {
    return document !== undefined && parseDocument(document).statement.final;
  } catch (error) {
    // Damage is for the verifier to name.
    if (error instanceof Refusal) return false;
    throw error;
  }
}
