import * as z from 'zod';
import type { ChipName } from '../evidence/nvidia/certificates.ts';
import { indexText, requiredIndices } from '../evidence/nvidia/indices.ts';
import { hex, orAny, unique, weakness } from './shapes.ts';

const GPU_CHIPS = ['GH100', 'GB100', 'GB20X'] as const satisfies readonly ChipName[];
const CHIPS = [...GPU_CHIPS, 'LS10'] as const satisfies readonly ChipName[];

const driverVersion = z.string().regex(/^\d{1,4}(\.\d{1,4}){1,3}$/, 'expected a version such as 550.90.07');
/** As reports and manifests write it: bytes in upper-case hex. The last one differs between boards. */
const vbiosText = (parts: string) =>
  z
    .string()
    .regex(
      new RegExp(`^[0-9A-F]{2}(\\.[0-9A-F]{2}){${parts}}$`),
      'expected a version such as 96.00.9F.00.04',
    );

const onePerChip = <T extends z.ZodType<readonly { readonly chip: ChipName }[]>>(list: T) =>
  list.refine(
    (minimums) => new Set(minimums.map(({ chip }) => chip)).size === minimums.length,
    'expected one minimum for each chip',
  );
const driverMinimums = onePerChip(
  z.array(z.strictObject({ chip: z.enum(GPU_CHIPS), version: driverVersion })).min(1),
);
const vbiosMinimums = onePerChip(
  z.array(z.strictObject({ chip: z.enum(CHIPS), version: vbiosText('3,4') })).min(1),
);

const pinnedValues = z
  .record(
    z.string().regex(/^(?:0|[1-9]\d?)$/, 'expected an index of 0 to 99'),
    unique(hex(48)).min(1).max(16),
  )
  .refine((values) => Object.keys(values).length > 0, 'expected at least one index');

const pinnedName = z.string().min(1).max(200);
const pinnedMeasurements = z
  .discriminatedUnion('kind', [
    z.strictObject({
      name: pinnedName,
      kind: z.literal('gpu'),
      chip: z.enum(GPU_CHIPS),
      /** `published`: the driver is judged by the manifest of NVIDIA, these values are of the VBIOS alone. */
      driverVersion: z.union([z.literal('published'), driverVersion]),
      vbiosVersion: vbiosText('4'),
      values: pinnedValues,
    }),
    z.strictObject({
      name: pinnedName,
      kind: z.literal('switch'),
      chip: z.literal('LS10'),
      /** BIOS of the switch. */
      vbiosVersion: vbiosText('4'),
      values: pinnedValues,
    }),
  ])
  .superRefine((set, context) => {
    const withDriver = set.kind === 'gpu' && set.driverVersion !== 'published';
    const wanting = requiredIndices(set.chip, withDriver).filter(
      (index) => !Object.hasOwn(set.values, String(index)),
    );
    if (wanting.length === 0) return;
    const message = `expected values for index ${indexText(wanting)}, which the manifests of ${set.chip} judge`;
    context.addIssue({ code: 'custom', path: ['values'], message });
  });

const revocation = z.union([
  /** Nothing is asked of NVIDIA's responders: the verdict shows the skip. */
  z.literal('not-checked'),
  z.strictObject({
    /** OCSP responses for the certificates of each device above its leaf. */
    device: z.enum(['required', 'when-present']),
    /** OCSP responses for the signers of manifests. */
    references: z.enum(['required', 'when-present']),
    /** Certificates on hold: NVIDIA suspends the signers of pre-release drivers. */
    hold: weakness,
    /** How long after its end a response still counts. */
    toleranceSeconds: z.int().min(0).max(604_800),
  }),
]);

/** What a relying party accepts of NVIDIA GPUs and switches. */
export const nvidiaPolicySchema = z.strictObject({
  architectures: unique(z.enum(['hopper', 'blackwell', 'ls10'])).min(1),
  /** Chips of these architectures, as certificates name them; GB20X is one family. */
  chips: orAny(unique(z.enum(CHIPS)).min(1)),
  /** Single GPU passthrough, multi GPU passthrough, protected PCIe. */
  modes: unique(z.enum(['spt', 'mpt', 'ppcie'])).min(1),
  /** Oldest version of the opaque data: 0 does not state the mode, 1 does. */
  minimumOpaqueVersion: z.int().min(0).max(1),
  /** Whether GPUs and switches must name each other as one machine: always, or where a GPU is in protected PCIe. */
  topology: z.enum(['required', 'when-ppcie', 'any']),
  /** Oldest driver version, compared by its dotted numbers: one for all GPUs, or one for each chip. */
  minimumDriver: orAny(z.union([driverVersion, driverMinimums])),
  /** Oldest VBIOS version of each chip, of a switch its BIOS. Four bytes leave out the one of the board. */
  minimumVbios: orAny(vbiosMinimums),
  /** Leaf serials as lower-case hex; the UEID is the same number in decimal. */
  serials: orAny(unique(z.string().regex(/^(?:[0-9a-f]{2}){1,20}$/)).min(1)),
  /** Whether the report of a GPU must state a firmware id: firmware of 2023 does not. */
  firmwareId: z.enum(['required', 'when-present']),
  /** Values that stand in for manifests that NVIDIA has not published, for the devices they fit. */
  pinnedMeasurements: z
    .array(pinnedMeasurements)
    .max(64)
    .refine((sets) => new Set(sets.map(({ name }) => name)).size === sets.length, 'expected distinct names'),
  revocation,
});

export type NvidiaPolicy = z.infer<typeof nvidiaPolicySchema>;
export type PinnedMeasurements = z.infer<typeof pinnedMeasurements>;
export type NvidiaRevocationPolicy = Exclude<z.infer<typeof revocation>, 'not-checked'>;
