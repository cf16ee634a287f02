import * as z from 'zod';
import { fromBase64Url, fromHex, fromUtf8, toHex } from '../../attestation/bytes/bytes.ts';
import { parseCollateral } from '../../attestation/bundle/collateral.ts';
import { decodeDc } from '../../attestation/cbor/deterministic.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { NonceProof } from '../../attestation/evidence/appraise.ts';
import { ClientError } from './errors.ts';
import { readBody, rejection, send, type Service } from './http.ts';

/** Largest answer, bytes: a document of 4 MiB and its collateral, in base64. */
export const MAX_ATTESTATION_BYTES = 48 * 1024 * 1024;
const TIMEOUT_MS = 60_000;
/** Longest text of collateral that is kept, characters: manifests of the largest machine are less. */
const MAX_KNOWN_TEXT = 8 * 1024 * 1024;

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0);
const answerSchema = z.strictObject({
  format: z.literal('vouchsafe/attestation/1'),
  // Display only: what is simulated follows from the trust anchor.
  hardware: z.enum(['SIMULATED', 'hardware']),
  document: z.string(),
  digest: hash,
  nonce: z.strictObject({ value: hash, index: count, count, path: z.array(hash).max(64) }),
  collateral: z.string(),
});

/** What a service, or a box before it, says is its evidence. Nothing of it is trusted before it is judged. */
export interface Attestation {
  readonly document: Uint8Array;
  /** Nonce that it claims to answer, lower-case hex: not yours until you compare. */
  readonly answers: string;
  /** Place of that nonce in the nonce tree of the document. */
  readonly place: Omit<NonceProof, 'nonce'>;
  readonly collateral: Collateral;
}

/** Parses the JSON rendering of an evidence document; refuses as `BAD_ANSWER`. */
export function parseAttestation(bytes: Uint8Array): Attestation {
  try {
    const parsed = answerSchema.parse(JSON.parse(fromUtf8(bytes)));
    return {
      document: fromBase64Url(parsed.document),
      answers: parsed.nonce.value,
      place: { index: parsed.nonce.index, path: parsed.nonce.path.map(fromHex) },
      collateral: collateralOf(parsed.collateral),
    };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError || error instanceof Refusal) {
      throw new ClientError('BAD_ANSWER', 'this is no attestation answer', { cause: error });
    }
    throw error;
  }
}

/** The last one: a service says the same for hours, and it is most of what it says. */
let known: { readonly text: string; readonly collateral: Collateral } | undefined;

function collateralOf(text: string): Collateral {
  if (known?.text === text) return known.collateral;
  const collateral = parseCollateral(decodeDc(fromBase64Url(text)));
  if (text.length <= MAX_KNOWN_TEXT) known = { text, collateral };
  return collateral;
}

/** Asks a service for evidence made for this nonce of 32 bytes. */
export async function fetchAttestation(
  service: Service,
  nonce: Uint8Array,
  signal?: AbortSignal,
): Promise<Attestation> {
  const path = `/v1/attestation?nonce=${toHex(nonce)}`;
  const response = await send(service, { method: 'GET', path, timeoutMs: TIMEOUT_MS, signal });
  if (response.status !== 200) throw await rejection(response);
  return parseAttestation(await readBody(response, MAX_ATTESTATION_BYTES));
}

/** 32 random bytes; all zero once in 2^256. */
export function freshNonce(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(32));
}
