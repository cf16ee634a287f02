import * as z from 'zod';
import { hex, orAny, unique, weakness } from './shapes.ts';

/** A module, `i-0123456789abcdef0-enc0123456789abcdef0`, or an instance and with it each of its modules. */
const moduleIds = orAny(unique(z.string().regex(/^i-[0-9a-f]{8,32}(?:-(?:enc|tpm)[0-9a-f]{8,32})?$/)).min(1));

/** Oldest document that is accepted at the judged time. Its certificate lives three hours, so none is older. */
const maximumAgeSeconds = orAny(z.int().min(0).max(10_800));

/**
 * Registers (SHA-384, by index) that belong together under one name: all of them must match. Registers of two sets
 * never make one. An empty list gives «not judged», naming the registers that were seen.
 */
const registerSets = <T extends z.core.$ZodRecordKey>(index: T) =>
  orAny(
    z.array(
      z.strictObject({
        name: z.string().min(1).max(200),
        pcrs: z
          .partialRecord(index, hex(48))
          .refine((pcrs) => Object.keys(pcrs).length > 0, 'expected at least one register'),
      }),
    ),
  );

/** What a relying party accepts of a Nitro enclave. */
export const nitroPolicySchema = z.strictObject({
  moduleIds,
  maximumAgeSeconds,
  /** PCR0 to PCR2 are zero: whoever runs the parent instance reads the enclave's console. */
  debug: weakness,
  /**
   * PCR0 is the whole image, PCR1 its kernel and boot ramdisk, PCR2 the rest of it; PCR3 the role of the parent
   * instance, PCR4 its id; PCR8 the certificate that signed the image.
   */
  measurements: registerSets(z.enum(['0', '1', '2', '3', '4', '8'])),
});

/** What a relying party accepts of an instance with NitroTPM. */
export const nitroTpmPolicySchema = z.strictObject({
  moduleIds,
  maximumAgeSeconds,
  /** AWS names PCR4 (boot manager), PCR7 (Secure Boot) and PCR12 (kernel command line) for attestable images. */
  measurements: registerSets(z.string().regex(/^(?:[0-9]|[12][0-9]|3[01])$/)),
});

export type NitroPolicy = z.infer<typeof nitroPolicySchema>;
export type NitroTpmPolicy = z.infer<typeof nitroTpmPolicySchema>;
