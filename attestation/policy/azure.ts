import * as z from 'zod';
import { orAny, protection, unique, weakness } from './shapes.ts';

/**
 * What a relying party accepts of the runtime claims of an Azure confidential VM, beside what it accepts of the CPU
 * report and of the virtual TPM. Claims say what the paravisor was told and enforces.
 */
export const azurePolicySchema = z.strictObject({
  secureBoot: protection,
  /** The host reads the serial console. */
  console: weakness,
  /** The host types at the serial console. Where the claims do not say, an enabled console counts as interactive. */
  interactiveConsole: weakness,
  /** Certain virtual PCI devices of the host reach the guest. Where the claims do not say, they count as allowed. */
  filteredVpciDevices: weakness,
  /** Base64url of SHA-256 of the provisioning certificate. */
  rootCertThumbprints: orAny(unique(z.string().regex(/^[A-Za-z0-9_-]{43}$/)).min(1)),
  /** GUIDs in lower case. */
  vmUniqueIds: orAny(unique(z.string().regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)).min(1)),
  /**
   * The claim `user-data` must be the binding. Without it only the quote of the virtual TPM is fresh: the hardware
   * report may be as old as the boot.
   */
  userData: protection,
  /** Claims that this verifier cannot judge: newer paravisors state more. */
  unknownClaims: weakness,
});

export type AzurePolicy = z.infer<typeof azurePolicySchema>;
