import type { Keyset } from '../../attestation/keyset.ts';
import type { Archive } from '../archive/archive.ts';
import type { Vouching } from '../receipts/vouching.ts';
import type { Logs } from './logs.ts';
import type { Start } from './start.ts';

interface ArchiveInputs extends Omit<Logs, 'predecessor'> {
  readonly keyset: Keyset;
  readonly vouching: Vouching;
}

/** The compliance archive, where it is on. Its libraries are loaded only then. */
export async function startArchive(
  { config, log, now, undo }: Start,
  { keyset, instanceLog, former, vouching, created }: ArchiveInputs,
): Promise<Archive | undefined> {
  if (!config.archive.enabled) return undefined;
  const { openArchive } = await import('../archive/openArchive.ts');
  const archive = await openArchive(config, {
    live: {
      instance: Buffer.from(keyset.instance).toString('hex'),
      created,
      log: instanceLog,
      note: (size) => vouching.checkpointAt(size),
      recordAct: (body) => vouching.recordAct(body),
    },
    former: former.logs.map(({ instance, size }) => ({ instance, size, open: () => former.open(instance) })),
    now,
    onFailure: (error) => {
      const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
      log.error('the archive cannot go on', { code, reason: message });
    },
  });
  if (!archive) return undefined;
  undo.push(async () => {
    await archive.pause();
    // The final evidence is of the log that is archived.
    await vouching.stop();
    await archive.close();
  });
  vouching.watchIssuing(({ id, tenant }) => archive.noteTenant(id, tenant));
  archive.start();
  return archive;
}
