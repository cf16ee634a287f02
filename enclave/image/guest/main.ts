import { writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { applyKernelSettings, dropRights } from './hardening.ts';
import { startNetwork } from './network.ts';
import { watchPowerButtons } from './powerButton.ts';
import { startService, Supervisor } from './service.ts';
import { SystemCalls } from './systemCalls.ts';

/** linux/mount.h and linux/reboot.h. */
const NOSUID_NODEV_NOEXEC = 2 | 4 | 8;
const POWER_OFF = 0x4321fedc;
/** What every machine of this image is called: a name of the host's would be its way to tell it something. */
const HOST_NAME = 'vouchsafe';
/** For the console to take the last line. */
const LAST_LINE_MS = 200;

/** The first process of the measured root: it mounts, brings up the network, and keeps the service running. */
async function runGuest(calls: SystemCalls): Promise<void> {
  calls.call('sethostname', HOST_NAME, HOST_NAME.length);
  calls.call('mount', 'config', '/sys/kernel/config', 'configfs', NOSUID_NODEV_NOEXEC, '');
  calls.call('mount', 'security', '/sys/kernel/security', 'securityfs', NOSUID_NODEV_NOEXEC, '');
  await applyKernelSettings();
  await startNetwork(calls, say);
  dropRights(calls);
  const supervisor = new Supervisor({ start: startService, sweep: endOrphans, say });
  process.on('SIGTERM', () => supervisor.stop()).on('SIGINT', () => supervisor.stop());
  await watchPowerButtons(() => supervisor.stop());
  await supervisor.run();
}

/**
 * Processes that a service left behind end with it. Those that ended before it stay in the table of processes until the
 * machine stops: nothing is lost by that, as each run starts a handful and runs are few.
 */
function endOrphans(): void {
  try {
    process.kill(-1, 'SIGKILL');
  } catch {
    // There are none.
  }
}

function say(line: string): void {
  writeSync(1, `guest: ${line}\n`);
}

/** Nothing is left to do then, and the kernel would stop with an alarm. */
async function main(): Promise<void> {
  const calls = new SystemCalls();
  try {
    await runGuest(calls);
    say('stopped');
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
    say(`${String(code)}: ${String(message)}`);
  }
  await delay(LAST_LINE_MS);
  calls.call('reboot', POWER_OFF);
}

await main();
