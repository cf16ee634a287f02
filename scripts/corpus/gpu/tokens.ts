import { fail, type Check } from '../../../attestation/checks.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { appraiseNrasAnswer } from '../../../attestation/evidence/nras/answer.ts';
import type { SentDevice } from '../../../attestation/evidence/nras/sentDevice.ts';
import { readDevices } from './evidence.ts';
import { fileOf, instantOf, nonceOf, type Demands, type Material } from './material.ts';
import { CORPUS_NRAS } from './policy.ts';
import { ROLES } from './roles.ts';

/** Judges the answer of the attestation service about the devices of the case. */
export async function judgeTokens(
  material: Material,
  demands: Demands,
  crypto: CryptoProvider,
): Promise<readonly Check[]> {
  const answer = fileOf(material, ...ROLES.TOKENS);
  if (!answer) return [fail('token.format', 'answer', 'EVIDENCE_INCOMPLETE', 'there is no answer')];
  const { checks } = await appraiseNrasAnswer(answer, {
    nonce: nonceOf(material),
    devices: demands.kind === 'devices' ? await sentDevices(material) : [],
    jwks: fileOf(material, 'nras-jwks'),
    now: instantOf(material.times.verifyAt, 'verifyAt'),
    policy: CORPUS_NRAS,
    crypto,
  });
  return demands.keySet ? checks : checks.filter((check) => !isWithoutKeySet(check));
}

/** Devices that cannot be read are refused by their own checks. */
async function sentDevices(material: Material): Promise<readonly SentDevice[]> {
  try {
    return await readDevices(material);
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}

/** Where the corpus has no key set of the day, a token follows its format or it is refused; more cannot be said. */
function isWithoutKeySet({ id, code }: Check): boolean {
  return id === 'token.signature' && code === 'COLLATERAL_MISSING';
}
