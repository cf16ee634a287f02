import { z } from 'zod';
import { fromUtf8, toHex } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider, HashName } from '../../../attestation/crypto/provider.ts';
import { parseBootLog } from '../../../attestation/evidence/bootlog/parse.ts';
import { replay } from '../../../attestation/evidence/bootlog/replay.ts';
import { gptEvent } from '../../../enclave/predict/boot/gpt.ts';
import { type Boot, predictPcrs, UNPREDICTABLE_PCRS } from '../../../enclave/predict/boot/pcrs.ts';
import { authenticodeDigest } from '../../../enclave/predict/boot/portableExecutable.ts';
import type { MeasuredSection } from '../../../enclave/predict/boot/uki.ts';
import { predictRtmr1, predictRtmr2 } from '../../../enclave/predict/tdx/rtmrs.ts';
import type { LaunchCase } from './case.ts';
import { type Comparison, type Computed, hexBytes, neededPart, NotComputable } from './inputs.ts';

const digests = z.object({ sha256: hexBytes, sha384: hexBytes });
type Bank = keyof z.infer<typeof digests>;

/** The boots of the corpus were measured into a TPM. */
const SEPARATORS = 5;
/** Header and 128 entries, which the corpus cuts before the last four: those are unused. */
const GPT_BYTES = 34 * 512;

const inputsSchema = z.object({
  uki: z
    .object({
      authenticode: digests,
      kernelAuthenticode: digests,
      sections: z.record(z.string(), digests.extend({ hex: hexBytes.optional() })),
    })
    .optional(),
  pcr11Sections: z.array(z.string()).optional(),
  directBoot: z
    .object({ kernelAuthenticodeAsMeasured: digests, initrd: digests, cmdline: z.string() })
    .optional(),
});

export function computeAuthenticode(launch: LaunchCase, crypto: CryptoProvider): Computed {
  const image = neededPart(launch, 'image');
  const compare = (hash: Bank): Comparison => ({
    what: hash,
    expected: launch.expected[hash],
    got: toHex(authenticodeDigest(image, hash, crypto)),
  });
  return { comparisons: [compare('sha256'), compare('sha384')], left: [] };
}

/** Registers of a boot in emulation: predicted from the parts of its image, and replayed from its log. */
export function computeMeasuredBoot(launch: LaunchCase, crypto: CryptoProvider): Computed {
  const { expected } = launch;
  const banks = (['sha256', 'sha384'] as const).filter((bank) => pcrsOf(launch, bank) !== undefined);
  if (banks.length === 0) throw new NotComputable('the case expects no registers');
  const comparisons = banks.flatMap((bank) => compareBank(launch, bank, crypto));
  const boot = bootOf(launch, 'sha384');
  const likeRtmr = (what: string, value: () => Uint8Array): readonly Comparison[] =>
    expected[what] === undefined ? [] : [{ what, expected: expected[what], got: toHex(value()) }];
  return {
    comparisons: [
      ...comparisons,
      ...likeRtmr('rtmr1Like', () => predictRtmr1(boot, SEPARATORS, crypto)),
      ...likeRtmr('rtmr2Like', () => predictRtmr2(boot, crypto)),
      ...(expected['gptEventHex'] === undefined
        ? []
        : [
            {
              what: 'GPT event',
              expected: expected['gptEventHex'],
              got: boot.kind === 'uki' && boot.gpt && toHex(boot.gpt),
            },
          ]),
    ],
    left: Object.entries(UNPREDICTABLE_PCRS).map(([pcr, why]) => `PCR ${pcr}: ${why}`),
  };
}

function compareBank(launch: LaunchCase, bank: Bank, crypto: CryptoProvider): readonly Comparison[] {
  const stated = pcrsOf(launch, bank) ?? {};
  const predicted = predictPcrs(bootOf(launch, bank), bank, crypto);
  const log = parseBootLog(launch.files.get('eventlog.bin') ?? new Uint8Array());
  const replayed = log.banks.includes(bank) ? replay(log, bank, crypto) : undefined;
  return Object.entries(stated).flatMap(([pcr, expected]) => {
    const [image, logged] = [predicted.get(Number(pcr)), replayed?.get(Number(pcr))];
    return [
      ...(image ? [{ what: `PCR ${pcr} predicted, ${bank}`, expected, got: toHex(image) }] : []),
      ...(replayed
        ? [{ what: `PCR ${pcr} by the log, ${bank}`, expected, got: logged && toHex(logged) }]
        : []),
    ];
  });
}

function pcrsOf({ expected }: LaunchCase, bank: HashName): Readonly<Record<string, string>> | undefined {
  const name = bank === 'sha256' ? 'pcrsSha256' : 'pcrsSha384';
  return z.record(z.string(), z.string()).optional().parse(expected[name]);
}

function bootOf(launch: LaunchCase, bank: Bank): Boot {
  const { uki, directBoot, pcr11Sections = [] } = inputsSchema.parse(launch.inputs);
  if (directBoot) {
    const { kernelAuthenticodeAsMeasured: kernel, initrd, cmdline } = directBoot;
    return { kind: 'direct', direct: { kernel: kernel[bank], initrd: { digest: initrd[bank] }, cmdline } };
  }
  if (!uki) throw new NotComputable('the case has neither an image nor a kernel');
  const named = pcr11Sections.map((name) => {
    const section = uki.sections[name];
    if (!section) throw new Error(`the case has no digest of ${name}`);
    return [name as MeasuredSection, { digest: section[bank] }] as const;
  });
  const disk = launch.files.get('gpt_start.bin');
  return {
    kind: 'uki',
    uki: {
      image: uki.authenticode[bank],
      kernel: uki.kernelAuthenticode[bank],
      sections: new Map(named),
      cmdline: fromUtf8(uki.sections['.cmdline']?.hex ?? new Uint8Array()),
    },
    gpt: disk && gptEvent(padded(disk, GPT_BYTES)),
  };
}

function padded(bytes: Uint8Array, length: number): Uint8Array {
  const whole = new Uint8Array(Math.max(bytes.length, length));
  whole.set(bytes);
  return whole;
}
