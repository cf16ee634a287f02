import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import { parseQuote, type Quote } from '../dcap/quote.ts';

const DIGEST_BYTES = 48;

/** What the TDX module says of a TD; nothing in it is trusted until `verifyTdx` returns it. */
export interface TdReport {
  readonly kind: 'td10' | 'td15';
  /** 16 security versions of the module at the launch of the TD; byte 0 minor, byte 1 major version. */
  readonly teeTcbSvn: Uint8Array;
  readonly mrSeam: Uint8Array;
  /** Who signed the module; zero is Intel. */
  readonly mrSignerSeam: Uint8Array;
  /** 8 bytes; zero in a production module. */
  readonly seamAttributes: Uint8Array;
  readonly tdAttributes: bigint;
  /** Extended features that the TD may use, as bits of XCR0 and IA32_XSS. */
  readonly xfam: bigint;
  readonly mrTd: Uint8Array;
  readonly mrConfigId: Uint8Array;
  readonly mrOwner: Uint8Array;
  readonly mrOwnerConfig: Uint8Array;
  /** RTMR0 to RTMR3 (SHA-384): a boot log replays to them. */
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  /** 64 bytes chosen by the TD. */
  readonly reportData: Uint8Array;
  /** Security versions of the module that runs now; TD 1.5 only. */
  readonly teeTcbSvn2: Uint8Array | undefined;
  /** Hash over the service TDs bound to the TD; TD 1.5 only. */
  readonly mrServiceTd: Uint8Array | undefined;
}

/** Parses a TDX quote with its body: 584 bytes for TD 1.0, 648 for TD 1.5. */
export function parseTdxQuote(bytes: Uint8Array): { readonly quote: Quote; readonly report: TdReport } {
  const quote = parseQuote(bytes);
  if (quote.bodyKind === 'sgx') throw new Refusal('MALFORMED', 'the quote is of an SGX enclave, not of a TD');
  return { quote, report: parseTdReport(quote.body, quote.bodyKind) };
}

/** TD quote body («Intel TDX DCAP Quoting Library API», appendix 3: TD Quote Body, and its version for TDX 1.5). */
function parseTdReport(body: Uint8Array, kind: TdReport['kind']): TdReport {
  const reader = new ByteReader(body, 'TD report');
  const digest = () => reader.take(DIGEST_BYTES);
  const report = {
    kind,
    teeTcbSvn: reader.take(16),
    mrSeam: digest(),
    mrSignerSeam: digest(),
    seamAttributes: reader.take(8),
    tdAttributes: reader.u64le(),
    xfam: reader.u64le(),
    mrTd: digest(),
    mrConfigId: digest(),
    mrOwner: digest(),
    mrOwnerConfig: digest(),
    rtmrs: [digest(), digest(), digest(), digest()] as const,
    reportData: reader.take(64),
    teeTcbSvn2: kind === 'td15' ? reader.take(16) : undefined,
    mrServiceTd: kind === 'td15' ? digest() : undefined,
  };
  reader.end();
  return report;
}
