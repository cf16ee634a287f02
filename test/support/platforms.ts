import { concat, fromBase64Url, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { HashName } from '../../attestation/crypto/provider.ts';
import type {
  AzureSnpEvidence,
  AzureTdxEvidence,
  EncodedTpmQuote,
  NitroEvidence,
  Platform,
  SnpEvidence,
  TdxEvidence,
  TpmEvidence,
} from '../../attestation/evidence/evidence.ts';
import type { AzurePolicy } from '../../attestation/policy/azure.ts';
import type { CpuPolicy } from '../../attestation/policy/cpu.ts';
import type { NitroTpmPolicy } from '../../attestation/policy/nitro.ts';
import type { SnpPolicy } from '../../attestation/policy/snp.ts';
import type { TdxPolicy } from '../../attestation/policy/tdx.ts';
import type { TpmPolicy } from '../../attestation/policy/tpm.ts';
import { BOOT, ccelLog, expectedRegisters, tcg2Log, TD_BOOT } from '../attestation/evidence/bootlog/mint.ts';
import * as dcap from './dcapAuthority.ts';
import { LAX_TDX } from './dcapPolicies.ts';
import { NO_PLATFORM, type MintedPlatform } from './evidenceDocument.ts';
import { claimsOf, mintHclReport, reportDataOf, rsaJwk } from './hclReport.ts';
import { sgxExtension } from './intelStatements.ts';
import * as nitro from './nitroAuthority.ts';
import * as snp from './snpAuthority.ts';
import { LAX_SNP_POLICY } from './snpPolicy.ts';
import * as tpm from './tpmAuthority.ts';

// Machines of our own on each platform, under one minted authority for each vendor.

/** Minted once for a test file: RSA keys take long. */
function once<T>(mint: () => Promise<T>): () => Promise<T> {
  let minted: Promise<T> | undefined;
  return () => (minted ??= mint());
}

const amd = once(() => snp.mintAuthority('genoa'));
const intel = once(dcap.mintDcapAuthority);
const aws = once(nitro.mintNitroAuthority);
const vtpmAuthorities = {
  'azure-vtpm': once(() => tpm.mintTpmAuthority('azure-vtpm')),
  'gcp-vtpm': once(() => tpm.mintTpmAuthority('gcp-vtpm')),
  tpm: once(() => tpm.mintTpmAuthority('tpm')),
};

// AMD SEV-SNP.

export interface SnpMachine extends MintedPlatform {
  readonly certificates: readonly Uint8Array[];
  readonly policy: SnpPolicy;
  /** A signed report with these 64 bytes of report data. */
  readonly report: (reportData: Uint8Array, edit?: (report: DataView) => void) => Promise<Uint8Array>;
  readonly collectCpu: (reportData: Uint8Array) => Promise<SnpEvidence>;
}

/** Offsets of a report that tests change. */
export const SNP = { policy: 0x008, vmpl: 0x030, reportData: 0x050 } as const;

export async function mintSnp(): Promise<SnpMachine> {
  const [authority, keys] = await Promise.all([amd(), snp.generateChipKeys()]);
  const certificates = [await authority.issueVek(keys), authority.ask, authority.ark];
  const report: SnpMachine['report'] = (reportData, edit = () => undefined) => {
    const bytes = snp.genoaReport();
    bytes.set(reportData, SNP.reportData);
    edit(new DataView(bytes.buffer));
    return snp.signReport(bytes, keys);
  };
  const policy: SnpPolicy = {
    ...LAX_SNP_POLICY,
    debug: 'refused',
    vmpls: [0],
    measurements: [{ name: 'image', value: 'a5'.repeat(48) }],
    revocation: 'required',
  };
  return {
    certificates,
    policy,
    report,
    collectCpu: async (reportData) => ({ platform: 'snp', report: await report(reportData), certificates }),
    cpu: { ...NO_PLATFORM, snp: policy },
    anchors: [{ ...authority.anchor, simulated: false }],
    collateral: { ...NO_COLLATERAL, crls: [await authority.issueCrl({})] },
    now: NOW,
  };
}

/** In date for what all authorities but AWS's mint. */
const NOW = dcap.NOW;

// Intel TDX.

export interface TdxMachine extends MintedPlatform {
  readonly policy: TdxPolicy;
  readonly quote: (reportData: Uint8Array, edit?: (report: DataView) => void) => Promise<Uint8Array>;
  readonly collectCpu: (reportData: Uint8Array) => Promise<TdxEvidence>;
  readonly bootLog: Uint8Array;
}

const TD_LOG = ccelLog(TD_BOOT, 0);

/** RTMRs as the minted boot leaves them; RTMR 2, which its log does not name, as `tdReport` fills it. */
const RTMRS: ReadonlyMap<number, Uint8Array> = new Map(
  [...expectedRegisters(TD_BOOT, 'sha384', () => new Uint8Array(48))].map(([index, value]) => [
    index - 1,
    value,
  ]),
);
const RTMR_AT = [dcap.TD.rtmr0, dcap.TD.rtmr1, dcap.TD.rtmr2, dcap.TD.rtmr3] as const;

export async function mintTdx(ppid?: Uint8Array): Promise<TdxMachine> {
  const authority = await intel();
  const machine = await authority.mintMachine(ppid && sgxExtension({ ppid }));
  const quote: TdxMachine['quote'] = (reportData, edit = () => undefined) => {
    const body = dcap.tdReport('td15', (report) => {
      const bytes = new Uint8Array(report.buffer);
      for (const [index, value] of RTMRS) bytes.set(value, RTMR_AT[index]);
      bytes.set(reportData, dcap.TD.reportData);
      edit(report);
    });
    return dcap.issueQuote(machine, { kind: 'td15', body });
  };
  const policy: TdxPolicy = {
    ...LAX_TDX,
    mrTd: [{ name: 'firmware', value: 'd0'.repeat(48) }],
    rtmr1: [{ name: 'kernel', value: toHex(RTMRS.get(1)!) }],
  };
  return {
    policy,
    quote,
    collectCpu: async (reportData) => ({ platform: 'tdx', report: await quote(reportData) }),
    cpu: { ...NO_PLATFORM, tdx: policy },
    anchors: [{ ...authority.anchor, simulated: false }],
    collateral: await authority.issueCollateral('tdx'),
    now: NOW,
    bootLog: TD_LOG,
  };
}

// TPMs.

const PCR_LOG = tcg2Log(BOOT, ['sha1', 'sha256', 'sha384']);
const PCRS = Array.from({ length: 24 }, (_, index) => index);
const isDynamic = (index: number) => index >= 17 && index <= 22;

/** Registers 0 to 23 as the minted boot leaves them. */
export function pcrsOf(hash: HashName): Map<number, Uint8Array> {
  const size = nodeCrypto.hash(hash, new Uint8Array()).length;
  const start = (index: number) => new Uint8Array(size).fill(isDynamic(index) ? 0xff : 0);
  const extended = expectedRegisters(BOOT, hash, start);
  return new Map(PCRS.map((index) => [index, extended.get(index) ?? start(index)]));
}

export interface QuoteChanges {
  readonly certificates?: readonly Uint8Array[];
  readonly hash?: HashName;
  readonly pcrs?: readonly number[];
  readonly values?: ReadonlyMap<number, Uint8Array>;
}

/** A quote over all registers of a bank, made for SHA-256 of the 64 bytes. */
export async function quotePcrs(
  keys: tpm.Keys,
  reportData: Uint8Array,
  { certificates = [], hash = 'sha256', pcrs = PCRS, values = pcrsOf(hash) }: QuoteChanges = {},
): Promise<EncodedTpmQuote> {
  const selection = [{ hash, pcrs }];
  const bank = { hash, values };
  const message = tpm.encodeAttest({
    extraData: nodeCrypto.hash('sha256', reportData),
    selection,
    pcrDigest: tpm.pcrDigest(selection, [bank], 'sha256'),
  });
  return { message, signature: await tpm.signTpmt(message, keys), pcrs: bank, certificates };
}

const TPM_POLICY: TpmPolicy = {
  attestationKeys: 'any',
  googleProjects: 'any',
  minimumFirmware: 'any',
  clock: 'safe',
  pcrs: {
    bank: 'sha256',
    values: { '4': [{ name: 'boot loader', value: toHex(pcrsOf('sha256').get(4)!) }] },
  },
  revocation: 'when-present',
};

export interface TpmMachine extends MintedPlatform {
  readonly keys: tpm.Keys;
  readonly authority: tpm.TpmAuthority;
  readonly certificates: readonly Uint8Array[];
  readonly policy: TpmPolicy;
  readonly collectCpu: (reportData: Uint8Array) => Promise<TpmEvidence>;
  readonly bootLog: Uint8Array;
}

export async function mintTpm(platform: 'gcp-vtpm' | 'tpm'): Promise<TpmMachine> {
  const [authority, keys] = await Promise.all([vtpmAuthorities[platform](), tpm.generateRsa()]);
  const instance = tpm.raw(tpm.GOOGLE_INSTANCE, tpm.googleInstance());
  const google = [tpm.LEAF, tpm.usage('digitalSignature'), instance];
  const leaf = await authority.issueLeaf(keys, platform === 'gcp-vtpm' ? { extensions: google } : {});
  const certificates = [leaf, authority.ca, authority.root];
  return {
    keys,
    authority,
    certificates,
    policy: TPM_POLICY,
    collectCpu: async (reportData) => ({
      platform,
      tpm: await quotePcrs(keys, reportData, { certificates }),
    }),
    cpu: { ...NO_PLATFORM, [platform]: TPM_POLICY },
    anchors: [{ ...authority.anchor, simulated: false }],
    collateral: NO_COLLATERAL,
    now: NOW,
    bootLog: PCR_LOG,
  };
}

// Azure.

const CLAIMS_POLICY: AzurePolicy = {
  secureBoot: 'required',
  console: 'refused',
  interactiveConsole: 'refused',
  filteredVpciDevices: 'refused',
  rootCertThumbprints: 'any',
  vmUniqueIds: 'any',
  userData: 'required',
  unknownClaims: 'refused',
};

/** Report data of the hardware and the HCL report around it. */
interface Claimed {
  readonly text: string;
  readonly reportData: Uint8Array;
}

/** Claims that name the key, with `user-data`; changes go over them. */
async function claim({
  keys,
  userData,
  claims = {},
}: { readonly keys: tpm.Keys; readonly userData: Uint8Array } & AzureChanges): Promise<Claimed> {
  const modulus = fromBase64Url((await tpm.jwkOf(keys)).n!);
  const named = { keys: [rsaJwk('HCLAkPub', modulus)], 'user-data': toHex(userData) };
  const text = JSON.stringify(claimsOf({ ...named, ...claims }));
  return { text, reportData: reportDataOf(utf8(text)) };
}

export interface AzureChanges {
  readonly claims?: Readonly<Record<string, unknown>>;
  /** The CPU report, before it is signed. */
  readonly edit?: (report: DataView) => void;
}

/** An Azure VM; `Evidence` is that of its platform. */
export interface AzureMachine<Evidence extends AzureSnpEvidence | AzureTdxEvidence> extends MintedPlatform {
  /** Key of the virtual TPM. */
  readonly keys: tpm.Keys;
  /** Authority for certificates of the virtual TPM's key, which the evidence does not carry by itself. */
  readonly authority: tpm.TpmAuthority;
  readonly collect: (reportData: Uint8Array, changes?: AzureChanges) => Promise<Evidence>;
  readonly collectCpu: (reportData: Uint8Array) => Promise<Evidence>;
  readonly bootLog: Uint8Array;
}

/** What a VM on Azure has of the machine below its paravisor, and of the authority of its virtual TPM. */
function belowParavisor(
  { anchors, collateral, now }: MintedPlatform,
  authority: tpm.TpmAuthority,
  platform: Partial<CpuPolicy>,
) {
  return {
    authority,
    cpu: { ...NO_PLATFORM, ...platform },
    anchors: [...anchors, { ...authority.anchor, simulated: false }],
    collateral,
    now,
    bootLog: PCR_LOG,
  };
}

export async function mintAzureSnp(): Promise<AzureMachine<AzureSnpEvidence>> {
  const [machine, authority, keys] = await Promise.all([
    mintSnp(),
    vtpmAuthorities['azure-vtpm'](),
    tpm.generateRsa(),
  ]);
  const { certificates } = machine;
  const collect = async (userData: Uint8Array, changes: AzureChanges = {}) => {
    const { text, reportData } = await claim({ keys, userData, ...changes });
    const hardwareReport = await machine.report(reportData, changes.edit);
    const report = mintHclReport({ claims: text, hardwareReport, padding: new Uint8Array() });
    const quote = await quotePcrs(keys, userData);
    return { platform: 'azure-snp', report, certificates, tpm: quote } as const;
  };
  const policy = { claims: CLAIMS_POLICY, snp: machine.policy, tpm: TPM_POLICY };
  return {
    ...belowParavisor(machine, authority, { 'azure-snp': policy }),
    keys,
    collect,
    collectCpu: collect,
  };
}

export async function mintAzureTdx(ppid?: Uint8Array): Promise<AzureMachine<AzureTdxEvidence>> {
  const [machine, authority, keys] = await Promise.all([
    mintTdx(ppid),
    vtpmAuthorities['azure-vtpm'](),
    tpm.generateRsa(),
  ]);
  const collect = async (userData: Uint8Array, changes: AzureChanges = {}) => {
    const { text, reportData } = await claim({ keys, userData, ...changes });
    const report = mintHclReport({ platform: 'tdx', claims: text, padding: new Uint8Array() });
    const quote = await machine.quote(reportData, changes.edit);
    return { platform: 'azure-tdx', report, quote, tpm: await quotePcrs(keys, userData) } as const;
  };
  const policy = { claims: CLAIMS_POLICY, tdx: machine.policy, tpm: TPM_POLICY };
  return {
    ...belowParavisor(machine, authority, { 'azure-tdx': policy }),
    keys,
    collect,
    collectCpu: collect,
  };
}

// AWS.

const NITRO_COMMON = { moduleIds: 'any', maximumAgeSeconds: 300 } as const;
const TPM_MODULE = 'i-0123456789abcdef0-tpm0000000000000000';

export interface NitroMachine extends MintedPlatform {
  /** A document with members changed. */
  readonly mint: (changes: Readonly<Record<string, unknown>>) => Promise<NitroEvidence>;
  readonly collectCpu: (reportData: Uint8Array) => Promise<NitroEvidence>;
}

export async function mintNitro(): Promise<NitroMachine> {
  const authority = await aws();
  const image = toHex(nitro.registers(1).get(0)!);
  const measurements = [{ name: 'image', pcrs: { '0': image } }];
  return {
    ...nitroMachine('nitro', (changes) => authority.mint(changes)),
    cpu: { ...NO_PLATFORM, nitro: { ...NITRO_COMMON, debug: 'refused', measurements } },
    anchors: [{ ...authority.anchor, simulated: false }],
  };
}

export async function mintNitroTpm(): Promise<NitroMachine & { readonly bootLog: Uint8Array }> {
  const authority = await aws();
  const own = { pcrs: undefined, nitrotpm_pcrs: pcrsOf('sha384'), module_id: TPM_MODULE };
  const kernel = toHex(pcrsOf('sha384').get(4)!);
  const policy: NitroTpmPolicy = {
    ...NITRO_COMMON,
    measurements: [{ name: 'image', pcrs: { '4': kernel } }],
  };
  return {
    ...nitroMachine('nitrotpm', (changes) => authority.mint({ ...own, ...changes })),
    cpu: { ...NO_PLATFORM, nitrotpm: policy },
    anchors: [{ ...authority.anchor, simulated: false }],
    bootLog: PCR_LOG,
  };
}

function nitroMachine(
  platform: NitroEvidence['platform'],
  issue: (changes: Readonly<Record<string, unknown>>) => Promise<Uint8Array>,
) {
  const mint = async (changes: Readonly<Record<string, unknown>>) => ({
    platform,
    report: await issue(changes),
  });
  const collectCpu = (reportData: Uint8Array) => mint({ user_data: reportData });
  return { mint, collectCpu, collateral: NO_COLLATERAL, now: nitro.NOW };
}

const MINTS: Readonly<Record<Platform, () => Promise<MintedPlatform>>> = {
  snp: mintSnp,
  tdx: mintTdx,
  nitro: mintNitro,
  'azure-snp': mintAzureSnp,
  'azure-tdx': mintAzureTdx,
  'gcp-vtpm': () => mintTpm('gcp-vtpm'),
  nitrotpm: mintNitroTpm,
  tpm: () => mintTpm('tpm'),
};

const machines = new Map<Platform, Promise<MintedPlatform>>();

/** The one machine of a test file on a platform. */
export function machineOn(platform: Platform): Promise<MintedPlatform> {
  const machine = machines.get(platform) ?? MINTS[platform]();
  machines.set(platform, machine);
  return machine;
}

/** A log of a boot with another boot loader. */
export function otherBootLog(bootLog: Uint8Array): Uint8Array {
  const events = bootLog === TD_LOG ? TD_BOOT : BOOT;
  const changed = events.map((event) =>
    event.measured ? { ...event, measured: concat(event.measured, utf8('!')) } : event,
  );
  return bootLog === TD_LOG ? ccelLog(changed, 0) : tcg2Log(changed, ['sha1', 'sha256', 'sha384']);
}
