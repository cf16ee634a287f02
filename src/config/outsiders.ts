import { z } from 'zod';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { KEY_TYPE, parseVkey } from '../../attestation/log/vkey.ts';

/** Each adds its lines to every anchor. */
const MAX_OUTSIDERS = 16;

const address = z
  .string()
  .max(2048)
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), 'is no http address')
  .refine(hasNoSecret, 'names a user or a password: addresses are printed and logged');

const witness = z.strictObject({
  /** Submission prefix of C2SP tlog-witness: `/add-checkpoint` follows. */
  url: address,
  /** What `vouchsafe witness key` prints. */
  vkey: z.string().max(512).refine(isCosigner, 'is no vkey of a witness (type 0x04)'),
});

/** True where an address may be shown. */
export function hasNoSecret(text: string): boolean {
  if (!URL.canParse(text)) return true;
  const { username, password } = new URL(text);
  return username === '' && password === '';
}

function isCosigner(text: string): boolean {
  try {
    return parseVkey(text, sha256With(nodeCrypto)).type === KEY_TYPE.cosignature;
  } catch {
    return false;
  }
}

/** Who cosigns the heads of the log. Relying parties name the witnesses that they trust in their policies. */
export const witnessesSection = z.strictObject({
  list: z
    .array(witness)
    .max(MAX_OUTSIDERS)
    .refine((list) => new Set(list.map(({ vkey }) => vkey)).size === list.length, 'a witness is given twice')
    .default([])
    .meta({
      description: 'Witnesses that cosign the head of the log after each epoch: url and vkey of each.',
    }),
});

/** Who says when heads of the log existed. */
export const timestampsSection = z.strictObject({
  authorities: z
    .array(address)
    .max(MAX_OUTSIDERS)
    .refine((list) => new Set(list).size === list.length, 'an authority is given twice')
    .default([])
    .meta({
      description: 'RFC 3161 authorities that timestamp the head of the log after each epoch: addresses.',
    }),
});
