import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../attestation/errors.ts';

/** TPM_ALG_RSA and TPM_ALG_ECC, with which a TPMT_PUBLIC begins. */
const KEY_TYPES: readonly number[] = [0x0001, 0x0023];

/**
 * The TPMT_PUBLIC of a template in NV memory. Google writes it bare; tools that copy it put the size of a TPM2B_PUBLIC
 * in front, which is taken off. The TPM judges the rest: it makes a key of it, or says why not.
 */
export function readTemplate(bytes: Uint8Array): Uint8Array {
  const reader = new ByteReader(bytes, 'template');
  const first = reader.u16be();
  if (first === reader.remaining) return checked(reader.take(first));
  return checked(bytes);
}

function checked(template: Uint8Array): Uint8Array {
  const type = new ByteReader(template, 'template').u16be();
  if (KEY_TYPES.includes(type)) return template;
  throw new Refusal('MALFORMED', `the template is of type ${type}, neither RSA nor ECC`);
}
