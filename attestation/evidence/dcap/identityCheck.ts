import { fail, pass, type Check } from '../../checks.ts';
import type { QuotePlatformPolicy } from '../../policy/dcap.ts';
import type { VerifiedQuote } from './verify.ts';

const ID = 'cpu.identity';

/** Whether the machine is one that the policy names, by what Intel certifies of it. */
export function checkIdentity({ pck }: Pick<VerifiedQuote, 'pck'>, policy: QuotePlatformPolicy): Check {
  const { ppids, fmspcs } = policy;
  const seen = `platform ${pck.ppid} of FMSPC ${pck.fmspc}`;
  if (fmspcs !== 'any' && !fmspcs.includes(pck.fmspc)) {
    return fail(ID, 'cpu', 'DEVICE_NOT_ALLOWED', `${seen}: the FMSPC is not among ${fmspcs.length} listed`);
  }
  if (ppids === 'any') return pass(ID, 'cpu', `${seen}; the policy allows any platform`);
  return ppids.includes(pck.ppid)
    ? pass(ID, 'cpu', `${seen} is listed`)
    : fail(ID, 'cpu', 'DEVICE_NOT_ALLOWED', `${seen} is not among ${ppids.length} listed`);
}
