import { type Command, Option } from 'commander';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { type Prediction, referenceValue } from '../../enclave/predict/referenceValues.ts';
import { type PageOrder, predictMrtd } from '../../enclave/predict/tdx/mrtd.ts';
import { predictRtmr1, predictRtmr2 } from '../../enclave/predict/tdx/rtmrs.ts';
import { newCommand } from './command.ts';
import type { MeasureFlags, Printing } from './measure.ts';
import { type BootFlags, bootOrigin, readBoot, withBootOptions } from './measureBoot.ts';
import { readPart } from './measureParts.ts';

interface TdxFlags extends MeasureFlags, BootFlags {
  readonly firmware: string;
  readonly pageOrder: PageOrder;
  readonly separators: '0' | '1';
}

export function measureTdxCommand(printing: Printing): Command {
  return withBootOptions(newCommand('tdx', 'MRTD, RTMR1 and RTMR2 of a TD'))
    .requiredOption('--firmware <file>', 'firmware as the host loads it')
    .addOption(
      new Option('--page-order <order>', 'how the host adds pages: one-pass is QEMU 9.0 and later')
        .choices(['one-pass', 'two-pass'])
        .default('one-pass'),
    )
    .addOption(
      new Option('--separators <number>', 'separators that the firmware logs in RTMR1: 0 on Google Cloud')
        .choices(['0', '1'])
        .default('1'),
    )
    .action(printing(predict));
}

async function predict(flags: TdxFlags): Promise<Prediction> {
  const { firmware, pageOrder, separators } = flags;
  const mrTd = predictMrtd(await readPart(firmware), pageOrder, nodeCrypto);
  const boot = await readBoot(flags, 'sha384');
  const origin = bootOrigin(flags);
  const disk = flags.disk === undefined ? [] : [flags.disk];
  return {
    values: [
      referenceValue('tdx.mrTd', mrTd, [firmware, `pages in ${pageOrder}`]),
      referenceValue('tdx.rtmr1', predictRtmr1(boot, separators === '1' ? 1 : 0, nodeCrypto), [
        ...origin,
        ...disk,
        `${separators} separators`,
      ]),
      referenceValue('tdx.rtmr2', predictRtmr2(boot, nodeCrypto), origin),
    ],
    unpredicted: [
      {
        what: 'RTMR0',
        why: 'it holds the memory map, ACPI tables and boot options of the host: take it from a boot of this platform',
      },
      { what: 'RTMR3', why: 'the running system extends it' },
    ],
  };
}
