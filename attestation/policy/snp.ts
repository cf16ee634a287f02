import * as z from 'zod';
import { hex, orAny, protection, references, svn, unique, weakness } from './shapes.ts';

const byte = z.int().min(0).max(255);

/**
 * Chips of one product are of several kinds with microcode of their own (Genoa, Genoa-X, Bergamo), so a minimum
 * may be for one CPUID model and stepping. Every minimum that is for the chip counts. Reports of version 2 state
 * no CPUID: to them every minimum of their product applies.
 */
const silicon = { cpuid: orAny(z.strictObject({ model: byte, stepping: z.int().min(0).max(15) })) };
const components = { bootloader: svn, tee: svn, snp: svn, microcode: svn };
const tcbMinimum = z.discriminatedUnion('product', [
  z.strictObject({ product: z.enum(['milan', 'genoa']), ...silicon, ...components }),
  z.strictObject({ product: z.literal('turin'), ...silicon, fmc: svn, ...components }),
]);
/** A chip that no minimum is for gives «not judged»: nothing is known of its firmware. */
const tcbMinimums = orAny(z.array(tcbMinimum).min(1));

const firmwareMinimums = z
  .array(
    z.strictObject({
      product: z.enum(['milan', 'genoa', 'turin']),
      major: byte,
      minor: byte,
      build: byte,
    }),
  )
  .min(1)
  .refine(
    (minimums) => new Set(minimums.map(({ product }) => product)).size === minimums.length,
    'expected one minimum for each product',
  );

/** Bits of a mitigation vector, 0 being the lowest. */
const mitigationBits = unique(z.int().min(0).max(63)).min(1);

/** How the guest allowed itself to be launched, and the migration agent that it is bound to. */
const launchOptions = {
  /** Policy bit 19: the host may read and write guest memory. */
  debug: weakness,
  /** Policy bit 18: a migration agent may move the guest. */
  migration: weakness,
  /** Report id of the migration agent that the guest is bound to: none, or none and these. */
  migrationAgents: z.union([z.literal('any'), z.literal('none'), references(32).min(1)]),
  /** Policy bits 15 to 0: the oldest firmware ABI that the guest runs on. */
  minimumAbi: orAny(z.strictObject({ major: byte, minor: byte })),
  /** Policy bit 16: hyperthread siblings may run other guests. */
  smt: weakness,
  /** Policy bit 20: the guest runs on one socket only. */
  singleSocket: protection,
  /** Policy bit 21: CXL devices and memory may be present. */
  cxl: weakness,
  /** Policy bit 22: memory is encrypted with AES-256-XTS. */
  memoryAes256Xts: protection,
  /** Policy bit 23 and platform bit 3: the host cannot read the power that the guest draws. */
  rapl: z.enum(['disabled', 'any']),
  /** Policy bit 24 and platform bit 4: the host cannot read guest memory, not even its ciphertext. */
  ciphertextHiding: protection,
  /** Policy bit 25: the host cannot move and swap guest pages. */
  pageSwap: z.enum(['disabled', 'any']),
};

/** How the host's machine is configured: bits 0, 1, 2, 5, 6 and 7 of the platform information. */
const platformInfo = z.strictObject({
  smt: z.enum(['disabled', 'any']),
  tsme: protection,
  ecc: protection,
  /** Firmware found no memory address that stands for two places (CVE-2024-21944). */
  aliasCheckComplete: protection,
  /** The host cannot have its IOMMU write into guest memory (CVE-2023-20585); only Turin states it. */
  iommuWriteSafe: protection,
  /** Trusted I/O. */
  tio: z.enum(['required', 'disabled', 'any']),
});

const firmware = {
  /**
   * Minimums of each TCB. Only the reported one is bound to the signature: the key that signs is derived from it.
   * The committed one cannot be rolled back; the launch one is what the guest was started under.
   */
  minimumTcb: z.strictObject({ reported: tcbMinimums, committed: tcbMinimums, launch: tcbMinimums }),
  /** Oldest committed version of the SEV firmware. */
  minimumFirmware: orAny(firmwareMinimums),
  /** Mitigations that must be in force; reports before version 5 state none. */
  requiredMitigations: z.strictObject({ launch: orAny(mitigationBits), current: orAny(mitigationBits) }),
};

const chip = {
  products: unique(z.enum(['milan', 'genoa', 'turin'])).min(1),
  endorsementKeys: unique(z.enum(['vcek', 'vlek'])).min(1),
  /** Only a VCEK names a chip: a list of chips refuses every VLEK. */
  chipIds: orAny(unique(hex(64)).min(1)),
  /** Only a VLEK names a cloud provider: a list of providers refuses every VCEK. */
  cspIds: orAny(unique(z.string().min(1).max(200)).min(1)),
};

const software = {
  /** Launch measurements (SHA-384). */
  measurements: orAny(references(48)),
  /** What the host was to hand to the guest at launch. */
  hostData: orAny(references(32)),
  /** Who signed the ID block: digests (SHA-384) of id keys, and of author keys that signed them. */
  idBlock: orAny(
    z
      .strictObject({ idKeyDigests: orAny(references(48)), authorKeyDigests: orAny(references(48)) })
      .refine(
        ({ idKeyDigests, authorKeyDigests }) => idKeyDigests !== 'any' || authorKeyDigests !== 'any',
        'expected digests of id keys, of author keys or of both: anyone can sign an ID block',
      ),
  ),
  /** The next three are members of the ID block. */
  familyIds: orAny(references(16)),
  imageIds: orAny(references(16)),
  minimumGuestSvn: orAny(z.int().min(0).max(0xffffffff)),
};

/** What a relying party accepts of an AMD SEV-SNP guest. */
export const snpPolicySchema = z
  .strictObject({
    ...chip,
    ...launchOptions,
    platformInfo,
    /** Privilege levels at which the report may have been requested. */
    vmpls: unique(z.int().min(0).max(3)).min(1),
    ...firmware,
    ...software,
    /** Whether a CRL of the ARK must be supplied. */
    revocation: z.enum(['required', 'when-present']),
  })
  .refine(({ chipIds, cspIds }) => chipIds === 'any' || cspIds === 'any', {
    message: 'no key names both a chip and a provider: list chipIds or cspIds',
    path: ['cspIds'],
  })
  .superRefine((policy, context) => {
    if (policy.idBlock !== 'any') return;
    for (const member of ['familyIds', 'imageIds', 'minimumGuestSvn'] as const) {
      if (policy[member] === 'any') continue;
      const message = 'a host can sign an ID block of its own: name the keys in idBlock, or write any';
      context.addIssue({ code: 'custom', path: [member], message });
    }
  });

export type SnpPolicy = z.infer<typeof snpPolicySchema>;
export type SnpTcbMinimum = z.infer<typeof tcbMinimum>;
