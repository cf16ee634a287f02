import { z } from 'zod';
import { fromBase64, toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { parseStrictJson } from '../../attestation/json/strict.ts';
import { CollateralError } from './errors.ts';
import { reading, type CollateralItem, type CollateralRequest, type Received } from './item.ts';
import type { NvidiaNeed } from './need.ts';
import { manifestStatusNeeds } from './statusNeeds.ts';

/** NVIDIA's service of reference integrity manifests. */
export const NVIDIA_RIM = 'https://rim.attestation.nvidia.com';

/** Genuine answers have 35 KB. */
const MAX_BYTES = 4 * 1024 * 1024;

/** `sha256` is over the manifest; it shows damage and no forgery. `TCG` is SWID, as opposed to CoRIM. */
const answerSchema = z.object({
  id: z.string(),
  rim: z.string(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  rim_format: z.string().optional(),
});

export function rimRequest({ id }: NvidiaNeed, base: string): CollateralRequest {
  const url = `${base}/v1/rim/${encodeURIComponent(id)}`;
  return { url, media: 'json', maxBytes: MAX_BYTES, unpack: (body) => unpackRim(body, id) };
}

function unpackRim(body: Uint8Array, id: string): Uint8Array {
  const answer = answerSchema.parse(parseStrictJson(body));
  if (answer.id !== id)
    throw new CollateralError('wrong-statement', `the manifest is of another id than ${id}`);
  if (answer.rim_format !== undefined && answer.rim_format !== 'TCG') {
    throw new CollateralError('malformed', `the manifest ${id} is in another format than SWID`);
  }
  const rim = fromBase64(answer.rim);
  if (answer.sha256 !== undefined && toHex(nodeCrypto.hash('sha256', rim)) !== answer.sha256) {
    throw new CollateralError('malformed', `the manifest ${id} does not have its digest`);
  }
  return rim;
}

/** The id is not in the manifest: whether one is for a device is judged by the verifier, by product and version. */
export function checkRim(need: NvidiaNeed, received: Received): CollateralItem {
  const { gap } = reading('manifest', () => manifestStatusNeeds(received.body));
  if (gap !== undefined) throw new CollateralError('malformed', `signers of the manifest ${need.id}: ${gap}`);
  return { ...received, need, certificates: [], validity: undefined };
}
