import { isZero, toHex } from '../../bytes/bytes.ts';
import type { Check } from '../../checks.ts';
import { conclude, judgeDebugBit, kept, violated, type Finding } from '../../policy/finding.ts';
import type { SnpPolicy } from '../../policy/snp.ts';
import type { SnpReport } from './parse.ts';
import type { VerifiedSnp } from './verify.ts';

/** Whether the host may debug the guest: it could then read all of its memory. */
export function checkDebug({ report }: VerifiedSnp, policy: SnpPolicy): Check {
  const bit = `bit 19 of guest policy 0x${report.policy.raw.toString(16)}`;
  return judgeDebugBit(bit, report.policy.debug, policy.debug);
}

/** One option of the launch or of the platform, and whether the report breaks what the policy says of it. */
interface OptionRule {
  readonly violation: string;
  readonly broken: (report: SnpReport, policy: SnpPolicy) => boolean;
}

/** The guest policy binds the firmware, whatever the host does later. */
const GUEST_POLICY_RULES: readonly OptionRule[] = [
  {
    violation: 'allows a migration agent (bit 18)',
    broken: (report, { migration }) => migration === 'refused' && report.policy.migrationAgent,
  },
  {
    violation: 'allows simultaneous multithreading (bit 16)',
    broken: (report, { smt }) => smt === 'refused' && report.policy.smt,
  },
  {
    violation: 'allows more than one socket (bit 20)',
    broken: (report, { singleSocket }) => singleSocket === 'required' && !report.policy.singleSocket,
  },
  {
    violation: 'allows CXL (bit 21)',
    broken: (report, { cxl }) => cxl === 'refused' && report.policy.cxl,
  },
  {
    violation: 'does not demand AES-256-XTS (bit 22)',
    broken: (report, { memoryAes256Xts }) => memoryAes256Xts === 'required' && !report.policy.memoryAes256Xts,
  },
  {
    violation: 'allows RAPL (bit 23)',
    broken: (report, { rapl }) => rapl === 'disabled' && !report.policy.raplDisabled,
  },
  {
    violation: 'does not demand ciphertext hiding (bit 24)',
    broken: (report, { ciphertextHiding }) =>
      ciphertextHiding === 'required' && !report.policy.ciphertextHidingDram,
  },
  {
    violation: 'allows pages to be moved and swapped (bit 25)',
    broken: (report, { pageSwap }) => pageSwap === 'disabled' && !report.policy.pageSwapDisabled,
  },
];

/** Platform information is what firmware found when the report was made. */
const PLATFORM_RULES: readonly OptionRule[] = [
  {
    violation: 'multithreading on (bit 0)',
    broken: (report, { platformInfo }) => platformInfo.smt === 'disabled' && report.platformInfo.smtEnabled,
  },
  {
    violation: 'transparent memory encryption off (bit 1)',
    broken: (report, { platformInfo }) =>
      platformInfo.tsme === 'required' && !report.platformInfo.tsmeEnabled,
  },
  {
    violation: 'memory without error correction (bit 2)',
    broken: (report, { platformInfo }) => platformInfo.ecc === 'required' && !report.platformInfo.eccEnabled,
  },
  {
    violation: 'RAPL on (bit 3)',
    broken: (report, { rapl }) => rapl === 'disabled' && !report.platformInfo.raplDisabled,
  },
  {
    violation: 'ciphertext hiding off (bit 4)',
    broken: (report, { ciphertextHiding }) =>
      ciphertextHiding === 'required' && !report.platformInfo.ciphertextHidingDramEnabled,
  },
  {
    violation: 'no completed check for aliased memory (bit 5)',
    broken: (report, { platformInfo }) =>
      platformInfo.aliasCheckComplete === 'required' && !report.platformInfo.aliasCheckComplete,
  },
  {
    violation: 'an IOMMU that may write unchecked (bit 6)',
    broken: (report, { platformInfo }) =>
      platformInfo.iommuWriteSafe === 'required' && !report.platformInfo.iommuWriteSafe,
  },
  {
    violation: 'trusted I/O off (bit 7)',
    broken: (report, { platformInfo }) => platformInfo.tio === 'required' && !report.platformInfo.tioEnabled,
  },
  {
    violation: 'trusted I/O on (bit 7)',
    broken: (report, { platformInfo }) => platformInfo.tio === 'disabled' && report.platformInfo.tioEnabled,
  },
];

/** The options that the guest was launched with and the configuration of the platform below it. */
export function checkGuestPolicy({ report }: VerifiedSnp, policy: SnpPolicy): Check {
  const { raw, migrationAgent, smt } = report.policy;
  const guest = `guest policy 0x${raw.toString(16)}`;
  const platform = `platform information 0x${report.platformInfo.raw.toString(16)}`;
  const findings = [
    ...judgeOptions(`${guest} `, GUEST_POLICY_RULES, report, policy),
    ...judgeOptions(`${platform} states `, PLATFORM_RULES, report, policy),
    ...judgeAbi(report, policy),
    ...judgeMigrationAgent(report, policy),
  ];
  const allowed = (bit: boolean) => (bit ? 'allowed' : 'not allowed');
  const seen = `${guest}: migration ${allowed(migrationAgent)}, multithreading ${allowed(smt)}; ${platform}`;
  return conclude('cpu.guest-policy', 'cpu', [kept(seen), ...findings], true);
}

function judgeOptions(
  prefix: string,
  rules: readonly OptionRule[],
  report: SnpReport,
  policy: SnpPolicy,
): readonly Finding[] {
  const broken = rules.filter((rule) => rule.broken(report, policy)).map(({ violation }) => violation);
  return broken.length === 0 ? [] : [violated('GUEST_POLICY_VIOLATED', prefix + broken.join(' and '))];
}

/** The guest does not run on firmware with an older ABI than its policy names. */
function judgeAbi(
  { policy: { abiMajor, abiMinor } }: SnpReport,
  { minimumAbi }: SnpPolicy,
): readonly Finding[] {
  if (minimumAbi === 'any') return [];
  const { major, minor } = minimumAbi;
  const seen = `the guest demands firmware ABI ${abiMajor}.${abiMinor}, minimum ${major}.${minor}`;
  const old = abiMajor < major || (abiMajor === major && abiMinor < minor);
  return [old ? violated('GUEST_POLICY_VIOLATED', seen) : kept(seen)];
}

/** A migration agent gets the guest's memory keys: it is as trusted as the guest. */
function judgeMigrationAgent({ reportIdMa }: SnpReport, { migrationAgents }: SnpPolicy): readonly Finding[] {
  if (migrationAgents === 'any') return [];
  if (isNoAgent(reportIdMa)) return [kept('bound to no migration agent')];
  const agent = toHex(reportIdMa);
  const known = migrationAgents === 'none' ? [] : migrationAgents;
  const named = known.find(({ value }) => value === agent);
  return [
    named
      ? kept(`bound to migration agent ${agent}, which is ${named.name}`)
      : violated(
          'GUEST_POLICY_VIOLATED',
          `bound to migration agent ${agent}, which the policy does not name`,
        ),
  ];
}

/** Firmware writes all ones without an agent. Report ids are random: neither ones nor zeros is that of an agent. */
function isNoAgent(reportId: Uint8Array): boolean {
  return isZero(reportId) || reportId.every((byte) => byte === 0xff);
}
