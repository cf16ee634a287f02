import { evidenceKindOf, EVIDENCE_NAMES, type EvidenceKind } from './materialEvidence.ts';
import { KIND_NAMES, kindOf, type MaterialKind } from './material.ts';

/** Every kind of file that can be shown. */
export type ShownKind = MaterialKind | EvidenceKind;

/** What a file is once it is out of its wrapping. */
export interface Recognised {
  readonly kind: ShownKind;
  readonly name: string;
  readonly bytes: Uint8Array;
  /** The text in which the bytes were written. */
  readonly encoding: 'hex' | 'base64' | undefined;
}

type Decoded = Pick<Recognised, 'bytes' | 'encoding'>;

/** Longest text that is decoded, in bytes: evidence that travels as text is small. */
const MAX_TEXT_BYTES = 16 * 1024 * 1024;
/** Shorter ones are words. */
const MIN_TEXT_BYTES = 32;

/** What a file looks like, also when it is written as hex or base64. */
export function recognise(bytes: Uint8Array): Recognised {
  const evidence = evidenceKindOf(bytes);
  if (evidence) return named(evidence, bytes, undefined);
  const decoded = decodeText(bytes);
  return (decoded && recogniseDecoded(decoded)) ?? ownOf(bytes, undefined);
}

/** Kinds of ours that no bytes have by chance: text of any other meaning decodes to something too. */
const CERTAIN: readonly MaterialKind[] = ['device-report', 'document', 'record', 'collateral'];

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

/** The bytes that a text of nothing but hex or base64 (of either alphabet) stands for. */
function decodeText(bytes: Uint8Array): Decoded | undefined {
  if (bytes.length < MIN_TEXT_BYTES || bytes.length > MAX_TEXT_BYTES) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  const compact = text.replaceAll(/\s/g, '');
  if (compact.length % 2 === 0 && !/[^0-9a-fA-F]/.test(compact)) {
    return { bytes: Buffer.from(compact, 'hex'), encoding: 'hex' };
  }
  if (/[^A-Za-z0-9+/_=-]/.test(compact) || /=[^=]/.test(compact)) return undefined;
  return { bytes: Buffer.from(compact, 'base64'), encoding: 'base64' };
}
