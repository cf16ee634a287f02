import { join } from 'node:path';
import { z } from 'zod';
import { aciSection } from './aci.ts';
import { archiveSection } from './archive.ts';
import { keyReleaseSection } from './keyRelease.ts';
import { collateralSection } from './collateral.ts';
import { hardwareSection } from './hardware.ts';
import { keysSection } from './keys.ts';
import { objectStoreSection } from './objectStore.ts';
import { timestampsSection, witnessesSection } from './outsiders.ts';
import { PACKAGE_ROOT } from './package.ts';
import { scittSection } from './scitt.ts';
import { selfCheckSection } from './selfCheck.ts';
import { tlsSection } from './tls.ts';

/** Covered by the digest that receipts state: the setting decides outputs, or what is vouched for and how. */
const MEASURED = { measured: true } as const;

/** Sections and settings; what each means is in `description`. */
export const SECTIONS = {
  server: z.strictObject({
    host: z
      .string()
      .min(1)
      .max(255)
      .default('127.0.0.1')
      .meta({ description: 'Address to listen on. Beyond loopback the API needs keys.' }),
    port: z.int().min(0).max(65_535).default(8080).meta({ description: 'Port; 0 takes a free one.' }),
    name: z
      .string()
      .regex(/^[A-Za-z0-9.-]{1,190}$/)
      .default('localhost')
      .meta({ description: 'Host name in the origin of the log.' }),
    processes: z.int().min(1).max(64).default(1).meta({
      description: 'Processes that serve HTTP. With several, one more signs and runs no requests of its own.',
    }),
  }),
  tls: tlsSection,
  grpc: z.strictObject({
    host: z
      .string()
      .min(1)
      .max(255)
      .default('127.0.0.1')
      .meta({ description: 'Address of the gRPC door. Beyond loopback all APIs need keys.' }),
    port: z
      .int()
      .min(0)
      .max(65_535)
      .optional()
      .meta({ description: 'Port of the gRPC door; 0 takes a free one. Without it there is none.' }),
  }),
  models: z.strictObject({
    directory: z
      .string()
      .min(1)
      .default(join(PACKAGE_ROOT, 'models'))
      .meta({ description: 'Folder of the models.' }),
    quotaBytes: z
      .int()
      .min(1)
      .optional()
      .meta({ description: 'Most bytes of all releases together; not set: no quota.' }),
    signing: z
      .array(z.string().min(1).max(65_536))
      .max(64)
      .default([])
      .meta({
        description:
          'PEM texts of public keys and authorities. Where there is one, only releases that it signed are loaded.',
        ...MEASURED,
      }),
  }),
  engine: z.strictObject({
    provider: z
      .enum(['auto', 'cpu', 'cuda'])
      .default('auto')
      .meta({ description: 'Where models run. auto: CUDA where it loads, else the CPU.', ...MEASURED }),
    threads: z
      .int()
      .min(0)
      .max(1024)
      .default(0)
      .meta({
        description: 'Threads of one operator; 0: all cores but one, which the service needs.',
        ...MEASURED,
      }),
    device: z
      .int()
      .min(0)
      .max(63)
      .default(0)
      .meta({ description: 'Number of the CUDA device.', ...MEASURED }),
    deviceMemoryBytes: z
      .int()
      .min(0x100_0000)
      .optional()
      .meta({ description: 'Most memory of the device that each model takes; not set: no limit.' }),
    sequences: z
      .int()
      .min(1)
      .max(1024)
      .default(16)
      .meta({ description: 'Generations of one model that advance side by side; more wait.', ...MEASURED }),
    cacheBytes: z
      .int()
      .min(0x10_0000)
      .default(0x4000_0000)
      .meta({ description: 'Most bytes of the caches of one model; generations wait for room.' }),
    prefixBytes: z
      .int()
      .min(0)
      .default(0x400_0000)
      .meta({ description: 'Most bytes that prompts of one model leave behind for equal ones; 0: none.' }),
    batchRows: z
      .int()
      .min(1)
      .max(4096)
      .default(1)
      .meta({
        description: 'Rows of one run that tensor requests may share; 1: each request runs by itself.',
        ...MEASURED,
      }),
    batchDelayMs: z
      .int()
      .min(0)
      .max(1000)
      .default(0)
      .meta({ description: 'How long a tensor request waits for others to share its run.' }),
  }),
  data: z.strictObject({
    directory: z
      .string()
      .min(1)
      .default('data')
      .meta({ description: 'Folder of the logs of all instances.' }),
    logStorage: z
      .enum(['disk', 'object-store'])
      .default('disk')
      .meta({ description: 'Where the logs are: in that folder, or below the prefix of the object store.' }),
  }),
  objectStore: objectStoreSection,
  archive: archiveSection,
  keys: keysSection,
  keyRelease: keyReleaseSection,
  limits: z.strictObject({
    bodyBytes: z
      .int()
      .min(1024)
      .max(32 * 1024 * 1024)
      .default(8 * 1024 * 1024)
      .meta({ description: 'Largest body of a request.', ...MEASURED }),
    headerBytes: z
      .int()
      .min(4096)
      .max(48 * 1024)
      .default(16 * 1024)
      .meta({ description: 'Largest head of a request.' }),
    concurrency: z
      .int()
      .min(1)
      .max(4096)
      .default(64)
      .meta({ description: 'Requests that are worked on at once.' }),
    queue: z
      .int()
      .min(0)
      .max(65_536)
      .default(256)
      .meta({ description: 'Requests that wait; more get a 429.' }),
    requestTimeoutMs: z
      .int()
      .min(100)
      .max(3_600_000)
      .default(60_000)
      .meta({ description: 'Longest time until the answer.', ...MEASURED }),
    shutdownTimeoutMs: z
      .int()
      .min(0)
      .max(600_000)
      .default(10_000)
      .meta({ description: 'How long a stop waits for requests in flight.' }),
  }),
  receipts: z.strictObject({
    enabled: z
      .boolean()
      .default(true)
      .meta({
        description: 'false only for benchmarks: answers are then vouched for by nothing.',
        ...MEASURED,
      }),
    algorithm: z
      .enum(['ES256', 'Ed25519'])
      .default('ES256')
      .meta({ description: 'Signature of receipts.', ...MEASURED }),
    epochSeconds: z
      .int()
      .min(1)
      .max(604_800)
      .default(60)
      .meta({ description: 'An epoch ends after this time while a receipt is uncovered.', ...MEASURED }),
    epochReceipts: z
      .int()
      .min(1)
      .max(1_000_000_000)
      .default(10_000)
      .meta({ description: 'An epoch ends with this many uncovered receipts.', ...MEASURED }),
    maxEvidenceAgeSeconds: z
      .int()
      .min(1)
      .max(604_800)
      .default(3600)
      .meta({
        description: 'No receipts under older evidence; from half of that it is renewed.',
        ...MEASURED,
      }),
    keysetDays: z
      .int()
      .min(1)
      .max(3650)
      .default(30)
      .meta({
        description: 'Life of a generation of keys. The next one follows when four fifths of it are over.',
        ...MEASURED,
      }),
  }),
  selfCheck: selfCheckSection,
  collateral: collateralSection,
  scitt: scittSection,
  aci: aciSection,
  witnesses: witnessesSection,
  timestamps: timestampsSection,
  log: z.strictObject({
    level: z
      .enum(['error', 'warn', 'info', 'debug'])
      .default('info')
      .meta({ description: 'Least level that is written; debug has a line for every request.' }),
    format: z.enum(['json', 'pretty']).default('json').meta({ description: 'Form of a line.' }),
  }),
  hardware: hardwareSection,
} as const;

export const CONFIG_SCHEMA = z.strictObject(SECTIONS);

export type Config = z.infer<typeof CONFIG_SCHEMA>;

/** What the schema says of one setting. */
export interface Setting {
  readonly section: keyof typeof SECTIONS;
  readonly name: string;
  readonly schema: z.ZodType;
  readonly description: string;
  readonly measured: boolean;
  /** Never printed. */
  readonly secret: boolean;
  /** Variable of the environment that overrides it. */
  readonly variable: string;
}

/** All settings, in the order in which they are printed. */
export const SETTINGS: readonly Setting[] = Object.entries(SECTIONS).flatMap(([section, schema]) =>
  Object.entries(schema.shape as Record<string, z.ZodType>).map(([name, setting]) =>
    toSetting(section as Setting['section'], name, setting),
  ),
);

function toSetting(section: Setting['section'], name: string, schema: z.ZodType): Setting {
  const meta = schema.meta() ?? {};
  return {
    section,
    name,
    schema,
    description: meta.description ?? '',
    measured: meta['measured'] === true,
    secret: meta['secret'] === true,
    variable: `VOUCHSAFE_${section}_${name.replaceAll(/[A-Z]/g, '_$&')}`.toUpperCase(),
  };
}

/** Whether requests need an API key. With keys but on loopback they do: a proxy may stand before it. */
export function keysRequired(config: Config): boolean {
  const { required, apiKeys } = config.keys;
  if (required !== 'auto') return required === 'always';
  return apiKeys.length > 0 || exposedHost(config) !== undefined;
}

/** An address beyond loopback on which requests are answered; undefined where there is none. */
export function exposedHost({ server, grpc }: Config): string | undefined {
  const hosts = grpc.port === undefined ? [server.host] : [server.host, grpc.host];
  return hosts.find((host) => !isLoopback(host));
}

/** True for addresses that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
