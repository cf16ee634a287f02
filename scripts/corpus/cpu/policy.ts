import type { AzurePolicy } from '../../../attestation/policy/azure.ts';
import type { AzureSnpPolicy, AzureTdxPolicy } from '../../../attestation/policy/cpu.ts';
import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import type { NitroPolicy, NitroTpmPolicy } from '../../../attestation/policy/nitro.ts';
import type { Policy } from '../../../attestation/policy/policy.ts';
import type { SgxPolicy } from '../../../attestation/policy/sgx.ts';
import type { SnpPolicy } from '../../../attestation/policy/snp.ts';
import type { TdxPolicy } from '../../../attestation/policy/tdx.ts';
import type { TpmPolicy } from '../../../attestation/policy/tpm.ts';

/*
 * The default policy of the corpus' README: debugging off, Intel's TCB status UpToDate with complete collateral in
 * date, AMD's revocation list where the case has one. Measurements, privilege levels, service TDs, secure boot and the
 * other launch options are not judged.
 */

export const CORPUS_SNP: SnpPolicy = {
  products: ['milan', 'genoa', 'turin'],
  endorsementKeys: ['vcek', 'vlek'],
  chipIds: 'any',
  cspIds: 'any',
  debug: 'refused',
  migration: 'accepted',
  migrationAgents: 'any',
  minimumAbi: 'any',
  smt: 'accepted',
  singleSocket: 'any',
  cxl: 'accepted',
  memoryAes256Xts: 'any',
  rapl: 'any',
  ciphertextHiding: 'any',
  pageSwap: 'any',
  platformInfo: {
    smt: 'any',
    tsme: 'any',
    ecc: 'any',
    aliasCheckComplete: 'any',
    iommuWriteSafe: 'any',
    tio: 'any',
  },
  vmpls: [0, 1, 2, 3],
  minimumTcb: { reported: 'any', committed: 'any', launch: 'any' },
  minimumFirmware: 'any',
  requiredMitigations: { launch: 'any', current: 'any' },
  measurements: 'any',
  hostData: 'any',
  idBlock: 'any',
  familyIds: 'any',
  imageIds: 'any',
  minimumGuestSvn: 'any',
  revocation: 'when-present',
};

const UP_TO_DATE = {
  advisories: 'any',
  maximumDaysBehind: 'any',
  minimumEvaluationDataNumber: 'any',
} as const;

export const CORPUS_TDX: TdxPolicy = {
  debug: 'refused',
  attributes: {
    hgsPlusProfiling: 'accepted',
    perfProfiling: 'accepted',
    pmtProfiling: 'accepted',
    icssd: 'any',
    servtdExt: 'any',
    lass: 'any',
    septVeDisable: 'any',
    migratable: 'accepted',
    pks: 'any',
    keyLocker: 'accepted',
    tpa: 'accepted',
    perfmon: 'accepted',
  },
  xfam: 'any',
  mrSeam: 'any',
  mrSignerSeam: 'any',
  seamAttributes: 'any',
  mrServiceTd: 'any',
  tcb: { statuses: ['UpToDate'], ...UP_TO_DATE },
  platform: { ppids: 'any', fmspcs: 'any' },
  mrTd: 'any',
  rtmr0: 'any',
  rtmr1: 'any',
  rtmr2: 'any',
  rtmr3: 'any',
  mrConfigId: 'any',
  mrOwner: 'any',
  mrOwnerConfig: 'any',
};

export const CORPUS_SGX: SgxPolicy = {
  debug: 'refused',
  attributes: {
    mode64Bit: 'any',
    provisionKey: 'accepted',
    einitTokenKey: 'accepted',
    cet: 'any',
    kss: 'accepted',
    aexNotify: 'any',
  },
  xfrm: 'any',
  miscSelect: 'any',
  tcb: { statuses: ['UpToDate'], ...UP_TO_DATE },
  platform: { ppids: 'any', fmspcs: 'any' },
  mrEnclave: 'any',
  mrSigner: 'any',
  isvProdIds: 'any',
  minimumIsvSvn: 'any',
  configId: 'any',
};

export const CORPUS_NITRO: NitroPolicy = {
  moduleIds: 'any',
  maximumAgeSeconds: 'any',
  debug: 'refused',
  measurements: 'any',
};

export const CORPUS_NITRO_TPM: NitroTpmPolicy = {
  moduleIds: 'any',
  maximumAgeSeconds: 'any',
  measurements: 'any',
};

export const CORPUS_TPM: TpmPolicy = {
  attestationKeys: 'any',
  googleProjects: 'any',
  minimumFirmware: 'any',
  clock: 'any',
  pcrs: 'any',
  revocation: 'when-present',
};

const CLAIMS: AzurePolicy = {
  secureBoot: 'any',
  console: 'accepted',
  interactiveConsole: 'accepted',
  filteredVpciDevices: 'accepted',
  rootCertThumbprints: 'any',
  vmUniqueIds: 'any',
  userData: 'any',
  unknownClaims: 'accepted',
};

export const CORPUS_AZURE_SNP: AzureSnpPolicy = { claims: CLAIMS, snp: CORPUS_SNP, tpm: CORPUS_TPM };
export const CORPUS_AZURE_TDX: AzureTdxPolicy = { claims: CLAIMS, tdx: CORPUS_TDX, tpm: CORPUS_TPM };

/** Parts that are judged by no case stay those of the published default. */
export const CORPUS_POLICY: Policy = {
  ...DEFAULT_POLICY,
  cpu: {
    snp: CORPUS_SNP,
    tdx: CORPUS_TDX,
    nitro: CORPUS_NITRO,
    'azure-snp': CORPUS_AZURE_SNP,
    'azure-tdx': CORPUS_AZURE_TDX,
    'gcp-vtpm': CORPUS_TPM,
    nitrotpm: CORPUS_NITRO_TPM,
    tpm: CORPUS_TPM,
    bootLog: 'when-present',
  },
};
