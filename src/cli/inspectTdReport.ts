import { toHex } from '../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../attestation/bytes/reader.ts';
import { TD_ATTRIBUTES } from '../../attestation/evidence/tdx/attributes.ts';
import type { TdReport } from '../../attestation/evidence/tdx/parse.ts';
import { bitsText, hexNumber, hexOr, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

/** Extended features by their bit in XCR0 and IA32_XSS (Intel SDM volume 1, section 13.1). */
export const XFEATURES: ReadonlyMap<number, string> = new Map(
  [
    'x87', 'SSE', 'AVX', 'BNDREGS', 'BNDCSR', 'AVX-512 opmask', 'AVX-512 ZMM_Hi256', 'AVX-512 Hi16_ZMM', 'PT', 'PKRU',
    'PASID', 'CET_U', 'CET_S', 'HDC', 'UINTR', 'LBR', 'HWP', 'AMX TILECFG', 'AMX TILEDATA', 'APX',
  ].map((name, bit) => [bit, name]), // prettier-ignore
);

const ATTRIBUTE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(TD_ATTRIBUTES).map(([name, bit]) => [Number(bit), name]),
);
/** What the bits that a policy looks at mean for the guest. */
const ATTRIBUTE_MEANINGS: readonly (readonly [bit: bigint, name: string, one: string, zero: string])[] = [
  [TD_ATTRIBUTES.DEBUG, 'DEBUG (bit 0)', 'ON: the host may read and write guest memory', 'off'],
  [
    TD_ATTRIBUTES.SEPT_VE_DISABLE,
    'SEPT_VE_DISABLE (28)',
    'on: pages not accepted raise no #VE in the guest',
    'off: pages not accepted raise #VE in the guest',
  ],
  [TD_ATTRIBUTES.MIGRATABLE, 'MIGRATABLE (bit 29)', 'on: may move to another machine', 'off'],
];

type TdValues = Omit<TdReport, 'kind'>;

/** Everything that the TDX module says of a TD, under the names of Intel's documents. */
export function tdReportRows(report: TdValues): readonly Row[] {
  return [
    ['MRTD', toHex(report.mrTd)],
    ...report.rtmrs.map((rtmr, i): Row => [`RTMR${i}`, hexOr(rtmr, 'never extended')]),
    ['REPORTDATA', toHex(report.reportData)],
    ['TDATTRIBUTES', bitsText(report.tdAttributes, ATTRIBUTE_NAMES)],
    ...ATTRIBUTE_MEANINGS.map(([bit, name, one, zero]): Row => [name, isSet(report, bit) ? one : zero]),
    ['XFAM', bitsText(report.xfam, XFEATURES)],
    ['MRCONFIGID', hexOr(report.mrConfigId, 'none')],
    ['MROWNER', hexOr(report.mrOwner, 'none')],
    ['MROWNERCONFIG', hexOr(report.mrOwnerConfig, 'none')],
    ['MRSERVICETD', report.mrServiceTd ? hexOr(report.mrServiceTd, 'none') : 'not stated'],
    ['TEE_TCB_SVN', svnText(report.teeTcbSvn)],
    ['TEE_TCB_SVN2', report.teeTcbSvn2 ? svnText(report.teeTcbSvn2) : 'not stated'],
    ['MRSEAM', toHex(report.mrSeam)],
    ['MRSIGNERSEAM', hexOr(report.mrSignerSeam, 'Intel')],
    ['SEAMATTRIBUTES', toHex(report.seamAttributes)],
  ];
}

function isSet({ tdAttributes }: TdValues, bit: bigint): boolean {
  return ((tdAttributes >> bit) & 1n) === 1n;
}

/** Byte 0 is the SVN of the TDX module, 1 its major version, 2 the SVN of the SEAM loader's microcode. */
function svnText(svn: Uint8Array): string {
  const [minor = 0, major = 0, microcode = 0] = svn;
  return `${toHex(svn)}: TDX module SVN ${minor}, major version ${major}, microcode SVN ${microcode}`;
}

const TD_REPORT_BYTES = 1024;
const REPORT_TYPE_TDX = 0x81;

/**
 * TDREPORT_STRUCT of 1024 bytes (Intel TDX module ABI specification, «TDREPORT_STRUCT»): REPORTMACSTRUCT of 256,
 * TEE_TCB_INFO of 239, 17 reserved, TDINFO of 512. Its MAC can be checked on the machine that made it and nowhere else.
 */
export function localTdReportSections(bytes: Uint8Array, title: string): readonly Section[] {
  const reader = new ByteReader(bytes.subarray(0, TD_REPORT_BYTES), 'TDREPORT');
  const [type, subtype, version] = [reader.u8(), reader.u8(), reader.u8()];
  reader.take(13);
  const cpuSvn = reader.take(16);
  reader.take(96);
  const reportData = reader.take(64);
  reader.take(64);
  const valid = reader.u64le();
  const module = readModule(reader);
  reader.take(111 - 16);
  reader.take(17);
  const td = readTd(reader);
  const about: Section = {
    title,
    rows: [
      ['type', `${hexNumber(type)}${type === REPORT_TYPE_TDX ? ' (TDX)' : ' (not TDX)'}`],
      ['subtype', String(subtype)],
      ['version', String(version)],
      ['CPUSVN', toHex(cpuSvn)],
      ['valid fields', hexNumber(valid)],
    ],
  };
  return [about, { title: `${title} TD report`, rows: tdReportRows({ ...module, ...td, reportData }) }];
}

/** TEE_TCB_INFO behind its bitmap: 112 bytes, then TEE_TCB_SVN2. */
function readModule(reader: ByteReader) {
  return {
    teeTcbSvn: reader.take(16),
    mrSeam: reader.take(48),
    mrSignerSeam: reader.take(48),
    seamAttributes: reader.take(8),
    teeTcbSvn2: reader.take(16),
  };
}

function readTd(reader: ByteReader) {
  const digest = () => reader.take(48);
  return {
    tdAttributes: reader.u64le(),
    xfam: reader.u64le(),
    mrTd: digest(),
    mrConfigId: digest(),
    mrOwner: digest(),
    mrOwnerConfig: digest(),
    rtmrs: [digest(), digest(), digest(), digest()] as const,
    mrServiceTd: digest(),
  };
}
