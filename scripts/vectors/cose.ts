import { z } from 'zod';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { HEADER, parseForeignSign1, sigStructure, type ForeignSign1 } from '../../attestation/cose/sign1.ts';
import { Refusal } from '../../attestation/errors.ts';
import { expectEqual, expectVerdict, type Case, type Family } from './family.ts';
import { algorithmOf, spkiOf, verifyTwice } from './signatures.ts';
import { hexSchema, listsMembers } from './vectorFile.ts';

const jwkSchema = z.looseObject({ kty: z.string() });
const cborSchema = z.object({ cborHex: hexSchema });

const workingGroupSchema = z.object({
  title: z.string(),
  fail: z.boolean().optional(),
  input: z.looseObject({
    sign0: z
      .object({
        key: jwkSchema,
        alg: z.string().optional(),
        protected: z.looseObject({ alg: z.string().optional() }).optional(),
        external: hexSchema.optional(),
      })
      .optional(),
  }),
  intermediates: z.looseObject({ ToBeSign_hex: hexSchema.optional() }).optional(),
  output: z.object({ cbor: hexSchema }),
});

const goSchema = z.object({
  key: jwkSchema,
  alg: z.string(),
  'sign1::sign': z
    .object({
      payload: hexSchema,
      tbsHex: cborSchema,
      external: hexSchema.optional(),
      detached: z.boolean().optional(),
      expectedOutput: cborSchema,
    })
    .optional(),
  'sign1::verify': z
    .object({ taggedCOSESign1: cborSchema, external: hexSchema.optional(), shouldVerify: z.boolean() })
    .optional(),
});

const listSchema = z.object({ vectors: z.array(z.object({ name: z.string(), file: z.looseObject({}) })) });

/** What one COSE_Sign1 is verified against. */
interface Signed {
  readonly bytes: Uint8Array;
  readonly key: z.infer<typeof jwkSchema>;
  readonly alg: string;
  readonly external: Uint8Array;
  /** The payload where it is detached. */
  readonly payload?: Uint8Array;
  /** The Sig_structure that the vector gives. */
  readonly toBeSigned: Uint8Array | undefined;
  /** Undefined where only the Sig_structure is judged. */
  readonly accept: boolean | undefined;
}

const EMPTY = new Uint8Array(0);

/** COSE examples of the working group and of go-cose, one example per vector. */
export const coseFamily: Family = {
  claims: ({ path, json }) =>
    isExampleList(json) || /(?:^|\/)(?:cose-wg-examples|go-cose-sign1)\.json$/.test(path),
  cases: ({ json }) => listSchema.parse(json).vectors.map(({ name, file }) => exampleCase(name, file)),
};

function isExampleList(json: unknown): boolean {
  if (!listsMembers(json, 'file')) return false;
  const { vectors } = listSchema.parse(json);
  return vectors.every(({ file }) => 'sign1::sign' in file || 'sign1::verify' in file || 'input' in file);
}

function exampleCase(name: string, file: Readonly<Record<string, unknown>>): Case {
  const signed = 'input' in file ? workingGroupExample(file) : goExample(file);
  if (typeof signed === 'string') return { name, skip: signed };
  if (!algorithmOf(signed.alg)) return { name, skip: `algorithm ${signed.alg}` };
  if (signed.key['crv'] === 'Ed448') return { name, skip: 'curve Ed448' };
  return { name, check: () => checkSigned(signed) };
}

/** The example, or the structure that is not judged here. */
function workingGroupExample(file: unknown): Signed | string {
  const { fail, input, intermediates, output } = workingGroupSchema.parse(file);
  const { sign0 } = input;
  if (!sign0) {
    const structures = ['sign', 'mac', 'mac0', 'encrypted', 'enveloped'].filter((name) => name in input);
    return `structure ${structures.join()}`;
  }
  return {
    bytes: output.cbor,
    key: sign0.key,
    alg: sign0.alg ?? sign0.protected?.alg ?? '',
    external: sign0.external ?? EMPTY,
    toBeSigned: intermediates?.ToBeSign_hex,
    accept: fail !== true,
  };
}

function goExample(file: unknown): Signed | string {
  const { key, alg, 'sign1::sign': sign, 'sign1::verify': verify } = goSchema.parse(file);
  if (sign) {
    // Signatures are random and `fixedOutputLength` ends before them: one was even made with another key than given.
    const { expectedOutput, tbsHex, external = EMPTY, payload } = sign;
    const signed = { bytes: expectedOutput.cborHex, key, alg, external, payload };
    return { ...signed, toBeSigned: tbsHex.cborHex, accept: undefined };
  }
  if (!verify) return 'neither sign1::sign nor sign1::verify';
  const { taggedCOSESign1, external = EMPTY, shouldVerify } = verify;
  return { bytes: taggedCOSESign1.cborHex, key, alg, external, toBeSigned: undefined, accept: shouldVerify };
}

async function checkSigned(signed: Signed): Promise<void> {
  if (signed.accept !== undefined) await expectVerdict(signed.accept, () => verify(signed), 'the COSE_Sign1');
  if (signed.accept === false || !signed.toBeSigned) return;
  const sign1 = parseForeignSign1(signed.bytes);
  expectEqual(toHex(toBeSigned(sign1, signed)), toHex(signed.toBeSigned), 'the Sig_structure');
}

function toBeSigned(sign1: ForeignSign1, { payload, external }: Signed): Uint8Array {
  const covered = sign1.payload ?? payload;
  if (!covered) throw new Refusal('MALFORMED', 'the payload is detached');
  return sigStructure(sign1.protectedBytes, covered, external);
}

/** As a caller does who knows key and algorithm: parse, compare the algorithm, verify. */
async function verify(signed: Signed): Promise<void> {
  const sign1 = parseForeignSign1(signed.bytes);
  const algorithm = algorithmOf(signed.alg);
  if (!algorithm || labelOf(sign1) !== algorithm.id) {
    throw new Refusal('ALGORITHM_MISMATCH', 'the header names another algorithm than the key has');
  }
  const data = toBeSigned(sign1, signed);
  if (!(await verifyTwice(algorithm.scheme, spkiOf(signed.key), data, sign1.signature))) {
    throw new Refusal('SIGNATURE_INVALID', 'the signature does not verify');
  }
}

/** Some examples leave the algorithm unprotected; our own formats never do. */
function labelOf({ protectedHeader, unprotectedHeader }: ForeignSign1): unknown {
  return protectedHeader.get(HEADER.alg) ?? unprotectedHeader.get(HEADER.alg);
}
