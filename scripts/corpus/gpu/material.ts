import { fromHex } from '../../../attestation/bytes/bytes.ts';
import type { CaseFile } from '../case.ts';
import type { GpuCase, Variant } from './case.ts';
import { isDeviceOcsp, isReferenceOcsp, roleOf, ROLES, rolesOfChange, type Role } from './roles.ts';

/** What one judgement is made of: the files with their roles, the time and the nonce. */
export interface Material {
  /** Every file of the case by path, those without a part in this judgement among them. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly uses: readonly Use[];
  readonly times: Times;
  readonly nonceHex: string | undefined;
}

export interface Use {
  readonly role: Role;
  readonly path: string;
}

/** As written in the case. */
export interface Times {
  readonly verifyAt: string | undefined;
  /** Of the device's OCSP responses, where they are of another day. */
  readonly deviceOcspVerifyAt: string | undefined;
}

/** What a case is judged by before any variant changes it. Throws for a role that is not known. */
export function ownMaterial({ files, variants, ...rest }: GpuCase): Material {
  return {
    files: new Map(files.map(({ path, bytes }) => [path, bytes])),
    uses: files.flatMap((file) => useOf(file, files, variants)),
    times: {
      verifyAt: rest.verifyAt ?? undefined,
      deviceOcspVerifyAt: rest.deviceOcspVerifyAt ?? undefined,
    },
    nonceHex: rest.expectedNonceHex ?? undefined,
  };
}

/**
 * The part of a file in its own case. Where two have one role, that which a variant brings in for it is not the
 * case's own; neither is a sample whose role says no more than what it is.
 */
function useOf(file: CaseFile, all: readonly CaseFile[], variants: readonly Variant[]): readonly Use[] {
  const role = roleOf(file.role);
  const broughtIn = variants.flatMap(({ change }) =>
    Object.entries(change).flatMap(([key, path]) => (path === file.path ? rolesOfChange(key) : [])),
  );
  if (role === undefined) {
    if (broughtIn.length > 0) return [];
    throw new Error(`${file.path} has the unknown role «${file.role}»`);
  }
  const rivals = all.filter((other) => roleOf(other.role) === role);
  return rivals.length > 1 && broughtIn.includes(role) ? [] : [{ role, path: file.path }];
}

/** Files of the roles, in the order of the case. */
export function filesOf({ files, uses }: Material, roles: readonly Role[]): readonly CaseFile[] {
  return uses.flatMap(({ role, path }) => {
    const bytes = files.get(path);
    return roles.includes(role) && bytes ? [{ role, path, bytes }] : [];
  });
}

/** The one file of the role; undefined where there is none. Throws where it is not clear which is meant. */
export function fileOf(material: Material, ...roles: readonly Role[]): Uint8Array | undefined {
  const found = filesOf(material, roles);
  if (found.length > 1) {
    throw new Error(`${found.map(({ path }) => path).join(' and ')} all have the role ${roles.join(' or ')}`);
  }
  return found[0]?.bytes;
}

export function ocspOf(material: Material, of: 'device' | 'reference'): readonly Uint8Array[] {
  const belongs = of === 'device' ? isDeviceOcsp : isReferenceOcsp;
  const roles = material.uses.map(({ role }) => role).filter(belongs);
  return filesOf(material, roles).map(({ bytes }) => bytes);
}

/** Milliseconds since 1970. */
export function instantOf(text: string | undefined, what: string): number {
  if (text === undefined) throw new Error(`the case states no ${what}`);
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new Error(`${what} ${text} is no instant`);
  return time;
}

/** The nonce of the asker. */
export function nonceOf({ nonceHex }: Material): Uint8Array {
  if (nonceHex === undefined) throw new Error('the case states no expectedNonceHex');
  if (!/^(?:[0-9a-f]{2})+$/i.test(nonceHex)) throw new Error('expectedNonceHex is no hex');
  return fromHex(nonceHex.toLowerCase());
}

/**
 * What the case asks for, read from its own files: a variant that leaves a file out does not ask for less than the
 * case does.
 */
export interface Demands {
  readonly kind: 'devices' | 'tokens' | 'manifests';
  readonly deviceOcsp: boolean;
  readonly referenceOcsp: boolean;
  readonly tokens: boolean;
  /** Without a key set a token is parsed and no more. */
  readonly keySet: boolean;
  /** Whether measurements are judged: where a service judged them and no manifest is there, it alone vouches for them. */
  readonly references: boolean;
}

export function demandsOf({ uses }: Material): Demands {
  const has = (...roles: readonly Role[]) => uses.some(({ role }) => roles.includes(role));
  const tokens = has(...ROLES.TOKENS);
  const keySet = has('nras-jwks');
  const devices = has(...ROLES.REPORTS, ...ROLES.CHAINS, ...ROLES.ARRAYS, 'nras-request-body');
  const manifests = has(...ROLES.REFERENCES, ...ROLES.ALONE);
  if (!devices && !tokens && !manifests) throw new Error('the case has nothing to judge');
  const demands: Demands = {
    kind: devices ? 'devices' : tokens ? 'tokens' : 'manifests',
    deviceOcsp: uses.some(({ role }) => isDeviceOcsp(role)),
    referenceOcsp: uses.some(({ role }) => isReferenceOcsp(role)),
    tokens,
    keySet,
    references: !(tokens && keySet) || has(...ROLES.REFERENCES),
  };
  const useless = uses.find(({ role }) => !hasPart(role, demands));
  if (useless) throw new Error(`${useless.path}: a file «${useless.role}» has no part in such a case`);
  return demands;
}

/** A file that nothing reads would be a check that nobody makes. */
function hasPart(role: Role, { kind, tokens }: Demands): boolean {
  const among = (...roles: readonly Role[]) => roles.includes(role);
  if (among('trust anchor to inject (device)')) return kind === 'devices';
  if (among('trust anchor to inject (RIM)') || among(...ROLES.REFERENCES)) return kind !== 'tokens';
  if (among(...ROLES.ALONE, ROLES.NOT_AN_ANCHOR)) return kind === 'manifests';
  if (among(...ROLES.TOKENS, 'nras-jwks')) return tokens && kind !== 'manifests';
  if (among('policy')) return false;
  return isReferenceOcsp(role) ? kind !== 'tokens' : kind === 'devices';
}
