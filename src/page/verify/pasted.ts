import type { GivenFile } from './protocol.ts';

/** What was pasted, as a file: recognition finds bytes in hex and base64, any other text is the file itself. */
export function pastedFile(text: string): GivenFile {
  return { name: 'pasted text', bytes: new TextEncoder().encode(text.trim()) };
}
