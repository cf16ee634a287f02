import { stat } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import type { Way } from '../collector.ts';
import { CollectError } from '../errors.ts';
import type { Finding } from '../finding.ts';
import { ConfigfsTsmCollector, WAY, type TsmCollector } from './collector.ts';
import { DeviceGate } from '../deviceGate.ts';
import { LAST_VMPL, readMachine, type TsmMachine } from './report.ts';
import { identifyProcess, RequestFolders } from './requestFolder.ts';
import { errnoOf } from './systemError.ts';

const FIRST_KERNEL = [6, 7] as const;
/** Looking asks nothing of the hardware, but waits for the kernel's one lock while another request does. */
const FIND_DEADLINE_MS = 10_000;
/** TDX waits 30 s for its host; SNP asks a host that throttles again for 60 s, in the kernel. */
const DEFAULT_DEADLINE_MS = 90_000;

export interface TsmOptions {
  /** Where configfs is mounted. */
  readonly configfs?: string;
  /** Log of measured boot of a TD. */
  readonly ccel?: string;
  /** SNP: VMPL that reports are to be of, 0 to 3; by default the lowest that the kernel allows. */
  readonly vmpl?: number;
  /** How long one collection may take, with all its tries. */
  readonly deadlineMs?: number;
}

interface Opened {
  readonly folders: RequestFolders;
  readonly machine: TsmMachine;
  readonly vmpl: number | undefined;
}

/** SEV-SNP and TDX through the report interface of Linux 6.7 and newer, `/sys/kernel/config/tsm/report`. */
export function tsmWay(options: TsmOptions = {}): Way<TsmCollector> {
  const { configfs = '/sys/kernel/config', vmpl, deadlineMs = DEFAULT_DEADLINE_MS } = options;
  const { ccel = '/sys/firmware/acpi/tables/data/CCEL' } = options;
  if (vmpl !== undefined && (!Number.isInteger(vmpl) || vmpl < 0 || vmpl > LAST_VMPL)) {
    throw new RangeError(`a VMPL is 0 to ${LAST_VMPL}`);
  }
  const reports = join(configfs, 'tsm/report');
  return {
    name: WAY,
    async find() {
      try {
        return describe(reports, await look(reports, vmpl, { deadlineMs: FIND_DEADLINE_MS, tidies: false }));
      } catch (error) {
        return explain(configfs, reports, error);
      }
    },
    async open() {
      try {
        const opened = await look(reports, vmpl, { deadlineMs, tidies: true });
        return new ConfigfsTsmCollector({ ...opened, ccel, deadlineMs });
      } catch (error) {
        const errno = errnoOf(error);
        if (errno !== 'ENOENT' && errno !== 'ENXIO') throw error;
        throw new CollectError('DEVICE_MISSING', `${reports}: ${errno}`, { cause: error });
      }
    },
  };
}

/** Tidying comes first: newer kernels let no driver register while a folder that was left behind is there. */
function look(
  reports: string,
  wantedVmpl: number | undefined,
  { deadlineMs, tidies }: { readonly deadlineMs: number; readonly tidies: boolean },
): Promise<Opened> {
  return new DeviceGate(WAY).run(deadlineMs, async () => {
    const folders = new RequestFolders(reports, await identifyProcess());
    if (tidies) await folders.removeStale();
    const machine = await readMachine(folders);
    return { folders, machine, vmpl: chooseVmpl(machine, wantedVmpl) };
  });
}

function chooseVmpl({ firstVmpl }: TsmMachine, wanted: number | undefined): number | undefined {
  if (firstVmpl === undefined || wanted === undefined) return firstVmpl;
  if (wanted >= firstVmpl) return wanted;
  throw new CollectError(
    'DEVICE_REFUSED',
    `the guest runs at VMPL ${firstVmpl}, so it gets no report of VMPL ${wanted}`,
  );
}

function describe(reports: string, { machine, vmpl }: Opened): Finding {
  const level = vmpl === undefined ? '' : `, reports of VMPL ${vmpl}`;
  const services = machine.hasServices ? ', below an SVSM' : '';
  const detail = `${machine.platform.toUpperCase()} at ${reports}${level}${services}`;
  return { way: WAY, state: 'usable', detail };
}

async function explain(configfs: string, reports: string, error: unknown): Promise<Finding> {
  const detail = error instanceof Error ? error.message : String(error);
  const errno = errnoOf(error);
  if (errno === 'ENOENT') {
    const hasConfigfs = await stat(configfs).then(
      () => true,
      () => false,
    );
    const fix = fixForAbsent(release(), hasConfigfs);
    return { way: WAY, state: 'absent', detail: `no ${reports} on Linux ${release()}`, fix };
  }
  const fix = (errno && FIXES[errno]) ?? (error instanceof CollectError ? error.advice : undefined);
  return { way: WAY, state: 'unusable', detail, ...(fix !== undefined && { fix }) };
}

const FIXES: Readonly<Record<string, string>> = {
  ENXIO:
    'The interface is loaded, its driver is not: `modprobe sev-guest` (AMD) or `modprobe tdx-guest` (Intel). Both refuse with ENODEV where the virtual machine is not confidential: launch it as one.',
  EACCES: 'Only root makes requests here: run the service as root.',
  EPERM: 'Only root makes requests here: run the service as root, in a container with the right to do so.',
  EROFS:
    'configfs is mounted read-only, as in most containers: mount /sys/kernel/config of the host writable.',
};

/** What an operator does where the interface is not there at all; `kernel` as `uname -r` prints it. */
export function fixForAbsent(kernel: string, hasConfigfs: boolean): string {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(kernel) ?? [];
  const [wantedMajor, wantedMinor] = FIRST_KERNEL;
  const isOld = Number(major) < wantedMajor || (Number(major) === wantedMajor && Number(minor) < wantedMinor);
  if (isOld) {
    return `Linux ${wantedMajor}.${wantedMinor} or newer has this interface; Debian 12 has such a kernel in bookworm-backports.`;
  }
  const mount = hasConfigfs ? '' : ' `modprobe configfs`, `mount -t configfs none /sys/kernel/config`, then';
  return `Load the driver:${mount} \`modprobe sev-guest\` (AMD) or \`modprobe tdx-guest\` (Intel). Both refuse with ENODEV where the virtual machine is not confidential.`;
}
