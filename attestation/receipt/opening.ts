import { equalBytes } from '../bytes/bytes.ts';
import { sha256With, type CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { leafHash } from '../log/merkle.ts';
import { rootOf } from '../log/memoryTree.ts';
import type { ReceiptClaims } from './claims.ts';
import { type CommittedParameter, commit, PARAMETER_ITEMS } from './commitment.ts';

/** What the holder of `k` shows: content that the receipt commits to. A part that is absent is refused. */
export interface Opening {
  /** The key that travelled with the response, exactly 32 bytes. */
  readonly k: Uint8Array;
  readonly request?: Uint8Array;
  /** Body of a response that was not a stream. */
  readonly response?: Uint8Array;
  /** All chunks of a stream, in order, `[DONE]` included. */
  readonly chunks?: readonly Uint8Array[];
  /** Name of the API key that asked, in UTF-8. */
  readonly tenant?: Uint8Array;
}

export function checkRequest(claims: ReceiptClaims, opening: Opening, crypto: CryptoProvider): void {
  if (!opening.request) throw new Refusal('COMMITMENT_MISMATCH', 'no request was given');
  expectCommitment(
    commit(opening.k, claims.id, 'request', 0, opening.request, crypto),
    claims.request,
    'request',
  );
}

export function checkResponse(claims: ReceiptClaims, opening: Opening, crypto: CryptoProvider): void {
  if (claims.response.kind === 'stream') {
    checkChunks(claims, opening, crypto);
    return;
  }
  if (!opening.response) throw new Refusal('COMMITMENT_MISMATCH', 'the receipt is of a body, none was given');
  const commitment = commit(opening.k, claims.id, 'response', 0, opening.response, crypto);
  expectCommitment(commitment, claims.response.commitment, 'response');
}

/** Checks the tenant, whose commitment is absent where nobody authenticated. */
export function checkTenant(claims: ReceiptClaims, opening: Opening, crypto: CryptoProvider): void {
  if (!opening.tenant) throw new Refusal('COMMITMENT_MISMATCH', 'no tenant was given');
  if (!claims.tenant) throw new Refusal('COMMITMENT_MISMATCH', 'the receipt commits to no tenant');
  const commitment = commit(opening.k, claims.id, 'tenant', 0, opening.tenant, crypto);
  expectCommitment(commitment, claims.tenant, 'tenant');
}

/** Checks the JSON text of a parameter that the receipt commits to. */
export function checkParameter(
  claims: ReceiptClaims,
  opening: { readonly k: Uint8Array; readonly name: CommittedParameter; readonly value: Uint8Array },
  crypto: CryptoProvider,
): void {
  const { k, name, value } = opening;
  const signed = claims.parameters.get(name);
  if (!(signed instanceof Uint8Array)) {
    throw new Refusal('COMMITMENT_MISMATCH', `the receipt commits to no parameter ${name}`);
  }
  const item = PARAMETER_ITEMS[name];
  expectCommitment(commit(k, claims.id, 'parameter', item, value, crypto), signed, `parameter ${name}`);
}

/** Leaf `i` of the chunk tree is the RFC 9162 leaf over `c_i`. */
function checkChunks({ id, response }: ReceiptClaims, opening: Opening, crypto: CryptoProvider): void {
  const { chunks } = opening;
  if (response.kind !== 'stream' || !chunks) {
    throw new Refusal('COMMITMENT_MISMATCH', 'the receipt is of a stream, no chunks were given');
  }
  const bytes = chunks.reduce((total, chunk) => total + chunk.length, 0);
  if (chunks.length !== response.count || bytes !== response.bytes) {
    throw new Refusal(
      'COMMITMENT_MISMATCH',
      `${chunks.length} chunks of ${bytes} bytes, the receipt signs ${response.count} of ${response.bytes}`,
    );
  }
  const sha256 = sha256With(crypto);
  const leaves = chunks.map((chunk, i) => leafHash(sha256, commit(opening.k, id, 'chunk', i, chunk, crypto)));
  expectCommitment(rootOf(sha256, leaves), response.root, 'chunks');
}

function expectCommitment(computed: Uint8Array, signed: Uint8Array, what: string): void {
  if (!equalBytes(computed, signed)) {
    throw new Refusal('COMMITMENT_MISMATCH', `the ${what} is not what the receipt commits to`);
  }
}
