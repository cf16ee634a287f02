import { existsSync, writeSync } from 'node:fs';
import { dropRights } from '../../image/guest/hardening.ts';
import { startService } from '../../image/guest/service.ts';
import { SystemCalls } from '../../image/guest/systemCalls.ts';

/** linux/mount.h: nosuid, nodev, noexec. */
const MOUNT_FLAGS = 2 | 4 | 8;
/** Reports of the hardware are asked for here. */
const CONFIGFS = '/sys/kernel/config';
/** What may be written to: memory of the guest, gone with the container. */
const WRITABLE = ['/data', '/tmp'];

/**
 * The first process of the container, which Kubernetes starts with CAP_SYS_ADMIN: it mounts what the host is not to
 * choose, gives up its rights and runs the service. The container ends when the service does.
 */
async function runContainer(calls: SystemCalls): Promise<number> {
  if (!existsSync(`${CONFIGFS}/tsm`)) calls.call('mount', 'config', CONFIGFS, 'configfs', MOUNT_FLAGS, '');
  for (const folder of WRITABLE) calls.call('mount', 'tmpfs', folder, 'tmpfs', MOUNT_FLAGS, 'mode=0700');
  dropRights(calls);
  const run = startService();
  process.on('SIGTERM', () => run.stop()).on('SIGINT', () => run.stop());
  const { status } = await run.ended;
  return typeof status === 'number' ? status : 1;
}

try {
  process.exitCode = await runContainer(new SystemCalls());
} catch (error) {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  writeSync(2, `container: ${String(code)}: ${String(message)}\n`);
  process.exitCode = 1;
}
