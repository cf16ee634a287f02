import { z } from 'zod';
import { aciDigest, aciKeysetDigest, parseAciKeyset } from '../../attestation/aci/keyset.ts';
import {
  aciBodyHash,
  aciSigningInput,
  type AciReceipt,
  parseAciReceipt,
  verifyAciReceipt,
} from '../../attestation/aci/receipt.ts';
import { aciReportData, aciStatement } from '../../attestation/aci/statement.ts';
import { fromUtf8, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { canonicalJson } from '../../attestation/json/canonical.ts';
import { parseStrictJsonText } from '../../attestation/json/strict.ts';
import { type Case, expectEqual, expectRefused, type Family, PROVIDERS } from './family.ts';
import { hasMembers } from './vectorFile.ts';

const schema = z.object({
  keyset: z.object({ jcs: z.string(), digest: z.string() }),
  statements: z.array(z.object({ nonce: z.string().nullable(), bytes: z.string(), report_data: z.string() })),
  session: z.object({ jcs: z.string(), session_id: z.string() }),
  receipt: z.object({
    request: z.string(),
    response: z.string(),
    signing_input: z.string(),
    sha256: z.string(),
    document: z.string(),
  }),
});
type Vectors = z.infer<typeof schema>;

const sha256 = (text: string): string => toHex(nodeCrypto.hash('sha256', utf8(text)));

/** Attested Confidential Inference, aci/1: digest of the keyset, statement, session id, receipt and its signature. */
export const aciFamily: Family = {
  claims: ({ json }) => hasMembers(json, 'keyset', 'statements', 'receipt'),
  cases: ({ json }) => {
    const vectors = schema.parse(json);
    return [
      { name: 'keyset', check: () => checkKeyset(vectors) },
      ...vectors.statements.map((statement) => ({
        name: `statement, nonce ${statement.nonce ?? 'null'}`,
        check: () => checkStatement(vectors, statement),
      })),
      { name: 'session', check: () => checkSession(vectors) },
      ...receiptCases(vectors),
    ];
  },
};

const keysetOf = ({ keyset }: Vectors) => parseAciKeyset(parseStrictJsonText(keyset.jcs));

function checkKeyset(vectors: Vectors): void {
  const keyset = keysetOf(vectors);
  expectEqual(canonicalJson(keyset), vectors.keyset.jcs, 'the canonical keyset');
  expectEqual(aciKeysetDigest(keyset, nodeCrypto), vectors.keyset.digest, 'the keyset digest');
}

function checkStatement(
  { keyset }: Vectors,
  { nonce, bytes, report_data }: Vectors['statements'][number],
): void {
  const statement = aciStatement(keyset.digest, nonce);
  expectEqual(fromUtf8(statement), bytes, 'the statement');
  expectEqual(canonicalJson(parseStrictJsonText(bytes)), bytes, 'its canonical form');
  expectEqual(
    toHex(aciReportData(statement, nodeCrypto)),
    `${report_data}${'00'.repeat(32)}`,
    'the report data',
  );
}

/** We have no sessions: the form and the id are JCS and SHA-256 alone. */
function checkSession({ session }: Vectors): void {
  expectEqual(canonicalJson(parseStrictJsonText(session.jcs)), session.jcs, 'the canonical session');
  expectEqual(sha256(session.jcs), session.session_id, 'the session id');
}

function receiptCases(vectors: Vectors): readonly Case[] {
  const { receipt } = vectors;
  const parsed = (): AciReceipt => parseAciReceipt(utf8(receipt.document));
  const verify = async (changes: Partial<AciReceipt>): Promise<void> => {
    for (const crypto of PROVIDERS)
      await verifyAciReceipt({ ...parsed(), ...changes }, keysetOf(vectors), crypto);
  };
  return [
    {
      name: 'receipt',
      check: async () => {
        const { signature, ...signed } = parsed();
        expectEqual(fromUtf8(aciSigningInput(signed)), receipt.signing_input, 'the signing input');
        expectEqual(sha256(receipt.signing_input), receipt.sha256, 'its digest');
        expectEqual(signature.length, 128, 'the length of the signature');
        await verify({});
      },
    },
    {
      name: 'receipt, body hashes',
      check: () => {
        const digestOf = (text: string): string => aciDigest(utf8(text), nodeCrypto);
        expectEqual(aciBodyHash(parsed(), 'request.received'), digestOf(receipt.request), 'the request');
        expectEqual(aciBodyHash(parsed(), 'response.returned'), digestOf(receipt.response), 'the response');
      },
    },
    {
      name: 'receipt, altered',
      check: () => expectRefused(() => verify({ served_at: parsed().served_at + 1 }), 'an altered receipt'),
    },
  ];
}
