import { toHex } from '../../bytes/bytes.ts';
import type { RefusalCode } from '../../errors.ts';
import { nearestReference } from '../../policy/nearestReference.ts';
import type { Reference } from '../../policy/shapes.ts';
import { kept, violated, type Finding } from './findings.ts';

/** Whether a value of the report is one of the named ones; `what` names it, `code` is the refusal of any other. */
export function judgeReference(
  what: string,
  value: Uint8Array,
  references: readonly Reference[],
  code: RefusalCode,
): Finding {
  const seen = toHex(value);
  const known = references.find((reference) => reference.value === seen);
  if (known) return kept(`${what} ${seen} is ${known.name}`);
  const nearest = nearestReference(seen, references);
  if (!nearest) return violated('REFERENCE_VALUES_MISSING', `no reference value for ${what} ${seen}`);
  return violated(
    code,
    `${what} is ${seen}; nearest of ${references.length} is ${nearest.name}: ${nearest.value}`,
  );
}
