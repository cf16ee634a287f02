import type { Config } from '../../config/schema.ts';
import type { Keyset } from '../../../attestation/keyset.ts';
import { Aci, type AciParts } from './aci.ts';
import type { AciSigner } from './identity.ts';

/** What ACI is put together from, as the composition root has it. */
export interface AciInputs extends Pick<AciParts, 'collectCpu' | 'receipts' | 'simulated' | 'now'> {
  /** Keys of the generation in use. */
  readonly keys: () => { readonly keyset: Keyset; readonly aci: AciSigner };
}

/** As the configuration has it; undefined where ACI is off. */
export function configuredAci(
  { aci: { enabled, ...provenance } }: Pick<Config, 'aci'>,
  { keys, ...inputs }: AciInputs,
): Aci | undefined {
  if (!enabled) return undefined;
  return new Aci({
    ...inputs,
    provenance,
    origin: keys().keyset.origin,
    keys: () => {
      const { keyset, aci: signer } = keys();
      return { keyset, signer };
    },
  });
}
