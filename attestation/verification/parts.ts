import { parseBundle } from '../bundle/bundle.ts';
import { type Collateral, mergeCollateral } from '../collateral.ts';
import { Refusal } from '../errors.ts';
import type { CpuEvidence } from '../evidence/evidence.ts';
import { parseDocument } from '../evidence/document.ts';
import type { PartName } from './method.ts';

/** What was judged, as it was read from a file or a service. */
export interface JudgedInput {
  readonly kind: 'bundle' | 'document' | 'receipt' | 'disclosure';
  /** For people, such as a path. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A piece of what was judged, with the place at which it was read. */
export interface Part {
  /** Such as `cited/gpu 0`; unique. */
  readonly id: string;
  /** What checks read it as. */
  readonly name: PartName;
  /** Prefix of the subjects of checks that read it, such as `cited `; empty where there is one document alone. */
  readonly prefix: string;
  readonly bytes: Uint8Array;
  /** The input that holds it, and the offset in it; undefined where it was decoded from something else. */
  readonly place: { readonly input: string; readonly offset: number } | undefined;
}

/** All pieces that can be told apart; of what does not parse, the whole alone. */
export function partsOf(inputs: readonly JudgedInput[]): readonly Part[] {
  return inputs.flatMap((input) => partsOfInput(input, inputs.length));
}

function partsOfInput(input: JudgedInput, count: number): readonly Part[] {
  const part = (id: string, name: PartName, prefix: string, bytes: Uint8Array): Part => ({
    id,
    name,
    prefix,
    bytes,
    place: placeOf(input, bytes),
  });
  const whole = part(
    input.kind,
    input.kind === 'receipt' || input.kind === 'document' ? input.kind : 'input',
    '',
    input.bytes,
  );
  switch (input.kind) {
    case 'bundle':
      return [whole, ...orNone(() => bundleParts(input.bytes, part))];
    case 'document': {
      // Beside a receipt the document is the cited one.
      const prefix = count > 1 ? 'cited ' : '';
      return [{ ...whole, prefix }, ...orNone(() => documentParts(input.bytes, prefix, part))];
    }
    case 'receipt':
    case 'disclosure':
      return [whole];
  }
}

type MakePart = (id: string, name: PartName, prefix: string, bytes: Uint8Array) => Part;

function bundleParts(bytes: Uint8Array, part: MakePart): readonly Part[] {
  const { receipt, cited, covering, witnessed } = parseBundle(bytes);
  return [
    part('receipt', 'receipt', '', receipt),
    part('cited', 'document', 'cited ', cited),
    ...orNone(() => documentParts(cited, 'cited ', part)),
    ...(covering
      ? [
          part('checkpoint', 'checkpoint', '', covering.checkpoint),
          part('covering', 'document', 'covering ', covering.document),
          ...orNone(() => documentParts(covering.document, 'covering ', part)),
        ]
      : []),
    ...(witnessed
      ? [
          part('anchored checkpoint', 'anchored', '', witnessed.note),
          ...witnessed.tokens.map((token, i) => part(`timestamp ${i}`, 'anchored', '', token)),
          part('epoch record', 'anchored', '', witnessed.epoch.entry),
        ]
      : []),
  ];
}

function documentParts(bytes: Uint8Array, prefix: string, part: MakePart): readonly Part[] {
  const { encodedKeyset, encodedStatement, cpu, encodedDevices, devices, ...rest } = parseDocument(bytes);
  const folder = prefix === '' ? '' : `${prefix.trim()}/`;
  const counts = { gpu: 0, switch: 0 };
  const named = (name: PartName, found: Uint8Array | undefined) =>
    found ? [part(`${folder}${name}`, name, prefix, found)] : [];
  return [
    ...named('keyset', encodedKeyset),
    ...named('statement', encodedStatement),
    ...named('cpu', reportOf(cpu)),
    ...named('devices', encodedDevices),
    ...devices.map(({ kind, report }) =>
      part(`${folder}${kind} ${counts[kind]++}`, 'device', prefix, report),
    ),
    ...named('boot-log', rest.bootLog),
    ...named('time-anchor', rest.timeAnchor),
    ...named('operator', rest.operator),
  ];
}

/** The hardware report, or what stands for it where there is a TPM alone. */
function reportOf(cpu: CpuEvidence): Uint8Array {
  return 'report' in cpu ? cpu.report : cpu.tpm.message;
}

/** Parts are views of what they were parsed from: their place is known without looking for their bytes. */
function placeOf({ kind, bytes }: JudgedInput, part: Uint8Array): Part['place'] {
  const offset = part.byteOffset - bytes.byteOffset;
  const isInside = part.buffer === bytes.buffer && offset >= 0 && offset + part.length <= bytes.length;
  return isInside ? { input: kind, offset } : undefined;
}

/** What was at hand beside what a bundle brings: the caller's goes first, as in an appraisal. */
export function collateralAtHand(own: Collateral, inputs: readonly JudgedInput[]): Collateral {
  const bundles = inputs.filter(({ kind }) => kind === 'bundle');
  const brought = bundles.flatMap(({ bytes }) => orNone(() => [parseBundle(bytes).collateral]));
  return brought.reduce(mergeCollateral, own);
}

function orNone<T>(read: () => readonly T[]): readonly T[] {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}
