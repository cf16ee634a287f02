import type { AzurePolicy } from './azure.ts';
import type { CpuPolicy } from './cpu.ts';
import type { Policy } from './policy.ts';
import type { SnpPolicy } from './snp.ts';
import type { TdxPolicy } from './tdx.ts';
import type { TpmPolicy } from './tpm.ts';
import { SIMULATED_MEASUREMENT } from '../evidence/simulatedAnchors.ts';

/**
 * What cloud hardware of today meets. Demanded is what every genuine report since 2025 has and what protects the
 * guest; the README of the SNP room gives the reason for each member.
 */
export const DEFAULT_SNP: SnpPolicy = {
  products: ['milan', 'genoa', 'turin'],
  endorsementKeys: ['vcek', 'vlek'],
  chipIds: 'any',
  cspIds: 'any',
  debug: 'refused',
  migration: 'refused',
  migrationAgents: 'none',
  minimumAbi: 'any',
  smt: 'accepted',
  singleSocket: 'any',
  cxl: 'refused',
  memoryAes256Xts: 'any',
  rapl: 'any',
  ciphertextHiding: 'any',
  pageSwap: 'any',
  platformInfo: {
    smt: 'any',
    tsme: 'any',
    ecc: 'any',
    aliasCheckComplete: 'required',
    iommuWriteSafe: 'any',
    tio: 'any',
  },
  vmpls: [0],
  minimumTcb: { reported: 'any', committed: 'any', launch: 'any' },
  minimumFirmware: 'any',
  requiredMitigations: { launch: 'any', current: 'any' },
  measurements: [],
  hostData: 'any',
  idBlock: 'any',
  familyIds: 'any',
  imageIds: 'any',
  minimumGuestSvn: 'any',
  revocation: 'required',
};

/** Every TD of today's clouds; the state of the firmware is Intel's to say, and only its best is taken. */
export const DEFAULT_TDX: TdxPolicy = {
  debug: 'refused',
  attributes: {
    hgsPlusProfiling: 'refused',
    perfProfiling: 'refused',
    pmtProfiling: 'refused',
    icssd: 'any',
    servtdExt: 'any',
    lass: 'any',
    septVeDisable: 'required',
    migratable: 'refused',
    pks: 'any',
    keyLocker: 'refused',
    tpa: 'refused',
    perfmon: 'refused',
  },
  xfam: 'any',
  mrSeam: 'any',
  mrSignerSeam: 'zero',
  seamAttributes: 'zero',
  mrServiceTd: 'zero-when-present',
  tcb: {
    statuses: ['UpToDate'],
    advisories: 'any',
    maximumDaysBehind: 'any',
    minimumEvaluationDataNumber: 'any',
  },
  platform: { ppids: 'any', fmspcs: 'any' },
  mrTd: [],
  rtmr0: 'any',
  rtmr1: [],
  rtmr2: [],
  rtmr3: 'any',
  mrConfigId: 'any',
  mrOwner: 'any',
  mrOwnerConfig: 'any',
};

/** The virtual TPM of a confidential VM: registers 4 and 11 hold boot loader and unified kernel image. */
export const DEFAULT_VTPM: TpmPolicy = {
  attestationKeys: 'any',
  googleProjects: 'any',
  minimumFirmware: 'any',
  clock: 'any',
  pcrs: { bank: 'sha256', values: { '4': [], '11': [] } },
  revocation: 'when-present',
};

/**
 * Azure's paravisor. The host reads the serial console of every VM there; it must not type at it. Most paravisors do
 * not state their device filter, and GPUs pass through it.
 */
export const DEFAULT_AZURE_CLAIMS: AzurePolicy = {
  secureBoot: 'required',
  console: 'accepted',
  interactiveConsole: 'refused',
  filteredVpciDevices: 'accepted',
  rootCertThumbprints: 'any',
  vmUniqueIds: 'any',
  userData: 'required',
  unknownClaims: 'refused',
};

/** Platforms on which GPUs stand; an enclave has none, and a TPM of the host protects no memory. */
const DEFAULT_CPU: CpuPolicy = {
  snp: DEFAULT_SNP,
  tdx: DEFAULT_TDX,
  nitro: 'refused',
  'azure-snp': {
    claims: DEFAULT_AZURE_CLAIMS,
    snp: DEFAULT_SNP,
    tpm: DEFAULT_VTPM,
  },
  'azure-tdx': { claims: DEFAULT_AZURE_CLAIMS, tdx: DEFAULT_TDX, tpm: DEFAULT_VTPM },
  'gcp-vtpm': 'refused',
  nitrotpm: 'refused',
  tpm: 'refused',
  bootLog: 'when-present',
};

/** Real hardware, nothing in debug, everything covered. It names no measurement: a relying party adds its own. */
export const DEFAULT_POLICY: Policy = {
  version: 'vouchsafe/policy/1',
  description:
    'Published default: an AMD SEV-SNP or Intel TDX guest, on Azure below its paravisor, with one to eight NVIDIA GPUs. Add the measurements that you expect.',
  simulated: [],
  nonce: 'required',
  cpu: DEFAULT_CPU,
  devices: {
    gpus: { minimum: 1, maximum: 8 },
    switches: { minimum: 0, maximum: 4 },
    nvidia: {
      architectures: ['hopper', 'blackwell', 'ls10'],
      chips: 'any',
      modes: ['spt', 'mpt', 'ppcie'],
      minimumOpaqueVersion: 0,
      topology: 'when-ppcie',
      minimumDriver: 'any',
      minimumVbios: 'any',
      serials: 'any',
      firmwareId: 'when-present',
      pinnedMeasurements: [],
      revocation: 'not-checked',
    },
  },
  models: 'any',
  channels: ['tls', 'hpke', 'plain'],
  outcomes: ['complete'],
  coverage: 'required',
  witnesses: 'none',
  timestamps: { authorities: [], required: false },
  operator: 'any',
};

/** What `--allow-simulated` means: the default, but for exactly our simulated CPU and GPU. For development only. */
export const SIMULATED_POLICY: Policy = {
  ...DEFAULT_POLICY,
  description: 'Accepts simulated hardware, which protects nothing. For development only.',
  simulated: ['cpu', 'gpu'],
  cpu: {
    ...DEFAULT_CPU,
    tdx: 'refused',
    'azure-snp': 'refused',
    'azure-tdx': 'refused',
    snp: {
      ...DEFAULT_SNP,
      products: ['genoa'],
      endorsementKeys: ['vcek'],
      measurements: [{ name: 'simulated launch', value: SIMULATED_MEASUREMENT }],
    },
  },
  coverage: 'warning',
};
