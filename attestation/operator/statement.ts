import { equalBytes } from '../bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../cbor/deterministic.ts';
import {
  asArray,
  asBytes,
  asClosedMap,
  asCount,
  asFixedBytes,
  asInteger,
  asLabel,
  asText,
  asTuple,
} from '../cbor/shape.ts';
import { HEADER, parseSign1, type Sign1 } from '../cose/sign1.ts';
import { Refusal } from '../errors.ts';
import { instanceUrn } from '../keyset.ts';

export const OPERATOR_STATEMENT_TYPE = 'application/vouchsafe-operator-statement+cose';
const LABEL = 'vouchsafe/operator-statement/1';
/** RFC 9360. */
const X5CHAIN = 33;
const CWT = { iss: 1, sub: 2 } as const;

export const MAX_STATEMENT_BYTES = 64 * 1024;
/** Leaf, authorities and root. */
export const MAX_CERTIFICATES = 8;
/** UTF-16 code units. */
export const MAX_ORGANISATION_LENGTH = 200;
export const MAX_TEXT_LENGTH = 4000;

/** What an organisation says of one instance. */
export interface OperatorClaims {
  /** As its certificate names it. */
  readonly organisation: string;
  /** UUIDv4, 16 bytes. */
  readonly instance: Uint8Array;
  /** What a policy knows the image by, 32 bytes; undefined where it names none. */
  readonly image: Uint8Array | undefined;
  /** For people. */
  readonly text: string;
  /** Seconds since 1970, both inclusive. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** An operator statement as parsed: anyone can write one. */
export interface OperatorStatement extends OperatorClaims {
  readonly sign1: Sign1;
  /** COSE algorithm id; `verify.ts` says which are taken. */
  readonly alg: number;
  /** DER, leaf first. */
  readonly certificates: readonly Uint8Array[];
}

export function encodeOperatorHeader(
  { organisation, instance }: Pick<OperatorClaims, 'organisation' | 'instance'>,
  alg: number,
  certificates: readonly Uint8Array[],
): Uint8Array {
  const claims = new Map<number, Dc>([
    [CWT.iss, organisation],
    [CWT.sub, instanceUrn(instance)],
  ]);
  const [leaf, ...rest] = certificates;
  return encodeDc(
    new Map<number, Dc>([
      [HEADER.alg, alg],
      [HEADER.cwtClaims, claims],
      [HEADER.typ, OPERATOR_STATEMENT_TYPE],
      // RFC 9360 section 2: one certificate stands alone, several in an array.
      [X5CHAIN, leaf && rest.length === 0 ? leaf : certificates],
    ]),
  );
}

export function encodeOperatorClaims(claims: OperatorClaims): Uint8Array {
  const { instance, image, text, notBefore, notAfter } = claims;
  return encodeDc([LABEL, instance, image ?? new Uint8Array(0), text, notBefore, notAfter]);
}

/** Parses a statement: one encoding, exactly the members above, and header and payload about one instance. */
export function parseOperatorStatement(encoded: Uint8Array): OperatorStatement {
  if (encoded.length > MAX_STATEMENT_BYTES) {
    throw new Refusal('MALFORMED', `an operator statement has at most ${MAX_STATEMENT_BYTES} bytes`);
  }
  const sign1 = parseSign1(encoded);
  const known = [HEADER.alg, HEADER.cwtClaims, HEADER.typ, X5CHAIN];
  const header = asClosedMap(sign1.protectedHeader, 'operator header', known);
  asLabel(header.get(HEADER.typ), 'typ', OPERATOR_STATEMENT_TYPE);
  const cwt = asClosedMap(header.get(HEADER.cwtClaims), 'CWT claims', [CWT.iss, CWT.sub]);
  const claims = parsePayload(sign1.payload);
  if (asText(cwt.get(CWT.sub), 'sub') !== instanceUrn(claims.instance)) {
    throw new Refusal('MALFORMED', 'sub and payload of the operator statement name two instances');
  }
  const organisation = bounded(asText(cwt.get(CWT.iss), 'iss'), 'iss', MAX_ORGANISATION_LENGTH);
  return {
    ...claims,
    organisation,
    sign1,
    alg: asInteger(header.get(HEADER.alg), 'alg'),
    certificates: parseChain(header.get(X5CHAIN)),
  };
}

function parsePayload(payload: Uint8Array): Omit<OperatorClaims, 'organisation'> {
  const tuple = asTuple(decodeDc(payload), 'operator statement', 6);
  const [label, instance, image, text, notBefore, notAfter] = tuple;
  asLabel(label, 'operator statement label', LABEL);
  const isNamed = asBytes(image, 'image digest').length > 0;
  const claims = {
    instance: asFixedBytes(instance, 'instance', 16),
    image: isNamed ? asFixedBytes(image, 'image digest', 32) : undefined,
    text: bounded(asText(text, 'statement text'), 'statement text', MAX_TEXT_LENGTH),
    notBefore: asCount(notBefore, 'not_before'),
    notAfter: asCount(notAfter, 'not_after'),
  };
  if (claims.notBefore > claims.notAfter) {
    throw new Refusal('MALFORMED', 'the operator statement ends before it begins');
  }
  return claims;
}

function bounded(text: string, what: string, most: number): string {
  if (text.length > 0 && text.length <= most) return text;
  throw new Refusal('MALFORMED', `${what} has ${text.length} characters, not 1 to ${most}`);
}

/** One certificate alone or at least two in an array: each chain has one encoding. */
function parseChain(value: Dc | undefined): readonly Uint8Array[] {
  if (value instanceof Uint8Array) return [value];
  const chain = asArray(value, 'x5chain').map((certificate) => asBytes(certificate, 'x5chain'));
  if (chain.length < 2 || chain.length > MAX_CERTIFICATES) {
    throw new Refusal('MALFORMED', `x5chain has ${chain.length} certificates, at most ${MAX_CERTIFICATES}`);
  }
  return chain;
}

/** Whether the statement is about the instance of a keyset. */
export function isAbout(statement: OperatorClaims, instance: Uint8Array): boolean {
  return equalBytes(statement.instance, instance);
}
