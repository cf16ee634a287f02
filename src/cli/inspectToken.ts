import { z } from 'zod';
import { fromBase64Url, fromUtf8, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { LABEL } from '../../attestation/evidence/nras/claims.ts';
import { readShape } from '../../attestation/evidence/nras/json.ts';
import { parseNrasAnswer } from '../../attestation/evidence/nras/parse.ts';
import { parseJson } from '../../attestation/json/strict.ts';
import { readable, type Section } from './inspectSection.ts';
import { claimSections, claimText, SUBMODULES, type Claims } from './inspectTokenClaims.ts';
import type { Row } from './receiptText.ts';

const MAX_ANSWER_BYTES = 2 * 1024 * 1024;
const MAX_TOKEN_CHARACTERS = 1024 * 1024;
const MAX_TOKENS = 64;

const answerSchema = z.tuple([z.tuple([z.literal('JWT'), z.string()]), z.record(z.string(), z.string())]);
const objectSchema = z.record(z.string(), z.unknown());

/** A compact JWS taken apart, whatever its header says. */
interface Token {
  readonly text: string;
  readonly header: Claims;
  readonly claims: Claims;
  readonly signatureBytes: number;
}

/** Overall token and those of the devices, and whether the first names the others. */
export function answerSections(bytes: Uint8Array): readonly Section[] {
  if (bytes.length > MAX_ANSWER_BYTES) {
    throw new Refusal('MALFORMED', `answer of ${bytes.length} bytes exceeds ${MAX_ANSWER_BYTES}`);
  }
  const [[, overallText], tokens] = readShape(answerSchema, parseJson(bytes, 'answer'), 'answer');
  const labels = Object.entries(tokens);
  if (labels.length > MAX_TOKENS) throw new Refusal('MALFORMED', `answer: more than ${MAX_TOKENS} tokens`);
  const overall = parseToken(overallText);
  return [
    { title: 'answer', rows: [['device tokens', String(labels.length)], layoutRow(bytes)] },
    ...tokenSections(overall, 'overall'),
    ...submoduleSections(overall.claims, tokens),
    ...labels.flatMap(([label, text]) => {
      const name = LABEL.test(label) ? label : `token «${label}»`;
      return readable(name, () => tokenSections(parseToken(text), name));
    }),
  ];
}

/** One token alone: the overall one names tokens that are not here. */
export function jwtSections(bytes: Uint8Array): readonly Section[] {
  const token = parseToken(fromUtf8(bytes).trim());
  return [...tokenSections(token, 'token'), ...submoduleSections(token.claims, {})];
}

/** Whether the verifier reads it at all. */
function layoutRow(bytes: Uint8Array): Row {
  try {
    parseNrasAnswer(bytes);
    return ['layout', 'as the service writes it'];
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return ['layout', `the verifier refuses it: ${error.code}: ${error.message}`];
  }
}

function parseToken(text: string): Token {
  if (text.length > MAX_TOKEN_CHARACTERS) {
    throw new Refusal('MALFORMED', `token of ${text.length} characters exceeds ${MAX_TOKEN_CHARACTERS}`);
  }
  const [header, payload, signature, ...rest] = text.split('.', 4);
  if (!header || !payload || signature === undefined || rest.length > 0) {
    throw new Refusal('MALFORMED', 'the token is not three parts with dots between');
  }
  return {
    text,
    header: objectOf(header, 'token header'),
    claims: objectOf(payload, 'token payload'),
    signatureBytes: fromBase64Url(signature).length,
  };
}

function objectOf(part: string, what: string): Claims {
  return new Map(Object.entries(readShape(objectSchema, parseJson(fromBase64Url(part), what), what)));
}

function tokenSections({ text, header, claims, signatureBytes }: Token, title: string): readonly Section[] {
  const algorithm = header.get('alg');
  return [
    {
      title: `${title} header`,
      rows: [
        ...[...header].map(([name, value]): Row => {
          const text = claimText('', value);
          return HEADER.includes(name) ? [name, text] : ['other member', `${name}: ${text}`];
        }),
        ...(algorithm === 'ES384' ? [] : [['not accepted', NOT_ES384] as const]),
        ['signature', `${signatureBytes} bytes (not verified)`],
        ['SHA-256', digestOf(text)],
      ],
    },
    ...claimSections(claims, title),
  ];
}

/** Members that a header of the service may have. */
const HEADER = ['alg', 'kid', 'typ'];
const NOT_ES384 =
  'only ES384 is the service’s: `none` and a shared secret are signatures that anyone can make';

function digestOf(text: string): string {
  return toHex(nodeCrypto.hash('sha256', utf8(text)));
}

/** Digests are compared: a token that the overall one does not name is not the service's answer. */
function submoduleSections(claims: Claims, tokens: Readonly<Record<string, string>>): readonly Section[] {
  if (!claims.has(SUBMODULES)) return [];
  return readable('submodules', () => {
    const named = Object.entries(readShape(objectSchema, claims.get(SUBMODULES), SUBMODULES));
    const entries = [
      ...named.map(([label, value]) => ({ token: label, ...namedText(value, tokenOf(tokens, label)) })),
      ...Object.keys(tokens)
        .filter((label) => !named.some(([name]) => name === label))
        .map((label) => ({ token: label, digest: 'none', state: 'NOT named by the overall token' })),
    ];
    const rows = entries.map(({ token, digest, state }): Row => {
      const text = `${digest} (${state})`;
      return LABEL.test(token) ? [token, text] : ['token', `${token}: ${text}`];
    });
    return [{ title: 'submodules', rows: rows.length > 0 ? rows : [['none', 'no token is named']], entries }];
  });
}

function tokenOf(tokens: Readonly<Record<string, string>>, label: string): string | undefined {
  return Object.hasOwn(tokens, label) ? tokens[label] : undefined;
}

/** `["DIGEST", [algorithm, hex]]` (RFC 9711 section 4.2.18.2). */
const digestSchema = z.tuple([z.literal('DIGEST'), z.tuple([z.string(), z.string()])]);

function namedText(value: unknown, token: string | undefined) {
  const parsed = digestSchema.safeParse(value);
  if (!parsed.success) return { digest: JSON.stringify(value), state: 'no digest' };
  const [, [algorithm, digest]] = parsed.data;
  const name = algorithm === 'SHA-256' ? '' : `called ${algorithm}, not SHA-256; `;
  const state =
    token === undefined
      ? 'there is no such token here'
      : digest === digestOf(token)
        ? 'that of the token; computed, not verified'
        : `NOT that of the token, ${digestOf(token)}`;
  return { digest: digest || 'empty', state: `${name}${state}` };
}
