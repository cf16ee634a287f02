import { writeSync } from 'node:fs';
import { dropRights } from '../../image/guest/hardening.ts';
import { NetworkInterface } from '../../image/guest/interface.ts';
import { startService } from '../../image/guest/service.ts';
import { SystemCalls } from '../../image/guest/systemCalls.ts';
import { Bridge } from './bridge.ts';

/** linux/mount.h. */
const NOSUID_NODEV_NOEXEC = 2 | 4 | 8;
const READ_ONLY_AGAIN = 1 | 32 | 4096;
/** Of the service, and of vsock. */
const PORT = 8080;
/** VMADDR_CID_ANY: whatever context id the hypervisor gave this enclave. */
const ANY_CONTEXT = 0xffff_ffff;

/**
 * What `init` of an enclave starts: nothing of the image can be written to from here on, and the port of the service is
 * reached by vsock. The enclave ends when the service does.
 */
async function runEnclave(calls: SystemCalls): Promise<string> {
  new NetworkInterface('lo', calls).up();
  calls.call('mount', 'tmpfs', '/data', 'tmpfs', NOSUID_NODEV_NOEXEC, 'mode=0700');
  calls.call('mount', '', '/', '', READ_ONLY_AGAIN, '');
  dropRights(calls);
  const bridge = new Bridge({ from: { cid: ANY_CONTEXT, port: PORT }, toPort: PORT });
  const run = startService();
  process.on('SIGTERM', () => run.stop()).on('SIGINT', () => run.stop());
  void bridge.run();
  const { status } = await run.ended;
  return `the service ended with ${status}`;
}

function say(line: string): void {
  writeSync(2, `enclave: ${line}\n`);
}

try {
  say(await runEnclave(new SystemCalls()));
} catch (error) {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  say(`${String(code)}: ${String(message)}`);
}
// A vsock that listens cannot be woken, and an orderly end would wait for its thread. `init` restarts either way.
process.kill(process.pid, 'SIGKILL');
