import { equalBytes } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { parseHclReport, type HclReport } from '../../../attestation/evidence/azure/parse.ts';
import { verifyRuntimeClaims } from '../../../attestation/evidence/azure/verify.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';
import { Deadline } from '../tpm/deadline.ts';
import { defineNv, NV, readNv, readNvPublic, undefineNv, writeNv } from '../tpm/nv.ts';
import type { TpmSession } from '../tpm/session.ts';

/** NV index in which the paravisor leaves the HCL report: 2600 bytes. */
export const REPORT_INDEX = 0x01400001;
/** NV index into which the guest writes the 64 bytes that the next report states as `user-data`. */
export const USER_DATA_INDEX = 0x01400002;
export const USER_DATA_BYTES = 64;
const MAX_REPORT_BYTES = 16 * 1024;
const POLL_MS = 250;

/** An HCL report with its parts. */
export interface CollectedReport {
  readonly bytes: Uint8Array;
  readonly report: HclReport;
}

/** The report as it stands; undefined where this TPM has none, as on machines that are not Azure's. */
export async function readReport(session: TpmSession): Promise<CollectedReport | undefined> {
  const bytes = await readNv(session, REPORT_INDEX, MAX_REPORT_BYTES);
  return bytes && { bytes, report: readEvidence('the HCL report', () => readWhole(bytes)) };
}

/** A report whose hardware report commits to its claims: one that was replaced between two reads does not. */
function readWhole(bytes: Uint8Array): HclReport {
  const report = parseHclReport(bytes);
  verifyRuntimeClaims(report, report.reportData, nodeCrypto);
  return report;
}

/**
 * A report that was made after `userData` was written, and says so. The paravisor makes one when the index is read
 * from its start and the last one is more than two seconds old (OpenHCL, `REPORT_TIMER_PERIOD`); a read before that
 * gives the old one. So it is read until our bytes are in it, or most of the session's time has passed.
 */
export async function freshReport(session: TpmSession, userData: Uint8Array): Promise<CollectedReport> {
  // The rest of the time is for the quote.
  const patience = new Deadline(session.deadline.remaining * 0.75);
  await writeUserData(session, userData);
  for (;;) {
    const read = await tryRead(session);
    if ('report' in read && isOver(read.report, userData)) return read;
    await checkUserData(session, userData);
    if (!(await patience.pause(POLL_MS))) throw stale(read);
  }
}

/** What we wrote must still be there: a report over the bytes of another program will never have ours. */
async function checkUserData(session: TpmSession, userData: Uint8Array): Promise<void> {
  const written = await readNv(session, USER_DATA_INDEX, USER_DATA_BYTES);
  if (written && equalBytes(written, userData)) return;
  throw new CollectError('EVIDENCE_MISMATCH', 'another program writes user-data for the HCL report, too');
}

/** A report that cannot be read may be one that is being replaced. */
async function tryRead(session: TpmSession): Promise<CollectedReport | CollectError> {
  try {
    return (await readReport(session)) ?? new CollectError('DEVICE_MISSING', NO_REPORT);
  } catch (error) {
    if (error instanceof CollectError && error.code === 'EVIDENCE_MALFORMED') return error;
    throw error;
  }
}

export const NO_REPORT = 'the TPM has no HCL report: this is no confidential VM of Azure';

function isOver({ claims }: HclReport, userData: Uint8Array): boolean {
  return claims.userData !== undefined && equalBytes(claims.userData, userData);
}

function stale(last: CollectedReport | CollectError): CollectError {
  if (!('report' in last)) return last;
  if (!last.report.claims.userData) {
    return new CollectError(
      'DEVICE_REFUSED',
      'the paravisor states no user-data: it is too old for fresh reports',
    );
  }
  return new CollectError('DEVICE_TIMEOUT', 'the paravisor made no report with our user-data in time');
}

async function writeUserData(session: TpmSession, userData: Uint8Array): Promise<void> {
  const found = await readNvPublic(session, USER_DATA_INDEX);
  if (found?.size === USER_DATA_BYTES) return writeNv(session, found, userData);
  if (found) await undefineNv(session, USER_DATA_INDEX);
  const area = {
    index: USER_DATA_INDEX,
    attributes: NV.ownerRead | NV.ownerWrite,
    size: USER_DATA_BYTES,
  };
  await defineNv(session, area);
  await writeNv(session, area, userData);
}
