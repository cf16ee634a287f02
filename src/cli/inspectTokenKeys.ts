import { z } from 'zod';
import { fromBase64 } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { readShape } from '../../attestation/evidence/nras/json.ts';
import { parseKeySet, signingKey, type KeySet } from '../../attestation/evidence/nras/keySet.ts';
import { parseJson } from '../../attestation/json/strict.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { timeText, type Entry, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

const MAX_SET_BYTES = 1024 * 1024;
const MAX_KEYS = 256;

const member = z.unknown().optional();
const keySchema = z.object({
  kid: member,
  kty: member,
  crv: member,
  use: member,
  alg: member,
  x5c: member,
  d: member,
});
const setSchema = z.object({ keys: z.array(keySchema).max(MAX_KEYS) });
type Key = z.infer<typeof keySchema>;

/** Ids and curves. Nobody that could be pinned vouches for a key set: it is trusted as the caller fetched it. */
export function keySetSections(bytes: Uint8Array): readonly Section[] {
  if (bytes.length > MAX_SET_BYTES) {
    throw new Refusal('MALFORMED', `key set of ${bytes.length} bytes exceeds ${MAX_SET_BYTES}`);
  }
  const { keys } = readShape(setSchema, parseJson(bytes, 'key set'), 'key set');
  const set = attempt(() => parseKeySet(bytes));
  const entries = keys.map((key) => entryOf(key, set));
  const rows = entries.map(({ kid = '', curve, ...rest }, i): Row => {
    const others = Object.entries(rest).map(([name, value]) => `${name} ${value}`);
    return [`key ${i + 1}`, `${kid} (${[curve ?? 'no curve', ...others].join('; ')})`];
  });
  const state = typeof set === 'string' ? `the verifier refuses it: ${set}` : 'as the service writes it';
  return [
    {
      title: 'key set',
      rows: [
        ['keys', String(keys.length)],
        ['layout', state],
        ['trust', 'that of the connection over which it was fetched'],
      ],
    },
    { title: 'keys', rows: rows.length > 0 ? rows : [['none', 'the set is empty']], entries },
  ];
}

/** Of a private key nothing is shown. */
function entryOf({ kid, kty, crv, use, alg, x5c, d }: Key, set: KeySet | string): Entry {
  const id = text(kid);
  return {
    kid: id,
    curve: [kty, crv].flatMap((part) => (part === undefined ? [] : [text(part)])).join(' ') || 'none',
    ...(use === undefined ? {} : { use: text(use) }),
    ...(alg === undefined ? {} : { alg: text(alg) }),
    ...certificateEntry(x5c),
    ES384: usability(set, id),
    ...(d === undefined ? {} : { private: 'YES: of which nothing is shown' }),
  };
}

function text(value: unknown): string {
  if (value === undefined) return 'none';
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value);
}

/** The first of a chain whose root nobody published. */
function certificateEntry(x5c: unknown): Entry {
  const [leaf] = Array.isArray(x5c) ? (x5c as unknown[]) : [];
  if (typeof leaf !== 'string') return {};
  const read = attempt(() => parseCertificate(fromBase64(leaf)));
  if (typeof read === 'string') return { certificate: `unreadable: ${read}` };
  return { certificate: read.subject, until: timeText(read.notAfter) };
}

function usability(set: KeySet | string, id: string): string {
  if (typeof set === 'string') return 'no: the set is refused';
  const key = attempt(() => signingKey(set, id));
  return typeof key === 'string' ? `no: ${key}` : 'usable';
}

function attempt<T>(read: () => T): T | string {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return `${error.code}: ${error.message}`;
    throw error;
  }
}
