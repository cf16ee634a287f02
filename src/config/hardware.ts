import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { ConfigError } from './errors.ts';

/** Ways to evidence of the CPU, as operators name them. */
const COLLECTORS = [
  'auto',
  'simulated',
  'configfs-tsm',
  'sev-guest',
  'tdx-guest',
  'nsm',
  'azure',
  'gcp-vtpm',
  'nitrotpm',
  'tpm',
] as const;

export const hardwareSection = z.strictObject({
  collector: z.enum(COLLECTORS).default('auto').meta({
    description:
      'Way to evidence of the CPU. auto: that of the confidential VM; simulated where nothing looks like a TEE or an NVIDIA device. A TPM alone protects no memory and is taken by name only.',
    measured: true,
  }),
  devices: z.enum(['auto', 'none']).default('auto').meta({
    description:
      'auto: evidence of every NVIDIA GPU and switch, and no start where one cannot give it. none: models run on the CPU.',
    measured: true,
  }),
  tpm: z
    .string()
    .regex(/^(?:\/[^\0]{1,4095}|tcp:\/\/[^\s/]{1,255}:\d{1,5})$/)
    .optional()
    .meta({
      description: 'The TPM: a device file, or `tcp://host:port` of an emulator; not set: /dev/tpmrm0.',
    }),
  tpmCertificates: z
    .string()
    .min(1)
    .max(4096)
    .regex(/^(?:nv:0x01[0-9a-f]{6}$|(?!nv:))/, 'expected a file, or an NV index as nv:0x01c10002')
    .optional()
    .meta({
      description:
        'PEM file of certificates for the attestation key of a TPM, its own first; for gcp-vtpm, those above it. `nv:0x01c10002`: that NV index of the TPM holds them in DER, one behind the other.',
    }),
  gpus: z.int().min(0).max(64).default(1).meta({ description: 'Number of simulated GPUs.', measured: true }),
});

const FILES = ['dev/sev-guest', 'dev/tdx_guest', 'dev/nsm', 'sys/kernel/config/tsm', 'proc/driver/nvidia'];
const NVIDIA = /^nvidia/;

/** What on this machine looks like a TEE or an NVIDIA device. Simulated evidence beside it could be taken for real. */
export function signsOfHardware(root = '/'): readonly string[] {
  const found = FILES.map((file) => join(root, file)).filter((path) => existsSync(path));
  return [...found, ...nvidiaDevices(join(root, 'dev'))];
}

function nvidiaDevices(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => NVIDIA.test(name))
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}

interface Sections {
  readonly hardware: z.infer<typeof hardwareSection>;
  readonly engine: { readonly provider: string };
}

/** Throws `ConfigError` where models could run on a GPU of which no evidence would be collected. */
export function checkHardware({ hardware: { collector, devices }, engine: { provider } }: Sections): void {
  if (devices !== 'none' || provider === 'cpu' || collector === 'simulated') return;
  throw new ConfigError(
    'CONFIG_INVALID',
    `hardware.devices is none, and engine.provider is ${provider}: set it to cpu, or devices to auto`,
  );
}
