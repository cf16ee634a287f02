import { toHex } from '../../attestation/bytes/bytes.ts';

/** A member of `cpu` in a policy that takes named values. */
export type PolicyMember =
  'snp.measurements' | 'tdx.mrTd' | 'tdx.rtmr1' | 'tdx.rtmr2' | `tpm.pcrs.${'sha256' | 'sha384'}.${number}`;

/** One expected value, for the member of a policy that takes it. */
export interface ReferenceValue {
  readonly member: PolicyMember;
  /** Lower-case hex. */
  readonly value: string;
  /** What it follows from, for people: parts of the image and of the platform profile. */
  readonly from: readonly string[];
}

/** What a policy cannot be given from an image. */
export interface Unpredicted {
  readonly what: string;
  readonly why: string;
}

export interface Prediction {
  readonly values: readonly ReferenceValue[];
  readonly unpredicted: readonly Unpredicted[];
}

export function referenceValue(
  member: PolicyMember,
  value: Uint8Array,
  from: readonly string[],
): ReferenceValue {
  return { member, value: toHex(value), from };
}

interface NamedValue {
  readonly name: string;
  readonly value: string;
}

/** Nested members of a policy, the innermost of which are lists of named values. */
export interface PolicyPart {
  [member: string]: PolicyPart | NamedValue[] | string;
}

/**
 * The values in the form of a policy, below `cpu`: to be put into one of the caller's own, which says everything else
 * (`references` of `attestation/policy/shapes.ts`). `name` tells them from those of other releases.
 */
export function policyPart({ values }: Pick<Prediction, 'values'>, name: string): PolicyPart {
  const part: PolicyPart = {};
  for (const { member, value } of values) {
    const reference = { name, value };
    const [, bank, pcr] = /^tpm\.pcrs\.(\w+)\.(\d+)$/.exec(member) ?? [];
    if (bank !== undefined && pcr !== undefined) {
      const pcrs = below(below(part, 'tpm'), 'pcrs');
      pcrs['bank'] = bank;
      below(pcrs, 'values')[pcr] = [reference];
    } else {
      const [platform = '', register = ''] = member.split('.');
      below(part, platform)[register] = [reference];
    }
  }
  return part;
}

function below(part: PolicyPart, member: string): PolicyPart {
  const found = part[member];
  if (typeof found === 'object' && !Array.isArray(found)) return found;
  const made: PolicyPart = {};
  part[member] = made;
  return made;
}
