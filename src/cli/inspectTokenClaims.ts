import { toHex } from '../../attestation/bytes/bytes.ts';
import type { Section } from './inspectSection.ts';
import { secondsText, type Row } from './receiptText.ts';

/** Claims by the part of the judgement that they are about; names after the prefix where there is one. */
interface Group {
  readonly title: string;
  readonly prefix: string;
  readonly names: readonly string[];
}

const KINDS = ['gpu', 'switch'] as const;
const REPORT = 'attestation-report-';
const OF_REPORT = [
  'parsed',
  'nonce-match',
  'signature-verified',
  'cert-chain',
  'cert-chain-validated',
  'cert-chain-fwid-match',
];
const OF_RIM = [
  'fetched',
  'schema-validated',
  'signature-verified',
  'measurements-available',
  'version-match',
  'cert-validated',
  'cert-chain',
];

const GROUPS: readonly Group[] = [
  {
    title: 'claims',
    prefix: '',
    names: ['iss', 'sub', 'jti', 'iat', 'nbf', 'exp', 'eat_nonce', 'x-nvidia-ver'],
  },
  {
    title: 'result',
    prefix: '',
    names: [
      'x-nvidia-overall-att-result',
      'measres',
      'secboot',
      'dbgstat',
      'x-nvidia-attestation-warning',
      'x-nvidia-attestation-detailed-result',
      'x-nvidia-error-details',
      'x-nvidia-mismatch-measurement-records',
      'x-nvidia-mismatch-opaque-data-records',
    ],
  },
  {
    title: 'device',
    prefix: '',
    names: [
      'ueid',
      'hwmodel',
      'oemid',
      'x-nvidia-device-type',
      'x-nvidia-attester-claims',
      'x-nvidia-gpu-claims-version',
      'x-nvidia-gpu-driver-version',
      'x-nvidia-gpu-vbios-version',
      'x-nvidia-switch-bios-version',
      'x-nvidia-gpu-switch-pdis',
    ],
  },
  ...KINDS.flatMap((kind): readonly Group[] => [
    { title: 'checks', prefix: `x-nvidia-${kind}-`, names: ['arch-check', 'vbios-index-no-conflict'] },
    { title: 'report', prefix: `x-nvidia-${kind}-${REPORT}`, names: OF_REPORT },
    ...['driver', 'vbios', 'bios'].map((part) => ({
      title: `${part === 'driver' ? part : part.toUpperCase()} RIM`,
      prefix: `x-nvidia-${kind}-${part}-rim-`,
      names: OF_RIM,
    })),
  ]),
];

/** Members of the overall token that name device tokens: shown beside these. */
export const SUBMODULES = 'submods';
const TIMES = ['iat', 'nbf', 'exp'];
/** Longest name of a row: longer ones stand in the value. */
const MAX_NAME = 24;

export type Claims = ReadonlyMap<string, unknown>;

/** Claims in their groups, and those that are not known here. */
export function claimSections(claims: Claims, title: string): readonly Section[] {
  const known = new Set([
    SUBMODULES,
    ...GROUPS.flatMap(({ prefix, names }) => names.map((name) => prefix + name)),
  ]);
  const unknown = [...claims].filter(([name]) => !known.has(name));
  const groups = GROUPS.flatMap((group) => groupSection(group, claims, title));
  return [
    ...groups,
    ...(unknown.length > 0 ? [listSection(unknown, '', `${title} unknown claims`, false)] : []),
  ];
}

function groupSection(
  { title: what, prefix, names }: Group,
  claims: Claims,
  title: string,
): readonly Section[] {
  const found = names.flatMap((name) =>
    claims.has(prefix + name) ? [[prefix + name, claims.get(prefix + name)] as const] : [],
  );
  if (found.length === 0) return [];
  return [listSection(found, prefix, `${title} ${what}${prefix === '' ? '' : ` (${prefix}…)`}`, true)];
}

/** The whole name for programs; for people what follows the prefix of the group. */
function listSection(
  claims: readonly (readonly [string, unknown])[],
  prefix: string,
  title: string,
  isKnown: boolean,
): Section {
  return {
    title,
    rows: claims.map(([name, value]): Row => {
      const short =
        prefix === '' && name.length > MAX_NAME ? name.replace(/^x-nvidia-/, '') : name.slice(prefix.length);
      const text = memberText(value) ?? claimText(name, value);
      return isKnown && short.length <= MAX_NAME ? [short, text] : ['claim', `${name}: ${text}`];
    }),
    entries: claims.map(([claim, value]) => ({ claim, value: claimText(claim, value) })),
  };
}

/** Numbers of seconds with the date, serials with their hex; everything else as it is, or as JSON. */
export function claimText(name: string, value: unknown): string {
  if (TIMES.includes(name) && typeof value === 'number') return `${value} (${secondsText(value)})`;
  if (name === 'ueid' && typeof value === 'string') return ueidText(value);
  if (typeof value === 'string') return value === '' ? 'empty' : value;
  return JSON.stringify(value);
}

/** The members of an object one after the other, where they are few and simple; programs get the JSON. */
function memberText(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const members = Object.entries(value);
  if (members.length === 0 || members.some(([, member]) => typeof member === 'object' && member !== null)) {
    return undefined;
  }
  return members
    .map(([name, member]) => `${name.replace(/^x-nvidia-cert-/, '')} ${claimText('', member)}`)
    .join('; ');
}

/** Serial of the leaf certificate. */
function ueidText(decimal: string): string {
  if (!/^\d{1,60}$/.test(decimal)) return decimal === '' ? 'empty' : decimal;
  const hex = BigInt(decimal).toString(16);
  return `${decimal} (leaf serial ${toHex(Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex'))})`;
}
