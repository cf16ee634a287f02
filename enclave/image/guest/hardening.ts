import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { SystemCalls } from './systemCalls.ts';

/** linux/prctl.h and linux/capability.h. */
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const LAST_CAPABILITY = 40;
const CAP_NET_BIND_SERVICE = 10;
const CAP_SYS_ADMIN = 21;

/** Below /proc/sys. The host is on the other side of the console, and of every packet. */
const SETTINGS: Readonly<Record<string, string>> = {
  // No keys on the console, whose other end is the host: they print registers and memory.
  'kernel/sysrq': '0',
  'kernel/core_pattern': '/dev/null',
  'kernel/dmesg_restrict': '1',
  'kernel/kptr_restrict': '2',
  'kernel/yama/ptrace_scope': '3',
  'kernel/unprivileged_bpf_disabled': '1',
  'kernel/perf_event_paranoid': '3',
  'dev/tty/ldisc_autoload': '0',
  'net/core/bpf_jit_harden': '2',
  'net/ipv4/conf/all/accept_redirects': '0',
  'net/ipv4/conf/default/accept_redirects': '0',
  'net/ipv4/conf/all/accept_source_route': '0',
  'net/ipv4/conf/default/accept_source_route': '0',
  // This image has no IPv6: a router that advertises itself would else give every card an address.
  'net/ipv6/conf/all/disable_ipv6': '1',
  'net/ipv6/conf/default/disable_ipv6': '1',
};

export async function applyKernelSettings(): Promise<void> {
  for (const [name, value] of Object.entries(SETTINGS)) await writeFile(`/proc/sys/${name}`, value);
}

/**
 * What is started from now on cannot gain the rights of the first process. The service stays root without capabilities:
 * reports of SEV-SNP and TDX are asked for in folders that the kernel makes for root alone, and the TPM and the boot log
 * are root's. It can neither mount, load code into the kernel, look into other processes nor switch the machine off.
 * NVIDIA's driver lets an administrator alone say that a GPU may work, so where there is one, CAP_SYS_ADMIN stays.
 */
export function dropRights(calls: SystemCalls, hasGpu = existsSync('/dev/nvidiactl')): void {
  for (let capability = 0; capability <= LAST_CAPABILITY; capability++) {
    const isKept = capability === CAP_NET_BIND_SERVICE || (hasGpu && capability === CAP_SYS_ADMIN);
    if (!isKept) calls.call('prctl', PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  calls.call('prctl', PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
