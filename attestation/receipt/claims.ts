import { decodeDc, encodeDc, type Dc, type DcMap } from '../cbor/deterministic.ts';
import {
  asArray,
  asBytes,
  asClosedMap,
  asCount,
  asFixedBytes,
  asLabel,
  asMap,
  asText,
  asTuple,
} from '../cbor/shape.ts';
import { Refusal } from '../errors.ts';

export const RECEIPT_PROFILE = 'tag:vouchsafe,2026:receipt/1';

/**
 * The one table of claim keys. Those up to 265 are CWT (RFC 8392) and EAT (RFC 9711); ours are private use, below
 * -65536.
 */
export const CLAIM = {
  issuedAt: 6,
  id: 7,
  nonce: 10,
  profile: 265,
  index: -65537,
  evidence: -65538,
  keyset: -65539,
  channel: -65540,
  method: -65541,
  path: -65542,
  model: -65543,
  manifest: -65544,
  config: -65545,
  providers: -65546,
  devices: -65547,
  parameters: -65548,
  tenant: -65549,
  outcome: -65550,
  reason: -65551,
  usage: -65552,
  commitments: -65553,
} as const;

export const CHANNELS = ['plain', 'tls', 'hpke'] as const;
export type Channel = (typeof CHANNELS)[number];

export const OUTCOMES = ['complete', 'aborted', 'refused', 'error'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Why an answer did not complete. Closed, and never text of a prompt or an output. */
export const REASONS = [
  'INVALID_INPUT',
  'UNSUPPORTED_TASK',
  'CANCELLED',
  'DEADLINE_EXCEEDED',
  'ENGINE_UNAVAILABLE',
  'ENGINE_FAILED',
] as const;
export type Reason = (typeof REASONS)[number];

/** What was answered: one body, or the chunks of a stream (DESIGN section 5). */
export type ResponseCommitment =
  | { readonly kind: 'body'; readonly commitment: Uint8Array }
  | {
      readonly kind: 'stream';
      readonly count: number;
      /** Sum of the chunk lengths. */
      readonly bytes: number;
      /** RFC 9162 root over the chunk commitments. */
      readonly root: Uint8Array;
    };

/** Signed claims about one response. */
export interface ReceiptClaims {
  /** 16 random bytes. */
  readonly id: Uint8Array;
  /** Seconds since 1970 by the guest's clock: a claim. */
  readonly issuedAt: number;
  readonly nonce: Uint8Array | undefined;
  readonly index: number;
  readonly evidenceDigest: Uint8Array;
  readonly keysetDigest: Uint8Array;
  readonly channel: Channel;
  readonly method: string;
  readonly path: string;
  readonly model: string;
  readonly manifestDigest: Uint8Array;
  readonly configDigest: Uint8Array;
  readonly providers: readonly string[];
  /** Leaf serials of the cited devices, in document order. */
  readonly devices: readonly Uint8Array[];
  /** Parameters as applied: numbers as decimal text; those that can hold content as commitments. */
  readonly parameters: ReadonlyMap<string, string | Uint8Array>;
  /** Commitment to the tenant; undefined where nobody authenticated. */
  readonly tenant: Uint8Array | undefined;
  readonly outcome: Outcome;
  readonly reason: Reason | undefined;
  /** Counts such as `prompt_tokens`. */
  readonly usage: ReadonlyMap<string, number>;
  readonly request: Uint8Array;
  readonly response: ResponseCommitment;
}

export function encodeClaims(claims: ReceiptClaims): Uint8Array {
  const map = new Map<number, Dc>([
    [CLAIM.issuedAt, claims.issuedAt],
    [CLAIM.id, claims.id],
    [CLAIM.profile, RECEIPT_PROFILE],
    [CLAIM.index, claims.index],
    [CLAIM.evidence, claims.evidenceDigest],
    [CLAIM.keyset, claims.keysetDigest],
    [CLAIM.channel, claims.channel],
    [CLAIM.method, claims.method],
    [CLAIM.path, claims.path],
    [CLAIM.model, claims.model],
    [CLAIM.manifest, claims.manifestDigest],
    [CLAIM.config, claims.configDigest],
    [CLAIM.providers, claims.providers],
    [CLAIM.devices, claims.devices],
    [CLAIM.parameters, claims.parameters],
    [CLAIM.outcome, claims.outcome],
    [CLAIM.usage, claims.usage],
    [CLAIM.commitments, encodeCommitments(claims)],
  ]);
  if (claims.nonce) map.set(CLAIM.nonce, claims.nonce);
  if (claims.tenant) map.set(CLAIM.tenant, claims.tenant);
  if (claims.reason) map.set(CLAIM.reason, claims.reason);
  return encodeDc(map);
}

function encodeCommitments({ request, response }: ReceiptClaims): DcMap {
  const answer: [string, Dc] =
    response.kind === 'body'
      ? ['response', response.commitment]
      : ['chunks', [response.count, response.bytes, response.root]];
  return new Map<string, Dc>([['request', request], answer]);
}

/** Parses the claims of a receipt: closed, every member present unless the table above says otherwise. */
export function parseClaims(payload: Uint8Array): ReceiptClaims {
  const map = asClosedMap(decodeDc(payload), 'receipt', Object.values(CLAIM));
  asLabel(map.get(CLAIM.profile), 'receipt profile', RECEIPT_PROFILE);
  const outcome = asOneOf(map.get(CLAIM.outcome), 'outcome', OUTCOMES);
  const reason = map.has(CLAIM.reason) ? asOneOf(map.get(CLAIM.reason), 'reason', REASONS) : undefined;
  if ((outcome === 'complete') !== (reason === undefined)) {
    throw new Refusal('MALFORMED', 'receipt outcome and reason contradict each other');
  }
  return {
    id: asFixedBytes(map.get(CLAIM.id), 'receipt id', 16),
    issuedAt: asCount(map.get(CLAIM.issuedAt), 'receipt iat'),
    nonce: map.has(CLAIM.nonce) ? asFixedBytes(map.get(CLAIM.nonce), 'receipt nonce', 32) : undefined,
    index: asCount(map.get(CLAIM.index), 'receipt log index'),
    evidenceDigest: asFixedBytes(map.get(CLAIM.evidence), 'receipt evidence digest', 32),
    keysetDigest: asFixedBytes(map.get(CLAIM.keyset), 'receipt keyset digest', 32),
    manifestDigest: asFixedBytes(map.get(CLAIM.manifest), 'receipt manifest digest', 32),
    configDigest: asFixedBytes(map.get(CLAIM.config), 'receipt config digest', 32),
    tenant: map.has(CLAIM.tenant) ? asFixedBytes(map.get(CLAIM.tenant), 'receipt tenant', 32) : undefined,
    outcome,
    reason,
    ...parseContext(map),
    ...parseCommitments(map.get(CLAIM.commitments)),
  };
}

type Context = Pick<
  ReceiptClaims,
  'channel' | 'method' | 'path' | 'model' | 'providers' | 'devices' | 'parameters' | 'usage'
>;

function parseContext(map: DcMap): Context {
  return {
    channel: asOneOf(map.get(CLAIM.channel), 'channel', CHANNELS),
    method: asText(map.get(CLAIM.method), 'method'),
    path: asText(map.get(CLAIM.path), 'path'),
    model: asText(map.get(CLAIM.model), 'model'),
    providers: asArray(map.get(CLAIM.providers), 'providers').map((item) => asText(item, 'provider')),
    devices: asArray(map.get(CLAIM.devices), 'devices').map((item) => asBytes(item, 'device serial')),
    parameters: parseParameters(map.get(CLAIM.parameters)),
    usage: parseUsage(map.get(CLAIM.usage)),
  };
}

function parseParameters(value: Dc | undefined): ReadonlyMap<string, string | Uint8Array> {
  const parameters = new Map<string, string | Uint8Array>();
  for (const [name, applied] of asMap(value, 'parameters')) {
    const item = typeof applied === 'string' ? applied : asFixedBytes(applied, `parameter ${name}`, 32);
    parameters.set(asText(name, 'parameter name'), item);
  }
  return parameters;
}

function parseUsage(value: Dc | undefined): ReadonlyMap<string, number> {
  const usage = new Map<string, number>();
  for (const [name, count] of asMap(value, 'usage')) {
    usage.set(asText(name, 'usage name'), asCount(count, `usage ${name}`));
  }
  return usage;
}

function parseCommitments(value: Dc | undefined): Pick<ReceiptClaims, 'request' | 'response'> {
  const map = asClosedMap(value, 'commitments', ['request', 'response', 'chunks']);
  const request = asFixedBytes(map.get('request'), 'request commitment', 32);
  if (map.has('response') === map.has('chunks')) {
    throw new Refusal('MALFORMED', 'commitments hold either a response or chunks');
  }
  if (map.has('response')) {
    const commitment = asFixedBytes(map.get('response'), 'response commitment', 32);
    return { request, response: { kind: 'body', commitment } };
  }
  const [count, bytes, root] = asTuple(map.get('chunks'), 'chunks', 3);
  return {
    request,
    response: {
      kind: 'stream',
      count: asCount(count, 'chunk count'),
      bytes: asCount(bytes, 'chunk bytes'),
      root: asFixedBytes(root, 'chunk root', 32),
    },
  };
}

function asOneOf<T extends string>(value: Dc | undefined, what: string, known: readonly T[]): T {
  const text = asText(value, what);
  const found = known.find((item) => item === text);
  if (found === undefined) throw new Refusal('MALFORMED', `${what} ${text} is not known`);
  return found;
}
