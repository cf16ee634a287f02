import { fromHex } from '../../attestation/bytes/bytes.ts';
import type { TableEntry } from '../../enclave/collect/certificateTable.ts';

/** GUIDs of the GHCB certificate table, and that of Google's launch endorsement. */
export const TABLE_GUID = {
  vcek: '63da758d-e664-4564-adc5-f4b93be8accd',
  vlek: 'a8074bc2-a25a-483e-aae6-39c045a0b8a1',
  ask: '4ab7b379-bbac-4fe4-a02f-05aef327c782',
  ark: 'c0b406a4-a803-4952-9743-3fb6014cd0ae',
  launchEndorsement: '9f4116cd-c503-4f5a-8f6f-fb68882f4ce2',
} as const;
const ENTRY_BYTES = 24;

/** A table of these entries, as a host writes it. */
export function encodeCertificateTable(entries: readonly TableEntry[]): Uint8Array {
  const head = (entries.length + 1) * ENTRY_BYTES;
  const table = new Uint8Array(entries.reduce((sum, { data }) => sum + data.length, head));
  const view = new DataView(table.buffer);
  let offset = head;
  for (const [i, { guid, data }] of entries.entries()) {
    const start = i * ENTRY_BYTES;
    table.set(fromHex(guid.replaceAll('-', '')), start);
    view.setUint32(start + 16, offset, true);
    view.setUint32(start + 20, data.length, true);
    table.set(data, offset);
    offset += data.length;
  }
  return table;
}

/** The table that a host sends with these VCEK, ASK and ARK certificates. */
export function encodeSnpTable(certificates: readonly Uint8Array[]): Uint8Array {
  const kinds = ['vcek', 'ask', 'ark'] as const;
  return encodeCertificateTable(
    kinds.flatMap((kind, i) => {
      const data = certificates[i];
      return data ? [{ guid: TABLE_GUID[kind], data }] : [];
    }),
  );
}
