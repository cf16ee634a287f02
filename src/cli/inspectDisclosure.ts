import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { parameterOf, type Disclosure, type OpenedItem } from '../../attestation/receipt/disclosure.ts';
import type { Beside } from './inspectDeviceSet.ts';
import { bundleSections, receiptSections } from './inspectReceipt.ts';
import { hexAndText, readable, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

/** A disclosure with what it opens; whether it opens anything of the receipt is not compared. */
export function disclosureSections(disclosure: Disclosure, rims: Beside['rims'] = []): readonly Section[] {
  const { source, items, chunks } = disclosure;
  const rows: readonly Row[] = [
    ['brings', `a ${source.kind} of ${source.bytes.length} bytes`],
    ...items.map((item): Row => [nameOf(item), hexAndText(item.bytes)]),
    ...(chunks
      ? [
          ['chunks', `${chunks.start} to ${chunks.start + chunks.chunks.length - 1}`] as const,
          ...chunks.chunks.map((chunk, i): Row => [`chunk ${chunks.start + i}`, hexAndText(chunk)]),
          ['range proof', `${chunks.path.length} hashes`] as const,
        ]
      : []),
  ];
  const parts =
    source.kind === 'bundle'
      ? readable('bundle', () => bundleSections(parseBundle(source.bytes), rims))
      : readable('receipt', () => receiptSections(source.bytes));
  return [{ title: 'opened', rows }, ...parts];
}

function nameOf({ field, item }: OpenedItem): string {
  return field === 'parameter' ? `parameter ${parameterOf(item) ?? item}` : field;
}
