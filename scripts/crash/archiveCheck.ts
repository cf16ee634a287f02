import { join } from 'node:path';
import { equalBytes, fromBase64Url, fromHex, toHex } from '../../attestation/bytes/bytes.ts';
import { parseTilePath } from '../../attestation/log/tiles.ts';
import { parseReceipt } from '../../attestation/receipt/receipt.ts';
import { parseRecord } from '../../attestation/receipt/record.ts';
import { ContentArchive, findContent } from '../../src/archive/content.ts';
import { checkContent } from '../../src/archive/contentRecord.ts';
import { ArchiveKey } from '../../src/archive/envelope.ts';
import { openStorage as openArchiveStorage, type Storage } from '../../src/archive/openArchive.ts';
import { bytesOf, numberOf, optional } from '../../src/archive/sql.ts';
import type { InstanceFiles } from '../../src/archive/source.ts';
import { storeStatus } from '../../src/archive/status.ts';
import { storeSource } from '../../src/archive/storeSource.ts';
import { checkConfig, type ConfigOverrides } from '../../src/config/load.ts';
import { type Config, SECTIONS } from '../../src/config/schema.ts';
import { diskStorage } from '../../src/log/diskStorage.ts';
import { INSTANCES } from '../../src/log/openStorage.ts';
import { openReadOnlyLog, type ReadOnlyLog } from '../../src/log/readOnlyLog.ts';
import { recoverLogs } from '../../src/log/recover.ts';
import type { Acknowledged } from './archivedService.ts';
import { receiptId } from './service.ts';

export interface ArchiveTotals {
  readonly instances: number;
  readonly entries: number;
  readonly contents: number;
}

/**
 * Compares an archive that has caught up with the logs on disk and with what clients were given. Throws what is wrong
 * first: nothing acknowledged may be lost or doubled, and the logs are one line.
 */
export async function checkArchive(
  settings: ConfigOverrides,
  data: string,
  acknowledged: readonly Acknowledged[],
): Promise<ArchiveTotals> {
  const logs = await readLogs(data);
  const storage = await openArchiveStorage(configOf(settings), Date.now);
  try {
    await checkStatus(storage, logs);
    const receipts = new Map<string, Uint8Array>();
    for (const [instance, log] of logs) {
      await checkRows(storage, instance, log, receipts);
    }
    const sources = await storeSource(storage).instances();
    for (const source of sources) {
      const log = logs.get(source.instance);
      if (!log) throw new Error(`the archive has an instance ${source.instance} that is not on disk`);
      await checkFiles(source, log);
    }
    for (const { id } of acknowledged) {
      if (!receipts.has(id)) throw new Error(`receipt ${id} was acknowledged and is not in the archive`);
    }
    const contents = acknowledged.filter(({ content }) => content);
    await checkContents(storage, settings.archive?.contentKey ?? '', contents, receipts);
    const entries = [...logs.values()].reduce((sum, { size }) => sum + size, 0);
    return { instances: logs.size, entries, contents: contents.length };
  } finally {
    await storage.close();
  }
}

/** The defaults, but for these settings. */
function configOf(settings: ConfigOverrides): Config {
  const sections = Object.keys(SECTIONS) as (keyof Config)[];
  return checkConfig(Object.fromEntries(sections.map((section) => [section, { ...settings[section] }])));
}

/** The logs by instance, from the first to the last: each names the one before. */
async function readLogs(data: string): Promise<ReadonlyMap<string, ReadOnlyLog>> {
  const storage = diskStorage(join(data, INSTANCES));
  const { logs } = await recoverLogs(storage);
  const found = new Map<string, ReadOnlyLog>();
  let former: string | undefined;
  for (const { instance, state, problem } of logs) {
    if (state !== 'whole') throw new Error(`the log of ${instance} is ${problem ?? state}`);
    const log = await openReadOnlyLog(storage.files(instance));
    await log.audit();
    const { record } = parseRecord(await log.entry(0));
    if (record.kind !== 'open' || record.predecessor?.origin !== former) {
      throw new Error(`the open record of ${instance} does not name the log before it`);
    }
    former = log.origin;
    found.set(instance, log);
  }
  return found;
}

async function checkStatus(storage: Storage, logs: ReadonlyMap<string, ReadOnlyLog>): Promise<void> {
  const { instances, findings } = await storeStatus(storage);
  const [finding] = findings;
  if (finding) throw new Error(`the archive finds ${finding.code}: ${finding.detail}`);
  if (instances.length !== logs.size) {
    throw new Error(`the archive has ${instances.length} instances, the disk ${logs.size}`);
  }
  for (const { instance, entries, complete, live, problem } of instances) {
    const size = logs.get(instance)?.size;
    if (entries !== size || !complete || live || problem !== undefined) {
      const state = `${entries} of ${size ?? 'no'} entries, ${problem ?? (complete ? 'complete' : 'not complete')}`;
      throw new Error(`the archive has of ${instance} ${state}`);
    }
  }
}

/** One row for each entry, at its index, and each receipt once in all. */
async function checkRows(
  { sql }: Storage,
  instance: string,
  log: ReadOnlyLog,
  receipts: Map<string, Uint8Array>,
): Promise<void> {
  const rows = await sql.query({
    text: 'SELECT idx, receipt FROM archive_entries WHERE instance = ? ORDER BY idx',
    values: [instance],
  });
  if (rows.length !== log.size) throw new Error(`${instance} has ${rows.length} rows of ${log.size} entries`);
  for (const [index, row] of rows.entries()) {
    const entry = await log.entry(index);
    const id = receiptId(entry);
    const named = optional(row, 'receipt', bytesOf);
    if (numberOf(row, 'idx') !== index || (named && toHex(named)) !== id) {
      throw new Error(`the row of entry ${index} of ${instance} is of another`);
    }
    if (id === undefined) continue;
    if (receipts.has(id)) throw new Error(`receipt ${id} is in the archive twice`);
    receipts.set(id, entry);
  }
}

/** Every tile and every document that the archive has is that of the log, and none is missing. */
async function checkFiles(source: InstanceFiles, log: ReadOnlyLog): Promise<void> {
  const { instance } = source;
  let covered = 0;
  let documents = 0;
  for await (const path of source.paths()) {
    const document = /^evidence\/(\d+)\.cbor$/.exec(path)?.[1];
    const isTile = path.startsWith('tile/');
    if (!isTile && document === undefined) continue;
    const bytes = await source.read(path);
    const stored = isTile ? await log.tile(path) : await log.readEvidence(Number(document));
    if (!bytes || !stored || !equalBytes(bytes, stored)) throw new Error(`${path} of ${instance} differs`);
    if (!isTile) documents++;
    else if (path.startsWith('tile/entries/')) covered = Math.max(covered, endOf(path));
  }
  const wanted = log.evidenceHead ? log.evidenceHead.seq + 1 : 0;
  if (covered !== log.size || documents !== wanted) {
    const has = `${covered} of ${log.size} entries and ${documents} of ${wanted} documents`;
    throw new Error(`the files of ${instance} hold ${has}`);
  }
}

function endOf(path: string): number {
  const { index, width } = parseTilePath(path);
  return index * 256 + width;
}

/** What was asked and answered opens under the key of the archive, and is what the receipt commits to. */
async function checkContents(
  { sql, contentBlobs }: Storage,
  contentKey: string,
  acknowledged: readonly Acknowledged[],
  receipts: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  const key = ArchiveKey.parse(contentKey);
  const archive = new ContentArchive({ sql, blobs: contentBlobs, key, now: Date.now });
  for (const { id, k, request, response } of acknowledged) {
    const row = await findContent(sql, fromHex(id));
    const receipt = receipts.get(id);
    if (!row || !receipt) throw new Error(`the content of receipt ${id} was not kept`);
    const content = await archive.open(row);
    checkContent(content, parseReceipt(receipt).claims);
    const body = content.response.kind === 'body' ? Buffer.from(content.response.body).toString() : undefined;
    const asked = Buffer.from(content.request).toString();
    if (!equalBytes(content.k, fromBase64Url(k)) || asked !== request || body !== response) {
      throw new Error(`the content of receipt ${id} is another`);
    }
  }
}
