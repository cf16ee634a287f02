import { decodeDc, encodeDc, type Dc } from '../cbor/deterministic.ts';
import { asBytes, asClosedMap, asLabel, asTuple } from '../cbor/shape.ts';
import { encodeDevices, encodeStatement, parseDevices, parseStatement, type Statement } from '../binding.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { encodeKeyset, parseKeyset, type Keyset } from '../keyset.ts';
import { OPERATOR_STATEMENT_TYPE } from '../operator/statement.ts';
import { encodeCpu, parseCpu } from './cpuEncoding.ts';
import type { CpuEvidence, DeviceEvidence } from './evidence.ts';

/**
 * An evidence document is a CMW collection (RFC 9999 section 3.3) in deterministic CBOR. Each member is a record
 * `[media type, bytes, indicator]`; the set of members is closed.
 */
const COLLECTION_TYPE = 'tag:vouchsafe,2026:evidence/1';
const MEMBER = {
  keyset: 'application/vouchsafe-keyset+cbor',
  statement: 'application/vouchsafe-statement+cbor',
  cpu: 'application/vouchsafe-cpu+cbor',
  devices: 'application/vouchsafe-devices+cbor',
  'boot-log': 'application/vouchsafe-boot-log',
  'time-anchor': 'application/vouchsafe-time-anchor',
  operator: OPERATOR_STATEMENT_TYPE,
} as const;
type Member = keyof typeof MEMBER;

/** CMW indicators (RFC 9999 section 3.1): what an operator says is an endorsement, all else is evidence. */
const IND_ENDORSEMENT = 2;
const IND_EVIDENCE = 4;
/** Largest document, in bytes: 64 devices with chains and boot logs stay far below. */
export const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;

/** What one evidence document says, with the received bytes of the parts that digests run over. */
export interface EvidenceDocument {
  readonly encoded: Uint8Array;
  readonly keyset: Keyset;
  readonly encodedKeyset: Uint8Array;
  readonly statement: Statement;
  readonly encodedStatement: Uint8Array;
  readonly cpu: CpuEvidence;
  readonly devices: readonly DeviceEvidence[];
  readonly encodedDevices: Uint8Array;
  /** Log of measured boot, as the platform has it; only a replay to signed registers gives it weight. */
  readonly bootLog: Uint8Array | undefined;
  /** RFC 3161 token or cosigned checkpoint that the statement's time anchor commits to. */
  readonly timeAnchor: Uint8Array | undefined;
  /** Statement of whoever answers for the instance. Nothing of the hardware covers it: it carries its own signature. */
  readonly operator: Uint8Array | undefined;
}

export interface DocumentParts {
  readonly keyset: Keyset;
  readonly statement: Statement;
  readonly cpu: CpuEvidence;
  readonly devices: readonly DeviceEvidence[];
  readonly bootLog?: Uint8Array | undefined;
  /** The statement commits to its SHA-256. */
  readonly timeAnchor?: Uint8Array | undefined;
  readonly operator?: Uint8Array | undefined;
}

export function encodeDocument(parts: DocumentParts): Uint8Array {
  const members: readonly [Member, Uint8Array][] = [
    ['keyset', encodeKeyset(parts.keyset)],
    ['statement', encodeStatement(parts.statement)],
    ['cpu', encodeCpu(parts.cpu)],
    ['devices', encodeDevices(parts.devices)],
    ...optionalMember('boot-log', parts.bootLog),
    ...optionalMember('time-anchor', parts.timeAnchor),
    ...optionalMember('operator', parts.operator),
  ];
  const records = members.map(([name, value]): [string, Dc] => [
    name,
    [MEMBER[name], value, indicatorOf(name)],
  ]);
  return encodeDc(new Map<string, Dc>([['__cmwc_t', COLLECTION_TYPE], ...records]));
}

function indicatorOf(member: Member): number {
  return member === 'operator' ? IND_ENDORSEMENT : IND_EVIDENCE;
}

function optionalMember(name: Member, value: Uint8Array | undefined): readonly [Member, Uint8Array][] {
  return value ? [[name, value]] : [];
}

export function documentDigest(encoded: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', encoded);
}

/** Parses a document and all parts that are ours; hardware reports stay bytes for their rooms. */
export function parseDocument(encoded: Uint8Array): EvidenceDocument {
  const decoded = decodeDc(encoded, { maxDepth: 8, maxBytes: MAX_DOCUMENT_BYTES });
  const map = asClosedMap(decoded, 'evidence document', ['__cmwc_t', ...Object.keys(MEMBER)]);
  asLabel(map.get('__cmwc_t'), 'collection type', COLLECTION_TYPE);
  const encodedKeyset = readMember(map.get('keyset'), 'keyset');
  const encodedStatement = readMember(map.get('statement'), 'statement');
  const encodedDevices = readMember(map.get('devices'), 'devices');
  const statement = parseStatement(encodedStatement);
  const timeAnchor = map.has('time-anchor') ? readMember(map.get('time-anchor'), 'time-anchor') : undefined;
  if ((timeAnchor === undefined) !== (statement.timeAnchor === undefined)) {
    throw new Refusal('MALFORMED', 'time anchor and statement contradict each other');
  }
  return {
    encoded,
    keyset: parseKeyset(encodedKeyset),
    encodedKeyset,
    statement,
    encodedStatement,
    cpu: parseCpu(readMember(map.get('cpu'), 'cpu')),
    devices: parseDevices(encodedDevices),
    encodedDevices,
    bootLog: map.has('boot-log') ? readMember(map.get('boot-log'), 'boot-log') : undefined,
    timeAnchor,
    operator: map.has('operator') ? readMember(map.get('operator'), 'operator') : undefined,
  };
}

function readMember(value: Dc | undefined, member: Member): Uint8Array {
  if (value === undefined) throw new Refusal('EVIDENCE_INCOMPLETE', `evidence document has no ${member}`);
  const [type, bytes, indicator] = asTuple(value, `member ${member}`, 3);
  asLabel(type, `media type of ${member}`, MEMBER[member]);
  if (indicator !== indicatorOf(member))
    throw new Refusal('MALFORMED', `member ${member} is marked as something else`);
  return asBytes(bytes, `member ${member}`);
}
