import { z } from 'zod';
import { fromHex, toHex } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { parseDstackLog } from '../../../attestation/evidence/bootlog/dstack.ts';
import type { BootLog } from '../../../attestation/evidence/bootlog/log.ts';
import { replay } from '../../../attestation/evidence/bootlog/replay.ts';
import { parseTdxQuote } from '../../../attestation/evidence/tdx/parse.ts';
import { patchKernel } from '../../../enclave/predict/boot/linuxHeader.ts';
import { authenticodeDigest } from '../../../enclave/predict/boot/portableExecutable.ts';
import { EVENTS, registerOf } from '../../../enclave/predict/boot/register.ts';
import { predictMrtd } from '../../../enclave/predict/tdx/mrtd.ts';
import { predictRtmr0 } from '../../../enclave/predict/tdx/rtmrs.ts';
import { encodeTdHob } from '../../../enclave/predict/tdx/tdHob.ts';
import type { LaunchCase } from './case.ts';
import {
  type Comparison,
  type Computed,
  count,
  hexBytes,
  neededPart,
  NotComputable,
  PACKAGED_FIRMWARE,
  partOf,
} from './inputs.ts';

export function computeMrtd(launch: LaunchCase, crypto: CryptoProvider): Computed {
  const firmware = partOf(launch, 'firmware') ?? launch.files.get(PACKAGED_FIRMWARE);
  if (!firmware) throw new NotComputable('the firmware is in a package that is not installed here');
  const { mrtdTwoPass, mrtdSinglePass } = launch.expected;
  return {
    comparisons: [
      { what: 'two-pass', expected: mrtdTwoPass, got: toHex(predictMrtd(firmware, 'two-pass', crypto)) },
      { what: 'one-pass', expected: mrtdSinglePass, got: toHex(predictMrtd(firmware, 'one-pass', crypto)) },
    ],
    left: [],
  };
}

const hobSchema = z.object({
  memoryBytes: count,
  tdHobAddress: count,
  acceptedRanges: z.array(z.tuple([count, count])),
});

export function computeTdHob(launch: LaunchCase, crypto: CryptoProvider): Computed {
  const { tdHobSha384, tdHobHex } = launch.expected;
  const hob = hobOf(launch);
  return {
    comparisons: [
      { what: 'TD HOB, SHA-384', expected: tdHobSha384, got: toHex(crypto.hash('sha384', hob)) },
      ...(tdHobHex === undefined ? [] : [{ what: 'TD HOB', expected: tdHobHex, got: toHex(hob) }]),
    ],
    left: [],
  };
}

function hobOf({ inputs }: LaunchCase): Uint8Array {
  const { acceptedRanges, ...rest } = hobSchema.parse(inputs);
  return encodeTdHob({ ...rest, acceptedRanges: acceptedRanges.map(([start, end]) => ({ start, end })) });
}

export function computeKernelPatch(launch: LaunchCase, crypto: CryptoProvider): Computed {
  const { initrdSize, memoryBytes, acpiDataSize } = z
    .object({ initrdSize: count, memoryBytes: count, acpiDataSize: count })
    .parse(launch.inputs);
  const kernel = neededPart(launch, 'kernel');
  const patched = patchKernel(kernel, { initrdBytes: initrdSize, memoryBytes, acpiDataBytes: acpiDataSize });
  const digest = (image: Uint8Array): string => toHex(authenticodeDigest(image, 'sha384', crypto));
  const { patchedAuthenticodeSha384, unpatchedAuthenticodeSha384 } = launch.expected;
  return {
    comparisons: [
      { what: 'as given', expected: unpatchedAuthenticodeSha384, got: digest(kernel) },
      { what: 'as rewritten', expected: patchedAuthenticodeSha384, got: digest(patched) },
    ],
    left: [],
  };
}

const directBootSchema = z.object({
  mrtdCandidates: z.object({ twoPass: z.string() }),
  kernelAuthenticodeSha384: hexBytes,
  cmdlineSha384: hexBytes,
  initrdSha384: hexBytes,
  variableVolumeSha384: hexBytes,
  acpi: z.object({ loader: hexBytes, rsdp: hexBytes, tables: hexBytes }),
  bootOrderHex: hexBytes,
  boot0000EventSha384: hexBytes,
});

/** A TD that ran: its registers from the image, from its log, and from its quote. */
export function computeTdRegisters(launch: LaunchCase, crypto: CryptoProvider): Computed {
  const { report, log } = readQuotedLog(launch);
  const replayed = replay(log, 'sha384', crypto);
  const registers = report.rtmrs.map((value, index) => {
    const [what, expected] = [`RTMR${index}`, launch.expected[`rtmr${index}`]];
    const fromLog = replayed.get(index);
    return [
      { what: `${what} in the quote`, expected, got: toHex(value) },
      { what: `${what} by the log`, expected, got: fromLog && toHex(fromLog) },
    ];
  });
  return {
    comparisons: [
      { what: 'MRTD', expected: launch.expected['mrtd'], got: toHex(report.mrTd) },
      ...computeTdHob(launch, crypto).comparisons,
      ...registers.flat(),
      ...fromImage(launch, crypto),
    ],
    left: ['RTMR3: the running system extends it'],
  };
}

function fromImage(launch: LaunchCase, crypto: CryptoProvider): readonly Comparison[] {
  const parsed = directBootSchema.safeParse(launch.inputs);
  if (!parsed.success) return [];
  const { acpi, ...input } = parsed.data;
  const rtmr0 = predictRtmr0(
    {
      tdHob: { bytes: hobOf(launch) },
      variableVolume: { digest: input.variableVolumeSha384 },
      secureBoot: 'absent',
      acpi: [{ digest: acpi.loader }, { digest: acpi.rsdp }, { digest: acpi.tables }],
      bootOrder: { bytes: input.bootOrderHex },
      bootOptions: [{ digest: input.boot0000EventSha384 }],
    },
    crypto,
  );
  const rtmr1 = registerOf(
    [
      { digest: input.kernelAuthenticodeSha384 },
      EVENTS.callingApplication,
      EVENTS.separator,
      EVENTS.exitBootServices,
      EVENTS.exitedBootServices,
    ],
    'sha384',
    crypto,
  );
  const rtmr2 = registerOf(
    [{ digest: input.cmdlineSha384 }, { digest: input.initrdSha384 }],
    'sha384',
    crypto,
  );
  const { expected } = launch;
  return [
    { what: 'MRTD in two passes', expected: expected['mrtd'], got: input.mrtdCandidates.twoPass },
    { what: 'RTMR0 predicted', expected: expected['rtmr0'], got: toHex(rtmr0) },
    { what: 'RTMR1 predicted', expected: expected['rtmr1'], got: toHex(rtmr1) },
    { what: 'RTMR2 predicted', expected: expected['rtmr2'], got: toHex(rtmr2) },
  ];
}

/** Registers to which the log does not lead. */
export function mismatchedRegisters(launch: LaunchCase, crypto: CryptoProvider): readonly number[] {
  const { report, log } = readQuotedLog(launch);
  const replayed = replay(log, 'sha384', crypto);
  return report.rtmrs.flatMap((value, index) =>
    toHex(replayed.get(index) ?? fromHex('00'.repeat(48))) === toHex(value) ? [] : [index],
  );
}

function readQuotedLog({ files }: LaunchCase): {
  report: ReturnType<typeof parseTdxQuote>['report'];
  log: BootLog;
} {
  const [quote, log] = [files.get('quote.bin'), files.get('event_log.json')];
  if (!quote || !log) throw new NotComputable('the case has no quote with a log');
  return { report: parseTdxQuote(quote).report, log: parseDstackLog(log) };
}
