import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CollectError } from '../errors.ts';
import { isVisible, readBlob, readLine, readNumber, writeAttribute } from './attribute.ts';
import type { Deadline } from '../deviceGate.ts';
import type { RequestFolders } from './requestFolder.ts';
import { isTransient } from './systemError.ts';

/** Linux takes 32 KiB at most (TSM_REPORT_OUTBLOB_MAX), newer kernels more; the verifier takes no longer quote. */
const MAX_REPORT_BYTES = 128 * 1024;
/** Certificate tables and manifests have a few KiB. */
const MAX_ADDITION_BYTES = 64 * 1024;
/** TSM_REPORT_PRIVLEVEL_MAX. */
export const LAST_VMPL = 3;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

/** Drivers that answer, and what they answer with. */
const PROVIDERS = { sev_guest: 'snp', tdx_guest: 'tdx' } as const;
export type TsmPlatform = (typeof PROVIDERS)[keyof typeof PROVIDERS];

/** What the kernel says of the machine without asking the hardware. */
export interface TsmMachine {
  readonly platform: TsmPlatform;
  /** SNP: the lowest number, so the most privileged, of the VMPLs that reports may be of; absent on TDX. */
  readonly firstVmpl: number | undefined;
  /** SNP: whether the guest runs below an SVSM that attests services of its own (Linux 6.11 and newer). */
  readonly hasServices: boolean;
}

export interface ReportRequest {
  readonly platform: TsmPlatform;
  /** SNP: VMPL that the report is to be of. */
  readonly vmpl?: number | undefined;
  /** Asks the SVSM, whose report is over a manifest of its services too. */
  readonly services?: boolean;
  /** 64 bytes. */
  readonly reportData: Uint8Array;
}

/** Blobs of one generation, as the kernel handed them out. */
export interface ReportBlobs {
  readonly report: Uint8Array;
  /** SNP: certificate table of the host; empty where it gave none. */
  readonly certificateTable: Uint8Array;
  /** Manifest of the services of an SVSM; empty where it was not asked. */
  readonly manifest: Uint8Array;
}

/** Which driver answers, and what it offers. Makes a request and removes it: nothing is asked of the hardware. */
export function readMachine(folders: RequestFolders): Promise<TsmMachine> {
  return folders.withFolder(async (folder) => {
    const platform = await readPlatform(folder);
    if (platform === 'tdx') return { platform, firstVmpl: undefined, hasServices: false };
    const floor = await readNumber(join(folder, 'privlevel_floor'));
    if (floor > LAST_VMPL) {
      throw new CollectError('DEVICE_REFUSED', `${folder}/privlevel_floor is ${floor}, above ${LAST_VMPL}`);
    }
    const hasServices = await isVisible(join(folder, 'manifestblob'));
    return { platform, firstVmpl: Number(floor), hasServices };
  });
}

/** One report, with a fresh folder for each try: a folder that somebody else wrote to stays suspect. */
export async function requestReport(
  folders: RequestFolders,
  request: ReportRequest,
  deadline: Deadline,
): Promise<ReportBlobs> {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      return await folders.withFolder((folder) => requestOnce(folder, request, deadline.signal));
    } catch (error) {
      if (!isTransient(error) || deadline.remainingMs() <= pause) throw error;
      if (error instanceof CollectError) deadline.retryingAfter(error);
      await delay(pause, undefined, { signal: deadline.signal });
    }
  }
}

/**
 * A read returns the report of whoever wrote last, without any error. So the generation has to have risen by our own
 * writes and no more when the report is read; the caller then looks for its bytes inside.
 */
async function requestOnce(
  folder: string,
  request: ReportRequest,
  signal: AbortSignal,
): Promise<ReportBlobs> {
  await checkPlatform(folder, request.platform);
  const before = await readGeneration(folder);
  const writes = await writeRequest(folder, request, signal);
  const wanted = before + writes;
  const written = await readGeneration(folder);
  if (written < wanted) {
    throw new CollectError('DEVICE_REFUSED', `${folder}: the kernel did not take the report data`);
  }
  checkGeneration(folder, written, wanted);
  signal.throwIfAborted();
  const report = await readBlob(join(folder, 'outblob'), MAX_REPORT_BYTES);
  if (report.length === 0) {
    throw new CollectError('EVIDENCE_MALFORMED', `${folder}/outblob is empty: the host made no report`);
  }
  signal.throwIfAborted();
  const readWhere = (offered: boolean, name: string) =>
    offered ? readBlob(join(folder, name), MAX_ADDITION_BYTES) : new Uint8Array();
  const certificateTable = await readWhere(request.platform === 'snp', 'auxblob');
  const manifest = await readWhere(request.services === true, 'manifestblob');
  checkGeneration(folder, await readGeneration(folder), wanted);
  return { report, certificateTable, manifest };
}

/** Writes what is asked for, and returns how many generations that makes. */
async function writeRequest(
  folder: string,
  { vmpl, services, reportData }: ReportRequest,
  signal: AbortSignal,
): Promise<bigint> {
  const options: (readonly [name: string, value: string])[] = [];
  // A new folder asks for VMPL 0.
  if (vmpl !== undefined && vmpl !== 0) options.push(['privlevel', String(vmpl)]);
  if (services) options.push(['service_provider', 'svsm']);
  for (const [name, value] of options) {
    await writeAttribute(join(folder, name), Buffer.from(`${value}\n`, 'latin1'));
  }
  signal.throwIfAborted();
  await writeAttribute(join(folder, 'inblob'), reportData);
  return BigInt(options.length) + 1n;
}

function readGeneration(folder: string): Promise<bigint> {
  return readNumber(join(folder, 'generation'));
}

function checkGeneration(folder: string, found: bigint, wanted: bigint): void {
  if (found === wanted) return;
  throw new CollectError(
    'EVIDENCE_MISMATCH',
    `${folder}: generation ${found} where our own writes make ${wanted}: somebody else wrote to it`,
  );
}

async function checkPlatform(folder: string, wanted: TsmPlatform): Promise<void> {
  const found = await readPlatform(folder);
  if (found === wanted) return;
  throw new CollectError('DEVICE_LOST', `reports came from ${wanted} and now come from ${found}`);
}

async function readPlatform(folder: string): Promise<TsmPlatform> {
  const provider = await readLine(join(folder, 'provider'));
  const known = Object.entries(PROVIDERS).find(([name]) => name === provider);
  if (known) return known[1];
  throw new CollectError(
    'DEVICE_REFUSED',
    `${folder}/provider is ${JSON.stringify(provider)}, not one of ${Object.keys(PROVIDERS).join(', ')}`,
  );
}
