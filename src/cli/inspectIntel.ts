import { toHex } from '../../attestation/bytes/bytes.ts';
import {
  parseQeIdentity,
  parseQeIdentityHead,
  type QeIdentity,
} from '../../attestation/evidence/dcap/qeIdentity.ts';
import { parseSignedJson } from '../../attestation/evidence/dcap/signedJson.ts';
import type { LevelVerdict, StatementHead } from '../../attestation/evidence/dcap/statement.ts';
import {
  parseTcbInfo,
  parseTcbInfoHead,
  type TcbInfo,
  type TcbLevel,
  type TdxModule,
  type TdxModuleIdentity,
} from '../../attestation/evidence/dcap/tcbInfo.ts';
import { hexOr, readable, timeText, type Entry, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

/** For which platform TCB info is, and what Intel says of each of its levels. */
export function tcbInfoSections(bytes: Uint8Array): readonly Section[] {
  const { value } = parseSignedJson(bytes, 'tcbInfo');
  const head = parseTcbInfoHead(value);
  const rows: readonly Row[] = [
    ['TEE', head.tee.toUpperCase()],
    ['version', String(head.version)],
    ['FMSPC', head.fmspc],
    ['PCE id', head.pceId],
    ...dateRows(head),
  ];
  return [{ title: 'TCB info', rows }, ...readable('TCB levels', () => levelSections(parseTcbInfo(value)))];
}

function dateRows({ issueDate, nextUpdate, tcbEvaluationDataNumber }: StatementHead): readonly Row[] {
  return [
    ['issued', timeText(issueDate)],
    ['next update', timeText(nextUpdate)],
    ['TCB evaluation', String(tcbEvaluationDataNumber)],
  ];
}

function levelSections(info: TcbInfo): readonly Section[] {
  return [
    listSection('TCB levels', info.tcbLevels.map(tcbEntry)),
    ...(info.tdxModule ? [{ title: 'TDX module', rows: moduleRows(info.tdxModule) }] : []),
    ...info.tdxModuleIdentities.flatMap(moduleSections),
  ];
}

function moduleSections(identity: TdxModuleIdentity): readonly Section[] {
  const title = `TDX module ${identity.id}`;
  return [
    { title, rows: moduleRows(identity) },
    listSection(`${title} levels`, identity.tcbLevels.map(isvEntry)),
  ];
}

function moduleRows({ mrSigner, attributes, attributesMask }: TdxModule): readonly Row[] {
  return [
    ['MRSIGNER', hexOr(mrSigner, 'Intel')],
    ['attributes', toHex(attributes)],
    ['attributes mask', toHex(attributesMask)],
  ];
}

function tcbEntry({ sgxComponents, pceSvn, tdxComponents, ...verdict }: TcbLevel): Entry {
  return {
    ...verdictEntry(verdict),
    'SGX components': sgxComponents.join(' '),
    'PCE SVN': String(pceSvn),
    ...(tdxComponents && { 'TDX components': tdxComponents.join(' ') }),
  };
}

function isvEntry({ isvSvn, ...verdict }: LevelVerdict<string> & { readonly isvSvn: number }): Entry {
  return { ...verdictEntry(verdict), 'ISV SVN': String(isvSvn) };
}

function verdictEntry({ status, tcbDate, advisoryIds }: LevelVerdict<string>): Entry {
  return { status, date: timeText(tcbDate), advisories: advisoryIds.join(' ') || 'none' };
}

/** One row for each entry: the status, then what it is about. */
function listSection(title: string, entries: readonly Entry[]): Section {
  const rows = entries.map((entry, i): Row => {
    const { status = '', date = '', advisories = '', ...least } = entry;
    const numbers = Object.entries(least).map(([name, value]) => `${name} ${value}`);
    return [`level ${i + 1}`, `${status}, ${date}; ${numbers.join('; ')}; advisories ${advisories}`];
  });
  return { title, rows, entries };
}

/** What an enclave of Intel looks like, and which of its versions are good. */
export function qeIdentitySections(bytes: Uint8Array): readonly Section[] {
  const { value } = parseSignedJson(bytes, 'enclaveIdentity');
  const head = parseQeIdentityHead(value);
  return [
    { title: 'QE identity', rows: [['id', head.id], ...dateRows(head)] },
    ...readable('enclave', () => enclaveSections(parseQeIdentity(value))),
  ];
}

function enclaveSections(identity: QeIdentity): readonly Section[] {
  const rows: readonly Row[] = [
    ['MRSIGNER', toHex(identity.mrSigner)],
    ['ISV product id', String(identity.isvProdId)],
    ['MISCSELECT', toHex(identity.miscSelect)],
    ['MISCSELECT mask', toHex(identity.miscSelectMask)],
    ['ATTRIBUTES', toHex(identity.attributes)],
    ['ATTRIBUTES mask', toHex(identity.attributesMask)],
  ];
  return [{ title: 'enclave', rows }, listSection('TCB levels', identity.tcbLevels.map(isvEntry))];
}
