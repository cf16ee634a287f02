import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { HashName } from '../../attestation/crypto/provider.ts';
import { parseCcelTable } from '../../attestation/evidence/bootlog/ccelTable.ts';
import { describeEvent } from '../../attestation/evidence/bootlog/describe.ts';
import {
  isExtended,
  registerName,
  type BootEvent,
  type BootLog,
  type BootLogFormat,
} from '../../attestation/evidence/bootlog/log.ts';
import { parseBootLog } from '../../attestation/evidence/bootlog/parse.ts';
import { judgePayload, type PayloadState } from '../../attestation/evidence/bootlog/payload.ts';
import { digestOf, replay } from '../../attestation/evidence/bootlog/replay.ts';
import { hexNumber, type Entry, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

const FORMATS: Readonly<Record<BootLogFormat, string>> = {
  tcg2: 'TCG crypto-agile log of a TPM',
  sha1: 'TCG SHA-1 log of a TPM',
  ccel: 'CCEL log of a TD',
  dstack: 'dstack log of a TD',
};
/** The bank that rows show, the first of these that the log has. */
const PREFERRED: readonly HashName[] = ['sha256', 'sha384', 'sha512', 'sha1'];

/** Nothing is compared with signed registers here, so no state says «verified». */
const STATES: Readonly<Record<PayloadState, string>> = {
  verified: 'digest of the data',
  mismatch: 'digest NOT of the data',
  'not over data': 'digest of something else',
  ambiguous: 'digest of the data, which reads in two ways',
  absent: 'no data',
  'not extended': 'not extended',
  unjudged: 'not looked at',
};

/** Every event in its order, then the registers to which the log leads. */
export function bootLogSections(
  bytes: Uint8Array,
  registers: 'pcr' | 'rtmr' | undefined,
  prefix = '',
): readonly Section[] {
  const log = parseBootLog(bytes, registers);
  const bank = PREFERRED.find((hash) => log.banks.includes(hash)) ?? 'sha256';
  const entries = log.events.map((event) => entryOf(log, event, bank));
  return [
    { title: `${prefix}boot log`, rows: logRows(log, bank, bytes.length) },
    ...log.banks.map((hash) => registerSection(log, hash, prefix)),
    { title: `${prefix}events`, rows: entries.map((entry) => rowOf(entry, bank)), entries },
  ];
}

function logRows(log: BootLog, bank: HashName, bytes: number): readonly Row[] {
  return [
    ['format', FORMATS[log.format]],
    ['banks', log.banks.join(', ')],
    ['other banks', log.otherBanks.join(', ') || 'none'],
    ['events', String(log.events.length)],
    ['locality', log.startupLocality === undefined ? 'not stated' : String(log.startupLocality)],
    ['digests shown', bank],
    ['bytes', String(bytes)],
  ];
}

function registerSection(log: BootLog, bank: HashName, prefix: string): Section {
  const values = [...replay(log, bank, nodeCrypto)].toSorted(([a], [b]) => a - b);
  const rows = values.map(([register, value]): Row => [registerName(log, register), toHex(value)]);
  return {
    title: `${prefix}replayed ${bank} registers`,
    rows: rows.length > 0 ? rows : [['none', 'no event extends one']],
  };
}

function entryOf(log: BootLog, event: BootEvent, bank: HashName): Entry {
  const { index, register, typeName, type } = event;
  const extended = register !== undefined && isExtended(event);
  const digests = extended ? log.banks.map((hash) => [hash, toHex(digestOf(event, hash, nodeCrypto))]) : [];
  return {
    index: String(index),
    register: register === undefined ? 'MRTD' : registerName(log, register),
    type: typeName,
    'type number': hexNumber(type),
    ...(Object.fromEntries(digests) as Entry),
    text: describeEvent(event),
    payload: extended ? payloadText(event, bank) : STATES['not extended'],
    'data bytes': String(event.data.length),
  };
}

/** dstack may leave out the digest of a runtime event: it follows from name and data. */
function payloadText(event: BootEvent, bank: HashName): string {
  if (!event.digests.has(bank)) return 'digest left out, made of the data';
  return STATES[judgePayload(event, digestOf(event, bank, nodeCrypto), bank, nodeCrypto).state];
}

/** One row: place and register, then type, state, text and digest. */
function rowOf(entry: Entry, bank: HashName): Row {
  const { index = '', register = '', type = '', payload = '', text = '' } = entry;
  const digest = entry[bank];
  return [
    `${index.padStart(4)} ${register}`,
    `${type}, ${payload}: ${text}${digest === undefined ? '' : ` ${digest}`}`,
  ];
}

/** The ACPI table that says where a CCEL lies. */
export function ccelTableSections(bytes: Uint8Array): readonly Section[] {
  const { revision, areaLength, areaAddress } = parseCcelTable(bytes);
  const rows: readonly Row[] = [
    ['revision', String(revision)],
    ['log area', `${areaLength} bytes`],
    ['address', hexNumber(areaAddress)],
  ];
  return [{ title: 'CCEL table', rows }];
}
