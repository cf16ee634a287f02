import * as z from 'zod';
import { hex, orAny, references, unique } from './shapes.ts';

const pcrIndex = z.string().regex(/^(?:0|[1-9]|1\d|2[0-3])$/, 'expected a PCR index of 0 to 23');

/** Named values of registers of one bank; a register with an empty list gives «not judged», naming what was seen. */
const pcrReferences = <Bank extends string>(bank: Bank, bytes: number) =>
  z.strictObject({
    bank: z.literal(bank),
    values: z
      .record(pcrIndex, references(bytes))
      .refine((values) => Object.keys(values).length > 0, 'expected at least one PCR'),
  });

/** What a relying party accepts of a TPM and its quote, on whatever platform. */
export const tpmPolicySchema = z.strictObject({
  /** SHA-256 of the SubjectPublicKeyInfo of each attestation key that may sign. */
  attestationKeys: orAny(unique(hex(32)).min(1)),
  /** Numbers of the Google Cloud projects whose instances may answer: any customer's instance has a genuine TPM. */
  googleProjects: orAny(unique(z.string().regex(/^[1-9]\d{0,19}$/)).min(1)),
  /** Oldest firmware version as 16 hex digits, compared as a number; vendors number differently. */
  minimumFirmware: orAny(hex(8)),
  /** Whether the clock must be one that did not run back. */
  clock: z.enum(['safe', 'any']),
  /** Registers that hold the image. SHA-1 banks can be made to collide and are not accepted. */
  pcrs: orAny(
    z.discriminatedUnion('bank', [
      pcrReferences('sha256', 32),
      pcrReferences('sha384', 48),
      pcrReferences('sha512', 64),
    ]),
  ),
  /** `required`: a list for each certificate of the key's chain that says where its issuer publishes one. */
  revocation: z.enum(['required', 'when-present']),
});

export type TpmPolicy = z.infer<typeof tpmPolicySchema>;
export type TpmPcrReferences = Exclude<TpmPolicy['pcrs'], 'any'>;
