import {
  DEFAULT_AZURE_CLAIMS,
  DEFAULT_SNP,
  DEFAULT_TDX,
  DEFAULT_VTPM,
} from '../../../attestation/policy/defaults.ts';
import { parsePolicy, type Policy, type Reference } from '../../../attestation/policy/policy.ts';
import type { TpmPolicy } from '../../../attestation/policy/tpm.ts';
import { ImageError } from '../errors.ts';
import type { ImageManifest, ManifestPrediction } from './manifest.ts';
import { profileName } from './predictImage.ts';
import type { BootWay } from './profiles.ts';
import { type Releases, standingOf } from './releases.ts';

/** Platforms for which an image has values. */
export const POLICY_PLATFORMS = ['tpm', 'gcp-vtpm', 'azure-snp', 'azure-tdx', 'snp', 'tdx'] as const;
export type PolicyPlatform = (typeof POLICY_PLATFORMS)[number];

export interface PolicyRequest {
  readonly manifests: readonly ImageManifest[];
  readonly platform: PolicyPlatform;
  /** What it says of everything else. */
  readonly base: Policy;
  /** How an accepted image may come up. */
  readonly boots: readonly BootWay[];
  readonly bank: 'sha256' | 'sha384';
  /** A verified statement on releases, and the time; undefined accepts every manifest as given. */
  readonly releases?: { readonly statement: Releases; readonly now: number } | undefined;
  /** Of TPMs: SHA-256 of SubjectPublicKeyInfo of keys that may sign; `any`: the chain of the key decides. */
  readonly attestationKeys?: TpmPolicy['attestationKeys'];
  /** `none`: the machine has no GPUs; undefined leaves them to the base. */
  readonly devices?: 'none' | undefined;
  /** Values of registers that belong to the platform (0, 1, 7), taken from a boot of it. */
  readonly platformPcrs?: Readonly<Record<string, readonly Reference[]>>;
}

export interface ImagePolicy {
  readonly policy: Policy;
  /** What was left out or cannot be said by this policy; sentences. */
  readonly notes: readonly string[];
}

/** Registers that hold the image, and two that stay zero: whoever adds to the command line or to the system shows there. */
export const IMAGE_PCRS = [4, 5, 9, 11, 12, 13] as const;

/** Registers that decide together what runs; 5 and the constants are the same for many images. */
const TDX_MEMBERS = ['tdx.mrTd', 'tdx.rtmr1', 'tdx.rtmr2'] as const;

interface Named {
  readonly member: string;
  readonly value: string;
  readonly name: string;
}

/**
 * A complete policy that accepts these releases on one platform, and no other platform. Releases that were withdrawn,
 * or are out of their time, are left out. Throws `ImageError` where none is left, or where one that was withdrawn
 * measures the same as one that is accepted.
 */
export function policyOf(request: PolicyRequest): ImagePolicy {
  const { accepted, withdrawn, notes, until } = stand(request);
  const values = accepted.flatMap((manifest) => requireValues(manifest, request));
  for (const manifest of withdrawn) refuseSame(manifest, values, request);
  const policy = parsePolicy({
    ...request.base,
    description: describe(accepted, until, request),
    cpu: cpuOf(request, values),
    models: modelsOf(accepted, request.base),
    devices: request.devices ?? request.base.devices,
  });
  return { policy, notes: [...notes, ...limitsOf(request, accepted.length)] };
}

interface Stood {
  readonly accepted: readonly ImageManifest[];
  readonly withdrawn: readonly ImageManifest[];
  readonly notes: readonly string[];
  /** Earliest end of what is accepted. */
  readonly until: string | undefined;
}

function stand({ manifests, releases }: PolicyRequest): Stood {
  if (!releases) return { accepted: manifests, withdrawn: [], notes: [], until: undefined };
  const { statement, now } = releases;
  const stood = manifests.map((manifest) => ({ manifest, standing: standingOf(statement, manifest, now) }));
  const accepted = stood.filter(({ standing }) => standing.accepted);
  const notes = stood.flatMap(({ manifest, standing }) =>
    standing.accepted ? [] : [`${manifest.release.name} is left out: ${standing.why}.`],
  );
  if (accepted.length === 0)
    throw new ImageError('IMAGE_REFERENCE_REFUSED', `no release is left: ${notes.join(' ')}`);
  const ends = accepted.flatMap(({ standing }) => (standing.accepted ? [standing.until] : []));
  return {
    accepted: accepted.map(({ manifest }) => manifest),
    withdrawn: stood
      .filter(({ standing }) => !standing.accepted && standing.isWithdrawn)
      .map(({ manifest }) => manifest),
    notes,
    until: [...ends, statement.nextUpdate].toSorted()[0],
  };
}

/** Values of an image on the platform of the request; a policy without one of its members would accept any image. */
function requireValues(manifest: ImageManifest, request: PolicyRequest): readonly Named[] {
  const predictions = manifest.predictions.filter(({ profile }) => isOf(profile, request));
  const { name } = manifest.release;
  const values = predictions.flatMap((prediction) => namedValues(name, prediction));
  const missing = membersOf(request).filter((member) => !values.some((value) => value.member === member));
  if (missing.length === 0) return values;
  throw new ImageError(
    'IMAGE_REFERENCE_MISSING',
    `${name} has no value of ${missing.join(', ')} for ${request.platform}, ${request.boots.join(' or ')}`,
  );
}

function isOf(profile: ManifestPrediction['profile'], { platform, boots, bank }: PolicyRequest): boolean {
  if (!boots.includes(profile.boot)) return false;
  if (profile.platform === 'tpm') return hasTpm(platform) && profile.bank === bank;
  return profile.platform === platform;
}

function hasTpm(platform: PolicyPlatform): boolean {
  return platform !== 'snp' && platform !== 'tdx';
}

function membersOf({ platform, bank, base }: PolicyRequest): readonly string[] {
  if (hasTpm(platform)) return IMAGE_PCRS.map((pcr) => `tpm.pcrs.${bank}.${pcr}`);
  if (platform === 'snp') return ['snp.measurements'];
  const { tdx } = base.cpu;
  // Firmware that the caller's own policy names, or takes whatever it is, needs no value of this image.
  const isNamed = tdx !== 'refused' && tdx.mrTd.length > 0;
  return TDX_MEMBERS.filter((member) => !(isNamed && member === 'tdx.mrTd'));
}

function namedValues(release: string, { profile, values }: ManifestPrediction): readonly Named[] {
  const name = `${release} ${profileName(profile)}`.slice(0, 200);
  return values.map(({ member, value }) => ({ member, value, name }));
}

/** A policy that accepts all of a withdrawn release by the values of another would not withdraw it. */
function refuseSame(manifest: ImageManifest, accepted: readonly Named[], request: PolicyRequest): void {
  const members = membersOf(request);
  for (const prediction of manifest.predictions.filter(({ profile }) => isOf(profile, request))) {
    const values = prediction.values.filter(({ member }) => members.includes(member));
    const isSame = values.every(({ member, value }) =>
      accepted.some((other) => other.member === member && other.value === value),
    );
    if (!isSame) continue;
    const { name } = manifest.release;
    throw new ImageError(
      'IMAGE_REFERENCE_REFUSED',
      `${name} was withdrawn, and measures the same as an accepted release: withdraw that as well`,
    );
  }
}

/** Values of one member, each once, with the names of all releases that have it. */
function references(values: readonly Named[], member: string): Reference[] {
  const names = new Map<string, string[]>();
  for (const { value, name } of values.filter((named) => named.member === member)) {
    const known = names.get(value) ?? [];
    if (!known.includes(name)) known.push(name);
    names.set(value, known);
  }
  return [...names].map(([value, all]) => ({ name: joined(all), value }));
}

function joined(names: readonly string[]): string {
  const all = names.join(', ');
  return all.length <= 200 ? all : `${(names[0] ?? '').slice(0, 150)} and ${names.length - 1} more`;
}

type Cpu = Policy['cpu'];
type Accepted<Name extends PolicyPlatform> = Exclude<Cpu[Name], 'refused'>;

/** What is said of a platform that the base refuses. */
const USUAL: { readonly [Name in PolicyPlatform]: Accepted<Name> } = {
  tpm: DEFAULT_VTPM,
  'gcp-vtpm': DEFAULT_VTPM,
  'azure-snp': { claims: DEFAULT_AZURE_CLAIMS, snp: DEFAULT_SNP, tpm: DEFAULT_VTPM },
  'azure-tdx': { claims: DEFAULT_AZURE_CLAIMS, tdx: DEFAULT_TDX, tpm: DEFAULT_VTPM },
  snp: DEFAULT_SNP,
  tdx: DEFAULT_TDX,
};

function ownOf<Name extends PolicyPlatform>(base: Policy, platform: Name): Accepted<Name> {
  const own: Cpu[Name] = base.cpu[platform];
  return own === 'refused' ? USUAL[platform] : (own as Accepted<Name>);
}

function cpuOf(request: PolicyRequest, values: readonly Named[]): Cpu {
  const { platform, base } = request;
  const refused = { snp: 'refused', tdx: 'refused', nitro: 'refused', 'azure-snp': 'refused', 'azure-tdx': 'refused',
    'gcp-vtpm': 'refused', nitrotpm: 'refused', tpm: 'refused', bootLog: base.cpu.bootLog } as const; // prettier-ignore
  switch (platform) {
    case 'tpm':
    case 'gcp-vtpm':
      return { ...refused, [platform]: tpmOf(ownOf(base, platform), request, values) };
    case 'azure-snp':
    case 'azure-tdx': {
      const own = ownOf(base, platform);
      return { ...refused, [platform]: { ...own, tpm: tpmOf(own.tpm, request, values) } };
    }
    case 'snp':
      return {
        ...refused,
        snp: { ...ownOf(base, 'snp'), measurements: references(values, 'snp.measurements') },
      };
    case 'tdx': {
      const own = ownOf(base, 'tdx');
      const mrTd = own.mrTd.length > 0 ? own.mrTd : references(values, 'tdx.mrTd');
      const [rtmr1, rtmr2] = [references(values, 'tdx.rtmr1'), references(values, 'tdx.rtmr2')];
      return { ...refused, tdx: { ...own, mrTd, rtmr1, rtmr2 } };
    }
  }
}

function tpmOf(own: TpmPolicy, request: PolicyRequest, values: readonly Named[]): TpmPolicy {
  const { bank, attestationKeys = own.attestationKeys, platformPcrs = {} } = request;
  const pcrs = Object.fromEntries(
    IMAGE_PCRS.map((pcr) => [String(pcr), references(values, `tpm.pcrs.${bank}.${pcr}`)]),
  );
  const all = {
    ...Object.fromEntries(Object.entries(platformPcrs).map(([pcr, named]) => [pcr, [...named]])),
    ...pcrs,
  };
  return { ...own, attestationKeys, pcrs: { bank, values: all } };
}

/** The models that the images bring, where every manifest of them is known; else what the base says. */
function modelsOf(manifests: readonly ImageManifest[], base: Policy): Policy['models'] {
  const models = manifests.flatMap(({ release, parts }) =>
    (parts.models?.models ?? []).map(({ name, manifest }) => ({
      name: `${release.name} ${name}`.slice(0, 200),
      manifest,
    })),
  );
  const known = models.flatMap(({ name, manifest }) =>
    manifest === null ? [] : [{ name, value: manifest }],
  );
  return known.length > 0 && known.length === models.length ? known : base.models;
}

function describe(
  accepted: readonly ImageManifest[],
  until: string | undefined,
  request: PolicyRequest,
): string {
  const names = accepted.map(({ release }) => release.name).join(', ');
  const end = until === undefined ? '' : ` Good until ${until}: make it again from newer statements.`;
  const memory =
    request.platform === 'tpm'
      ? ' A TPM of the host protects no memory from the host: it says what booted.'
      : '';
  return `Images ${names} on ${request.platform}.${memory}${end}`.slice(0, 2000);
}

function limitsOf({ platform, boots, platformPcrs = {} }: PolicyRequest, count: number): readonly string[] {
  const notes: string[] = [];
  if (hasTpm(platform)) {
    const open = [0, 1, 7].filter((pcr) => !Object.hasOwn(platformPcrs, String(pcr)));
    if (open.length > 0) {
      notes.push(`PCR ${open.join(', ')} are values of the platform, and not compared: no image says them.`);
    }
  }
  if (platform === 'tdx')
    notes.push('RTMR0 is a value of the platform: it is what the base policy says of it.');
  if (platform.startsWith('azure')) {
    notes.push('The launch measurement is that of the paravisor: it is what the base policy says of it.');
  }
  if (boots.includes('direct') && count > 1 && platform !== 'snp') {
    notes.push(
      'Registers are compared one by one: the kernel of one accepted release with command line and initrd of another passes.',
    );
  }
  return notes;
}
