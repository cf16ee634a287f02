import { Refusal } from '../../attestation/errors.ts';
import { RENEWALS } from '../../attestation/archive/renewal.ts';
import { parseRenewalName } from '../../attestation/archive/renewalFiles.ts';
import { parseTilePath } from '../../attestation/log/tiles.ts';

/** Member of an export that lists all others; the last one to be written. */
export const MANIFEST = 'manifest.json';
export const INSTANCES = 'instances';
export const POLICIES = 'policies';
/** Folders of files that are of no instance, in code-unit order; `INSTANCES` comes before them. */
export const SHARED_FOLDERS = [POLICIES, RENEWALS] as const;

const FILES = new Set(['origin', 'created', 'checkpoint']);
const NUMBERED =
  /^(?:evidence\/(?:0|[1-9][0-9]{0,14})\.(?:cbor|collateral)|anchors\/(?:0|[1-9][0-9]{0,14})\.cbor)$/;
const BY_DIGEST = /^(?:collateral|acts)\/[0-9a-f]{64}\.cbor$/;
const POLICY = /^policies\/[0-9a-f]{64}\.json$/;
const RENEWAL = /^renewals\/([^/]+)$/;
const MEMBER = /^instances\/([0-9a-f]{32})\/(.+)$/;

/** Whether a path may stand below an instance's folder: the closed layout, so that no path leads out of it. */
export function isInstancePath(path: string): boolean {
  if (path.startsWith('tile/')) return isTilePath(path);
  return FILES.has(path) || NUMBERED.test(path) || BY_DIGEST.test(path);
}

function isTilePath(path: string): boolean {
  try {
    parseTilePath(path);
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

export interface MemberPath {
  readonly instance: string;
  readonly path: string;
}

/** Whether a path is of a file that is of no instance. */
export function isSharedPath(path: string): boolean {
  const [, renewal] = RENEWAL.exec(path) ?? [];
  return POLICY.test(path) || (renewal !== undefined && parseRenewalName(renewal) !== undefined);
}

/** Whether a name has a place in an export, beside the manifest. */
export function isMember(name: string): boolean {
  return parseMember(name) !== undefined || isSharedPath(name);
}

/** Instance and path of a member that is of an instance; undefined for what is not. */
export function parseMember(name: string): MemberPath | undefined {
  const [, instance, path] = MEMBER.exec(name) ?? [];
  if (instance === undefined || path === undefined || !isInstancePath(path)) return undefined;
  return { instance, path };
}

export function memberName({ instance, path }: MemberPath): string {
  return `${INSTANCES}/${instance}/${path}`;
}

/** Order of JavaScript strings: by code units, the same everywhere. */
export function byCodeUnits(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
