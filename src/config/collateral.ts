import { z } from 'zod';
import { baseAddress } from '../collateral/address.ts';
import { hasNoSecret } from './outsiders.ts';

const mirror = z
  .string()
  .max(2048)
  .refine(hasNoSecret, 'names a user or a password: addresses are printed and logged')
  .refine(isBase, 'is no http address without query and fragment')
  .optional();

function isBase(text: string): boolean {
  try {
    return baseAddress(text) !== '';
  } catch {
    return false;
  }
}

/** Who is asked what vendors say about the evidence of this machine, and where that is kept. */
export const collateralSection = z.strictObject({
  enabled: z.boolean().default(true).meta({
    description:
      'Whether vendors are asked for collateral: certificates, revocation lists, TCB info, manifests, statuses.',
  }),
  directory: z.string().min(1).max(4096).optional().meta({
    description: 'Folder in which collateral is kept; not set: collateral below the data folder.',
  }),
  kds: mirror.meta({ description: 'Mirror that is asked instead of AMD’s key distribution service.' }),
  pccs: mirror.meta({ description: 'Caching service that is asked instead of Intel.' }),
  rimService: mirror.meta({ description: 'Mirror that is asked instead of NVIDIA’s RIM service.' }),
  ocspResponder: mirror.meta({ description: 'Responder that is asked instead of NVIDIA’s.' }),
  ocsp: z
    .boolean()
    .default(true)
    .meta({ description: 'Whether responders are asked for the status of certificates.' }),
  insecureHttp: z
    .boolean()
    .default(false)
    .meta({ description: 'Whether mirrors beyond this machine may be asked with plain HTTP.' }),
});
