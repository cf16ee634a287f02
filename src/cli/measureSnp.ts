import { type Command, Option } from 'commander';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { type Prediction, referenceValue } from '../../enclave/predict/referenceValues.ts';
import { CPU_MODELS, signatureOfModel } from '../../enclave/predict/snp/cpuModels.ts';
import { hashKernelParts } from '../../enclave/predict/snp/kernelHashes.ts';
import { measureFirmware, snpLaunchDigest } from '../../enclave/predict/snp/launchDigest.ts';
import type { Vmm } from '../../enclave/predict/snp/vmsa.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import type { MeasureFlags, Printing } from './measure.ts';
import { readOptional, readPart, toBits, toCount } from './measureParts.ts';

interface SnpFlags extends MeasureFlags {
  readonly firmware: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
  readonly vcpus: number;
  readonly vmm: Vmm;
  readonly cpu?: string;
  readonly guestFeatures: bigint;
}

export function measureSnpCommand(printing: Printing): Command {
  return newCommand('snp', 'Launch digest of an SEV-SNP guest')
    .requiredOption('--firmware <file>', 'firmware as the host loads it')
    .option('--kernel <file>', 'kernel that the host passes; the firmware must check it')
    .option('--initrd <file>', 'initrd that the host passes')
    .option('--cmdline <text>', 'command line that the host passes')
    .requiredOption('--vcpus <number>', 'number of processors', toCount)
    .addOption(
      new Option('--vmm <name>', 'who loads the guest').choices(['qemu', 'ec2', 'gce']).default('qemu'),
    )
    .addOption(
      new Option('--cpu <model>', 'model of the processor; QEMU puts it into the measurement').choices(
        CPU_MODELS,
      ),
    )
    .option(
      '--guest-features <hex>',
      'SEV_FEATURES that the host sets: 0x1, or 0x21 on hosts 6.6 and 6.7',
      toBits,
      1n,
    )
    .action(printing(predict));
}

async function predict(flags: SnpFlags): Promise<Prediction> {
  const { vmm, vcpus, guestFeatures, cpu, kernel: kernelPath, initrd, cmdline } = flags;
  if (vmm === 'qemu' && cpu === undefined) {
    throw new CliError(
      EXIT.misuse,
      'QEMU puts the model of the processor into the measurement: name it with --cpu',
    );
  }
  if (kernelPath === undefined && (initrd !== undefined || cmdline !== undefined)) {
    throw new CliError(EXIT.misuse, '--initrd and --cmdline go with --kernel');
  }
  const firmware = measureFirmware(await readPart(flags.firmware), nodeCrypto);
  const kernel = await readOptional(kernelPath);
  const parts = kernel && { kernel, initrd: await readOptional(initrd), cmdline };
  const cpuSignature = cpu === undefined ? 0 : signatureOfModel(cpu);
  const digest = snpLaunchDigest(
    {
      vmm,
      vcpus,
      guestFeatures,
      cpuSignature,
      firmware,
      kernel: parts && hashKernelParts(parts, nodeCrypto),
    },
    nodeCrypto,
  );
  const from = [
    flags.firmware,
    ...[kernelPath, initrd].filter((path) => path !== undefined),
    ...(cmdline === undefined ? [] : [`command line «${cmdline}»`]),
    `${vcpus} processors${vmm === 'qemu' ? ` of model ${cpu ?? ''}` : ''} loaded by ${vmm}`,
    `SEV_FEATURES 0x${guestFeatures.toString(16)}`,
  ];
  return {
    values: [referenceValue('snp.measurements', digest, from)],
    unpredicted: kernel
      ? []
      : [
          {
            what: 'the image',
            why: 'without a kernel of the host the digest covers the firmware alone, and no disk',
          },
        ],
  };
}
