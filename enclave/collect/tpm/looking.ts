import { CollectError } from '../errors.ts';
import type { Finding } from '../finding.ts';
import { TpmAccess } from './access.ts';
import { readManufacturer } from './capability.ts';
import type { TpmSession } from './session.ts';
import type { TpmAddress } from './transport.ts';

/** Looking must not take long: a TPM that is busy for this time counts as unusable. */
const LOOK_TIMEOUT_MS = 10_000;

/** What a look at the TPM came to, beside what its vendor is. */
export interface Seen {
  readonly state: Finding['state'];
  readonly detail: string;
  readonly fix?: string;
}

const FIXES: Readonly<Partial<Record<CollectError['code'], string>>> = {
  DEVICE_MISSING:
    'Give the machine a TPM 2.0 (a virtual one on most clouds), and load the kernel modules tpm_crb or tpm_tis.',
  PERMISSION_DENIED:
    'Run the service as root, or add its user to the group that owns the device, often `tss`.',
};

/** Looks through a TPM without changing anything in it; never throws. */
export async function lookAtTpm(
  way: string,
  address: TpmAddress,
  look: (session: TpmSession) => Promise<Seen>,
): Promise<Finding> {
  const access = new TpmAccess({ address, timeoutMs: LOOK_TIMEOUT_MS });
  try {
    return await access.use(async (session) => {
      const manufacturer = await readManufacturer(session);
      const { state, detail, fix } = await look(session);
      const seen = `${access.name}, a TPM of ${manufacturer}: ${detail}`;
      return { way, state, detail: seen, ...(fix !== undefined && { fix }) };
    });
  } catch (error) {
    return { way, ...failure(error) };
  } finally {
    access.close();
  }
}

function failure(error: unknown): Seen {
  if (!(error instanceof CollectError)) {
    const detail = error instanceof Error ? error.message : String(error);
    return { state: 'unusable', detail, fix: 'Report this with the text above.' };
  }
  const { code, message, advice } = error;
  const state = code === 'DEVICE_MISSING' ? 'absent' : 'unusable';
  return { state, detail: message, fix: FIXES[code] ?? advice };
}
