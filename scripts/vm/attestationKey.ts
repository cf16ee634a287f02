import { TpmAccess } from '../../enclave/collect/tpm/access.ts';
import { readAttestationKey } from '../../enclave/collect/tpm/collector.ts';
import { u16be } from '../../enclave/collect/tpm/command.ts';
import { defineNv, NV, writeNv } from '../../enclave/collect/tpm/nv.ts';
import type { TpmAddress } from '../../enclave/collect/tpm/transport.ts';
import type { Authority } from './authority.ts';

/** Where the TPMs of clouds keep the certificate of an attestation key on P-256. */
export const CERTIFICATE_INDEX = 0x01c10002;
const SHUTDOWN = 0x145;

/**
 * Gives a new TPM the certificate of its attestation key, as whoever makes a machine does. The key is derived from the
 * seed of the TPM, so it is the same in the machine later. The TPM is shut down in order: its clock is then one that did
 * not run back.
 */
export async function certifyTpm(address: TpmAddress, authority: Authority): Promise<void> {
  const certificates = await authority.certify(await readAttestationKey({ address }));
  const attributes = NV.ownerWrite | NV.ownerRead | NV.authRead;
  const area = { index: CERTIFICATE_INDEX, attributes, size: certificates.length };
  await new TpmAccess({ address }).use(async (session) => {
    await defineNv(session, area);
    await writeNv(session, area, certificates);
    await session.run({
      name: 'Shutdown',
      code: SHUTDOWN,
      handles: [],
      authorizations: 0,
      parameters: u16be(0),
      responseHandles: 0,
    });
  });
}
