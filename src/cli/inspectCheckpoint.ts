import { toHex } from '../../attestation/bytes/bytes.ts';
import { parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { parseNote } from '../../attestation/log/note.ts';
import type { Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

export function checkpointSection(bytes: Uint8Array): Section {
  const note = parseNote(bytes);
  const { origin, size, root, extensions } = parseCheckpoint(note.text);
  return {
    title: 'checkpoint',
    rows: [
      ['origin', origin],
      ['size', String(size)],
      ['root', toHex(root)],
      ...extensions.map((line): Row => ['extension', line]),
      ...note.signatures.map(({ name, keyId }): Row => [
        'signed by',
        `${name} (key id ${keyId.toString(16).padStart(8, '0')})`,
      ]),
    ],
  };
}
