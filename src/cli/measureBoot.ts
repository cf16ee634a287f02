import { type Command, Option } from 'commander';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { HashName } from '../../attestation/crypto/provider.ts';
import { gptEvent } from '../../enclave/predict/boot/gpt.ts';
import { patchKernel } from '../../enclave/predict/boot/linuxHeader.ts';
import { type Boot, predictPcrs, UNPREDICTABLE_PCRS } from '../../enclave/predict/boot/pcrs.ts';
import { authenticodeDigest } from '../../enclave/predict/boot/portableExecutable.ts';
import { measureUki, type StubRelease } from '../../enclave/predict/boot/uki.ts';
import { type Prediction, referenceValue } from '../../enclave/predict/referenceValues.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import type { MeasureFlags, Printing } from './measure.ts';
import { readPart, readStart, toBytes } from './measureParts.ts';

/** What boots, and how: a unified kernel image from a disk, or a kernel of the host. */
export interface BootFlags {
  readonly uki?: string;
  readonly disk?: string;
  readonly stub: StubRelease;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
  readonly memory?: number;
  readonly rewrittenKernel?: boolean;
}

interface MeasureBootFlags extends MeasureFlags, BootFlags {
  readonly bank: 'sha256' | 'sha384';
}

/** QEMU keeps it free for ACPI tables. */
const ACPI_DATA_BYTES = 0x2_8000;
/** Master boot record, header and 128 entries of a partition table. */
const PARTITION_TABLE_BYTES = 34 * 512;

export function measureBootCommand(printing: Printing): Command {
  return withBootOptions(newCommand('boot', 'PCRs of a measured boot'))
    .addOption(
      new Option('--bank <hash>', 'bank of the registers').choices(['sha256', 'sha384']).default('sha256'),
    )
    .action(printing(predict));
}

export function withBootOptions(command: Command): Command {
  return command
    .option('--uki <file>', 'unified kernel image that the firmware starts from a disk')
    .option(
      '--disk <file>',
      'disk that it is started from, where that has a GPT: its first 34 sectors are read',
    )
    .addOption(
      new Option('--stub <release>', 'stub of the unified kernel image')
        .choices(['systemd-252', 'systemd-254', 'systemd-257'])
        .default('systemd-254'),
    )
    .option('--kernel <file>', 'in place of an image: kernel that the host passes')
    .option('--initrd <file>', 'initrd that the host passes')
    .option('--cmdline <text>', 'command line that the host passes')
    .option(
      '--rewritten-kernel',
      'QEMU up to 9 rewrites the header of a kernel that it passes; needs --memory',
    )
    .option('--memory <size>', 'memory of the guest, such as 64G', toBytes);
}

async function predict({ bank, ...flags }: MeasureBootFlags): Promise<Prediction> {
  const boot = await readBoot(flags, bank);
  const pcrs = [...predictPcrs(boot, bank, nodeCrypto)];
  return {
    values: pcrs.map(([pcr, value]) =>
      referenceValue(`tpm.pcrs.${bank}.${pcr}`, value, originOf(pcr, flags)),
    ),
    unpredicted: Object.entries(UNPREDICTABLE_PCRS).map(([pcr, why]) => ({ what: `PCR ${pcr}`, why })),
  };
}

function originOf(pcr: number, flags: BootFlags): readonly string[] {
  if ([2, 3, 6].includes(pcr)) return ['the firmware profile: the same for all images'];
  if (pcr === 5) return ['the firmware profile', ...(flags.disk === undefined ? [] : [flags.disk])];
  return bootOrigin(flags);
}

/** What the registers of a boot follow from. */
export function bootOrigin({
  uki,
  stub,
  kernel,
  initrd,
  cmdline,
  rewrittenKernel,
  memory,
}: BootFlags): readonly string[] {
  if (uki !== undefined) return [uki, `stub ${stub}`];
  return [
    kernel ?? '',
    initrd ?? '',
    `command line «${cmdline ?? ''}»`,
    ...(rewrittenKernel ? [`header rewritten for ${memory ?? 0} bytes of memory`] : []),
  ].filter(Boolean);
}

/** Reads the parts of a boot and measures them for a bank. */
export async function readBoot(flags: BootFlags, bank: HashName): Promise<Boot> {
  const { uki, disk, stub, kernel } = flags;
  if ((uki === undefined) === (kernel === undefined)) {
    throw new CliError(EXIT.misuse, 'name what boots: --uki, or --kernel with --initrd');
  }
  if (uki !== undefined) {
    const table = disk === undefined ? undefined : await readStart(disk, PARTITION_TABLE_BYTES);
    return {
      kind: 'uki',
      uki: measureUki(await readPart(uki), stub, bank, nodeCrypto),
      gpt: table && gptEvent(table),
    };
  }
  return readDirectBoot(flags, await readPart(kernel ?? ''), bank);
}

async function readDirectBoot(flags: BootFlags, kernel: Uint8Array, bank: HashName): Promise<Boot> {
  const { disk, initrd: initrdPath, cmdline = '', rewrittenKernel = false, memory } = flags;
  if (disk !== undefined) throw new CliError(EXIT.misuse, '--disk goes with --uki');
  if (initrdPath === undefined) throw new CliError(EXIT.misuse, '--kernel needs --initrd');
  if (rewrittenKernel && memory === undefined) {
    throw new CliError(
      EXIT.misuse,
      '--rewritten-kernel needs --memory: the place of the initrd is written into it',
    );
  }
  const initrd = await readPart(initrdPath);
  const load = { initrdBytes: initrd.length, memoryBytes: memory ?? 0, acpiDataBytes: ACPI_DATA_BYTES };
  const measured = rewrittenKernel ? patchKernel(kernel, load) : kernel;
  return {
    kind: 'direct',
    direct: { kernel: authenticodeDigest(measured, bank, nodeCrypto), initrd: { bytes: initrd }, cmdline },
  };
}
