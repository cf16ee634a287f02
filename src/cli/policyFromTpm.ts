import { isZero } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { EncodedTpmQuote } from '../../attestation/evidence/evidence.ts';
import { readGoogleInstance } from '../../attestation/evidence/tpm/google.ts';
import { DEFAULT_VTPM } from '../../attestation/policy/defaults.ts';
import type { TpmPcrReferences, TpmPolicy } from '../../attestation/policy/tpm.ts';
import { parseCertificate, type Certificate } from '../../attestation/x509/certificate.ts';
import { spkiSha256 } from '../../attestation/x509/chain.ts';
import { distinct, notNamed, references, unfit, type Narrowing, type Seen } from './policyFromSeen.ts';

/**
 * Registers that hold what was started (TCG PC Client Platform Firmware Profile section 3.3.4, and the registry of the
 * UAPI group): 0 firmware, 4 boot loader, 7 Secure Boot, 8 and 9 commands and files of the boot loader, 11 and 12
 * unified kernel image and its command line, 13 system extensions, 14 keys of the shim. Left out are those that differ
 * between two starts of one image: 1 and 5 describe machine and disk, 10 and 15 what runs.
 */
export const IMAGE_PCRS: readonly number[] = [0, 4, 7, 8, 9, 11, 12, 13, 14];

/** Registers that the image is measured into, whichever boot loader there is. */
const STARTED_PCRS: readonly number[] = [4, 8, 9, 11];

/** What a quote says was started; of Google's TPMs the project as well: any customer has a genuine one. */
export function tpmPolicy(seen: readonly Seen<EncodedTpmQuote>[], { thisMachineOnly }: Narrowing): TpmPolicy {
  return {
    ...DEFAULT_VTPM,
    attestationKeys: thisMachineOnly ? distinct(seen, keyOf) : 'any',
    googleProjects: googleProjects(seen),
    pcrs: { bank: bankOf(seen), values: registers(seen) },
  };
}

function keyOf({ certificates }: EncodedTpmQuote): string {
  const leaf = leafOf(certificates);
  if (leaf) return spkiSha256(leaf, nodeCrypto);
  throw notNamed('no certificate names the key of the TPM', 'Name the key as an anchor of role tpm instead.');
}

function leafOf([leaf]: readonly Uint8Array[]): Certificate | undefined {
  return leaf && parseCertificate(leaf);
}

function googleProjects(seen: readonly Seen<EncodedTpmQuote>[]): TpmPolicy['googleProjects'] {
  const projects = distinct(seen, ({ certificates }) => {
    const leaf = leafOf(certificates);
    return leaf && readGoogleInstance(leaf)?.projectNumber;
  });
  const named = projects.filter((project) => project !== undefined);
  return named.length > 0 && named.length === projects.length ? named : 'any';
}

function bankOf(seen: readonly Seen<EncodedTpmQuote>[]): TpmPcrReferences['bank'] {
  const [bank, other] = distinct(seen, ({ pcrs }) => pcrs.hash);
  if (bank === undefined || bank === 'sha1') throw unfit('the registers are of a bank of SHA-1');
  if (other === undefined) return bank;
  throw unfit(`a policy has one bank of registers, and these are of ${bank} and ${other}`);
}

function registers(seen: readonly Seen<EncodedTpmQuote>[]): TpmPcrReferences['values'] {
  const quoted = IMAGE_PCRS.filter((index) => seen.every(({ value }) => value.pcrs.values.has(index)));
  if (quoted.length === 0) throw unfit(`the quote holds none of PCR ${IMAGE_PCRS.join(', ')}`);
  return Object.fromEntries(
    quoted.map((index) => [
      String(index),
      references(seen, ({ pcrs }) => pcrs.values.get(index) ?? new Uint8Array()),
    ]),
  );
}

/** Whether nothing was measured into the registers of the image, as where a TPM has no firmware that measures. */
export function isUnmeasured(values: ReadonlyMap<number, Uint8Array>): boolean {
  return STARTED_PCRS.every((index) => isZero(values.get(index) ?? new Uint8Array()));
}
