/** Roles of files as the README of the corpus and its cases use them; words in brackets or after them are for people. */
const REPORTS = ['gpu-attestation-report', 'nvswitch-attestation-report'] as const;
const CHAINS = ['gpu-certificate-chain', 'nvswitch-certificate-chain'] as const;
const ARRAYS = ['gpu-evidence-array', 'switch-evidence-array'] as const;
const REFERENCES = ['driver-rim', 'vbios-rim', 'switch-bios-rim'] as const;
const ALONE = ['rim-fragment', 'rim'] as const;
const TOKENS = ['nras-detached-eat', 'nras-overall-token'] as const;
const OTHERS = ['nras-request-body', 'nras-jwks', 'policy'] as const;
const NOT_AN_ANCHOR = 'trust anchor that must not verify any of them';

export type Role =
  | (typeof REPORTS | typeof CHAINS | typeof ARRAYS | typeof REFERENCES)[number]
  | (typeof ALONE | typeof TOKENS | typeof OTHERS)[number]
  | typeof NOT_AN_ANCHOR
  | `trust anchor to inject (${'device' | 'RIM'})`
  | `ocsp-response for ${string}`;

export const ROLES = { REPORTS, CHAINS, ARRAYS, REFERENCES, ALONE, TOKENS, NOT_AN_ANCHOR } as const;

const PLAIN: readonly Role[] = [
  ...REPORTS,
  ...CHAINS,
  ...ARRAYS,
  ...REFERENCES,
  ...ALONE,
  ...TOKENS,
  ...OTHERS,
  NOT_AN_ANCHOR,
  'trust anchor to inject (device)',
  'trust anchor to inject (RIM)',
];
/** «(both RIMs)» may follow. */
const OCSP = /^ocsp-response for (?:chain\[[0-4]\]|(?:(?:driver|VBIOS|BIOS) )?RIM chain\[[0-3]\])(?= |$)/;
const DEVICE_OCSP = 'ocsp-response for chain[';

/** The role that a text names; undefined for one that is not known. */
export function roleOf(text: string): Role | undefined {
  const plain = PLAIN.find((role) => text === role || text.startsWith(`${role} `));
  return plain ?? (OCSP.exec(text)?.[0] as Role | undefined);
}

/** A response about a certificate of a device. */
export function isDeviceOcsp(role: Role): boolean {
  return role.startsWith(DEVICE_OCSP);
}

/** A response about a signer of reference values. */
export function isReferenceOcsp(role: Role): boolean {
  return role.startsWith('ocsp-response for ') && !isDeviceOcsp(role);
}

/** The roles that a change names: «certificate-chain» is that of the device, «ocsp for X» the response for X. */
export function rolesOfChange(key: string): readonly Role[] {
  if (key === 'certificate-chain') return CHAINS;
  const [, subject] = /^ocsp for (.*)$/.exec(key) ?? [];
  const role = roleOf(subject === undefined ? key : `ocsp-response for ${subject}`);
  return role === undefined || !(isReplaceable(role) || subject !== undefined) ? [] : [role];
}

function isReplaceable(role: Role): boolean {
  return (REFERENCES as readonly Role[]).includes(role);
}
