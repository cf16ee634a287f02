import { evidenceKindOf, EVIDENCE_NAMES, type EvidenceKind } from './evidenceKinds.ts';
import { KIND_NAMES, kindOf, type MaterialKind } from './ownKinds.ts';
import { decodeText, type Decoded, type TextEncoding } from './textEncoding.ts';

/** Every kind of file that can be shown. */
export type ShownKind = MaterialKind | EvidenceKind;

/** What a file is once it is out of its wrapping. */
export interface Recognised {
  readonly kind: ShownKind;
  readonly name: string;
  readonly bytes: Uint8Array;
  /** The text in which the bytes were written. */
  readonly encoding: TextEncoding | undefined;
}

/** What a file looks like, also when it is written as hex or base64. */
export function recognise(bytes: Uint8Array): Recognised {
  const evidence = evidenceKindOf(bytes);
  if (evidence) return named(evidence, bytes, undefined);
  const decoded = decodeText(bytes);
  return (decoded && recogniseDecoded(decoded)) ?? ownOf(bytes, undefined);
}

/** Kinds of ours that no bytes have by chance: text of any other meaning decodes to something too. */
const CERTAIN: readonly MaterialKind[] = [
  'device-report',
  'document',
  'record',
  'collateral',
  'timestamp',
  'anchor',
];

function recogniseDecoded({ bytes, encoding }: Decoded): Recognised | undefined {
  const evidence = evidenceKindOf(bytes);
  if (evidence) return named(evidence, bytes, encoding);
  const own = ownOf(bytes, encoding);
  return CERTAIN.some((kind) => kind === own.kind) ? own : undefined;
}

function ownOf(bytes: Uint8Array, encoding: Recognised['encoding']): Recognised {
  const kind = kindOf(bytes);
  return { kind, name: KIND_NAMES[kind], bytes, encoding };
}

function named(kind: EvidenceKind, bytes: Uint8Array, encoding: Recognised['encoding']): Recognised {
  return { kind, name: EVIDENCE_NAMES[kind], bytes, encoding };
}
