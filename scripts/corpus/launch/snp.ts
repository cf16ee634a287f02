import { z } from 'zod';
import { fromBase64, toBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { parseSnpReport } from '../../../attestation/evidence/snp/parse.ts';
import { toSevSection } from '../../../enclave/predict/firmware/sevMetadata.ts';
import { cpuSignature, signatureOfModel } from '../../../enclave/predict/snp/cpuModels.ts';
import { encodeIdBlock } from '../../../enclave/predict/snp/idBlock.ts';
import {
  hashCmdline,
  hashKernelParts,
  type KernelHashes,
} from '../../../enclave/predict/snp/kernelHashes.ts';
import {
  LaunchDigest,
  measureFirmware,
  snpLaunchDigest,
  type SnpFirmware,
} from '../../../enclave/predict/snp/launchDigest.ts';
import { sevLaunchDigest } from '../../../enclave/predict/snp/sevDigest.ts';
import type { LaunchCase } from './case.ts';
import {
  type Computed,
  type Comparison,
  count,
  hexBytes,
  neededPart,
  NotComputable,
  partOf,
} from './inputs.ts';

const launchSchema = z.object({
  mode: z.enum(['snp', 'sev', 'sev-es']),
  vmm: z.enum(['qemu', 'ec2', 'gce']),
  vcpus: z.int(),
  cpuType: z.string().nullable(),
  cpuSignature: count.nullable(),
  guestFeatures: z.string().transform(BigInt),
  cmdline: z.string().nullable(),
});

/** Launch digests of SEV guests. */
export function computeSevLaunch(launch: LaunchCase, crypto: CryptoProvider): Computed {
  const {
    mode,
    vmm,
    vcpus,
    cpuType,
    cpuSignature: stated,
    guestFeatures,
  } = launchSchema.parse(launch.inputs);
  const signature = cpuType === null ? 0 : signatureOfModel(cpuType);
  const kernel = kernelOf(launch, crypto);
  const digest =
    mode === 'snp'
      ? snpLaunchDigest(
          {
            vmm,
            vcpus,
            guestFeatures,
            cpuSignature: signature,
            firmware: firmwareOf(launch, crypto),
            kernel,
          },
          crypto,
        )
      : sevLaunchDigest(
          {
            firmware: neededPart(launch, 'firmware'),
            kernel,
            es: mode === 'sev-es' ? { vcpus, cpuSignature: signature } : undefined,
          },
          crypto,
        );
  return {
    comparisons: [
      ...(stated === null ? [] : [{ what: 'cpuSignature', expected: stated, got: signature }]),
      { what: 'launchDigest', expected: launch.expected['launchDigest'], got: toHex(digest) },
      ...againstReport(launch, digest),
    ],
    left: [],
  };
}

function kernelOf(launch: LaunchCase, crypto: CryptoProvider): KernelHashes | undefined {
  const { kernelSha256, initrdSha256, cmdline } = z
    .object({
      kernelSha256: hexBytes.optional(),
      initrdSha256: hexBytes.optional(),
      cmdline: z.string().nullable(),
    })
    .parse(launch.inputs);
  if (kernelSha256 && initrdSha256) {
    return { kernel: kernelSha256, initrd: initrdSha256, cmdline: hashCmdline(cmdline ?? '', crypto) };
  }
  const kernel = partOf(launch, 'kernel');
  const parts = kernel && { kernel, initrd: partOf(launch, 'initrd'), cmdline: cmdline ?? undefined };
  return parts && hashKernelParts(parts, crypto);
}

const tablesSchema = z.object({
  firmwareDigestSeed: hexBytes.optional(),
  sections: z.array(z.object({ gpa: count, size: count, type: z.int() })).optional(),
  hashTableGpa: count.optional(),
  apResetEip: count.optional(),
});

/** From the file, or from what was published in its place. */
function firmwareOf(launch: LaunchCase, crypto: CryptoProvider): SnpFirmware {
  const { firmwareDigestSeed: seed, sections, hashTableGpa, apResetEip } = tablesSchema.parse(launch.inputs);
  const file = partOf(launch, 'firmware');
  const measured = file && measureFirmware(file, crypto);
  if (measured) return seed ? { ...measured, digest: seed } : measured;
  if (!seed || !sections) throw new NotComputable('the case has neither firmware nor what it says');
  return {
    digest: seed,
    sections: sections.map(({ gpa, size, type }) => toSevSection(gpa, size, type)),
    hashTableAddress: hashTableGpa,
    resetAddress: apResetEip,
  };
}

function againstReport({ files, expected }: LaunchCase, digest: Uint8Array): readonly Comparison[] {
  const report = files.get('report.bin');
  if (!report) return [];
  const got = toHex(parseSnpReport(report).measurement) === toHex(digest);
  return [{ what: 'reportMeasurementMatches', expected: expected['reportMeasurementMatches'], got }];
}

const LGTM = '"LGTM" four times in the first and in the last 16 bytes of 12288 zero bytes';

/** Pages of which the case describes the content in words. */
export function computePages({ inputs, expected }: LaunchCase, crypto: CryptoProvider): Computed {
  const { start, contents } = z
    .object({ start: count, pageType: z.literal(1), contents: z.string() })
    .parse(inputs);
  if (contents !== LGTM) throw new NotComputable(`the content of the pages is unknown: ${contents}`);
  const pages = new Uint8Array(12_288);
  pages.set(utf8('LGTM'.repeat(4)), 0);
  pages.set(utf8('LGTM'.repeat(4)), pages.length - 16);
  const digest = new LaunchDigest(crypto);
  digest.addPages('normal', start, pages);
  return {
    comparisons: [{ what: 'launchDigest', expected: expected['launchDigest'], got: toHex(digest.value) }],
    left: [],
  };
}

const idBlockSchema = z.object({
  launchDigestBase64: z.string().transform(fromBase64),
  familyId: hexBytes,
  imageId: hexBytes,
  guestSvn: z.int(),
  policy: z.string().transform(BigInt),
});

export function computeIdBlock({ inputs, expected }: LaunchCase): Computed {
  const { launchDigestBase64, ...rest } = idBlockSchema.parse(inputs);
  const got = toBase64(encodeIdBlock({ launchDigest: launchDigestBase64, ...rest }));
  return { comparisons: [{ what: 'idBlock', expected: expected['idBlockBase64'], got }], left: [] };
}

const signaturesSchema = z.object({
  signatures: z.record(z.string(), count),
  fromFamilyModelStepping: z.array(
    z.object({ family: z.int(), model: z.int(), stepping: z.int(), signature: count }),
  ),
});

export function computeCpuSignatures({ inputs, expected }: LaunchCase): Computed {
  const { models } = z.object({ models: z.array(z.string()) }).parse(inputs);
  const { signatures, fromFamilyModelStepping } = signaturesSchema.parse(expected);
  const ofModels = models.map((name) => ({
    what: name,
    expected: signatures[name],
    got: signatureOfModel(name),
  }));
  const ofNumbers = fromFamilyModelStepping.map(({ family, model, stepping, signature }) => ({
    what: `family ${family}, model ${model}, stepping ${stepping}`,
    expected: signature,
    got: cpuSignature(family, model, stepping),
  }));
  return { comparisons: [...ofModels, ...ofNumbers], left: [] };
}
