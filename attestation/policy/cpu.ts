import * as z from 'zod';
import { azurePolicySchema } from './azure.ts';
import { nitroPolicySchema, nitroTpmPolicySchema } from './nitro.ts';
import { snpPolicySchema } from './snp.ts';
import { tdxPolicySchema } from './tdx.ts';
import { tpmPolicySchema } from './tpm.ts';

const azureSnp = z.strictObject({
  claims: azurePolicySchema,
  snp: snpPolicySchema,
  /** The registers hold the image; the launch measurement is that of the paravisor. */
  tpm: tpmPolicySchema,
});
const azureTdx = z.strictObject({ claims: azurePolicySchema, tdx: tdxPolicySchema, tpm: tpmPolicySchema });

const refusedOr = <T extends z.ZodType>(policy: T) => z.union([z.literal('refused'), policy]);

/** What each platform must meet. The last three rest on a TPM of the host, which protects no memory from it. */
export const cpuPolicySchema = z.strictObject({
  snp: refusedOr(snpPolicySchema),
  tdx: refusedOr(tdxPolicySchema),
  nitro: refusedOr(nitroPolicySchema),
  'azure-snp': refusedOr(azureSnp),
  'azure-tdx': refusedOr(azureTdx),
  'gcp-vtpm': refusedOr(tpmPolicySchema),
  nitrotpm: refusedOr(nitroTpmPolicySchema),
  tpm: refusedOr(tpmPolicySchema),
  /** Whether a log of measured boot must be there. One that is there must always lead to the signed registers. */
  bootLog: z.enum(['required', 'when-present']),
});

export type CpuPolicy = z.infer<typeof cpuPolicySchema>;
export type AzureSnpPolicy = z.infer<typeof azureSnp>;
export type AzureTdxPolicy = z.infer<typeof azureTdx>;
