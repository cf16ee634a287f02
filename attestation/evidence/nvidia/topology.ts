import { toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check } from '../../checks.ts';
import type { NvidiaPolicy } from '../../policy/policy.ts';
import { modesOf } from './modes.ts';
import type { DeviceMode, GpuReport, SwitchReport } from './parse.ts';
import type { VerifiedDevice } from './verify.ts';

/** An HGX H100 or H200 baseboard: the one machine that protected PCIe exists for. */
const GPUS = 8;
const SWITCHES = 4;
const ID = 'devices.topology';
const SUBJECT = 'devices';

const WITHOUT: Readonly<Record<Exclude<DeviceMode, 'ppcie'>, string>> = {
  spt: 'GPUs in single GPU passthrough name no links to one another',
  mpt: 'in multi GPU passthrough NVLink is encrypted between the GPUs: no switch attests, each GPU only for itself',
};

/** What the devices say of one another. */
interface Machine {
  readonly gpus: readonly Member<GpuReport>[];
  readonly switches: readonly Member<SwitchReport>[];
}

interface Member<Report> {
  readonly name: string;
  readonly report: Report;
  /** PDI by the certificates: what other devices must name this one by. */
  readonly pdi: string;
}

/**
 * Whether GPUs and switches name each other as one machine. Every report is signed by its device, so a host that
 * brings devices of two machines, or hides one of a machine, shows up in what the others name.
 */
export function checkTopology(
  devices: readonly VerifiedDevice[],
  { topology }: Pick<NvidiaPolicy, 'topology'>,
): Check {
  const machine = machineOf(devices);
  const modes = modesOf(devices);
  if (!modes.includes('ppcie')) return withoutTopology(machine, modes, topology);
  const problems = findProblems(machine);
  if (problems.length === 0) {
    const found = `${GPUS} GPUs ${namesOf(machine.gpus)} and ${SWITCHES} switches ${namesOf(machine.switches)}`;
    return pass(ID, SUBJECT, `${found} name each other, as their certificates do`);
  }
  const reason = problems.join('; ');
  return topology === 'any'
    ? skip(ID, SUBJECT, 'NOT_REQUIRED', `the policy takes any topology: ${reason}`)
    : fail(ID, SUBJECT, 'TOPOLOGY_MISMATCH', reason);
}

function withoutTopology(
  { switches }: Machine,
  modes: readonly DeviceMode[],
  topology: NvidiaPolicy['topology'],
): Check {
  const because = modes.flatMap((mode) => (mode === 'ppcie' ? [] : [WITHOUT[mode]])).join('; ');
  const reason = because || 'there is no GPU';
  if (topology === 'required') {
    return fail(ID, SUBJECT, 'TOPOLOGY_MISMATCH', `the policy requires a topology: ${reason}`);
  }
  if (switches.length > 0 && modes.length > 0 && topology !== 'any') {
    const listed = `switches ${namesOf(switches)} stand beside GPUs that are not in protected PCIe`;
    return fail(ID, SUBJECT, 'TOPOLOGY_MISMATCH', listed);
  }
  return skip(ID, SUBJECT, 'NOT_REQUIRED', reason);
}

function machineOf(devices: readonly VerifiedDevice[]): Machine {
  const gpus: Member<GpuReport>[] = [];
  const switches: Member<SwitchReport>[] = [];
  for (const { report, bootRomSerial } of devices) {
    // The first byte of the serial is 0x41 on GPUs and 0x50 on LS10, the rest is the PDI.
    const pdi = toHex(bootRomSerial.subarray(1));
    if (report.kind === 'gpu') gpus.push({ name: `gpu ${gpus.length}`, report, pdi });
    else switches.push({ name: `switch ${switches.length}`, report, pdi });
  }
  return { gpus, switches };
}

/** What contradicts one machine; empty where nothing does. */
function findProblems({ gpus, switches }: Machine): readonly string[] {
  const problems: string[] = [];
  if (gpus.length !== GPUS || switches.length !== SWITCHES) {
    const wanted = `protected PCIe has ${GPUS} GPUs and ${SWITCHES} switches`;
    problems.push(`${wanted}, verified are ${gpus.length} and ${switches.length}`);
  }
  if (new Set([...gpus, ...switches].map(({ pdi }) => pdi)).size !== gpus.length + switches.length) {
    problems.push('two devices have one PDI');
  }
  const switchPdis = pdisOf(switches);
  const gpuPdis = pdisOf(gpus);
  for (const { name, report } of gpus) {
    if (sameSet(report.switchPdis, switchPdis)) continue;
    problems.push(`${name} names switches ${setText(report.switchPdis)}, listed are ${setText(switchPdis)}`);
  }
  for (const { name, report, pdi } of switches) {
    if (report.pdi !== pdi) {
      problems.push(`${name} calls itself ${report.pdi ?? 'nothing'}, its certificate ${pdi}`);
    }
    if (!sameSet(report.gpuPdis, gpuPdis)) {
      problems.push(`${name} names GPUs ${setText(report.gpuPdis)}, listed are ${setText(gpuPdis)}`);
    }
    if (!report.locked) problems.push(`${name} is not locked`);
  }
  return problems;
}

function pdisOf(members: readonly Member<unknown>[]): readonly string[] {
  return members.map(({ pdi }) => pdi);
}

function namesOf(members: readonly Member<unknown>[]): string {
  return setText(pdisOf(members));
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  const wanted = new Set(b);
  return new Set(a).size === wanted.size && a.every((item) => wanted.has(item));
}

function setText(pdis: readonly string[]): string {
  return pdis.length === 0 ? 'none' : `{${pdis.toSorted().join(', ')}}`;
}
