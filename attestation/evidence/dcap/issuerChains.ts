import * as z from 'zod';
import { equalBytes } from '../../bytes/bytes.ts';
import type { Collateral, SignedJson } from '../../collateral.ts';
import { Refusal } from '../../errors.ts';
import { commonNameOf } from './distinguishedName.ts';
import { JsonError, parseStrictJson } from '../../json/strict.ts';
import { parseCertificate, type Certificate } from '../../x509/certificate.ts';

/** Who signs TCB info and enclave identities. */
const SIGNER_NAME = 'Intel SGX TCB Signing';

/**
 * Intel sends the signers of a statement in a header, which people keep in a file of its own: a statement without them
 * gets those among the certificates. The verifier judges whether they are its signers.
 */
export function withIssuerChains(collateral: Collateral): Collateral {
  const certificates = collateral.certificates.flatMap(readable);
  const completed = (statements: readonly SignedJson[]) =>
    statements.map((statement) =>
      statement.issuerChain.length > 0
        ? statement
        : { ...statement, issuerChain: issuerChainOf(statement.body, certificates) },
    );
  const { tcbInfos, qeIdentities } = collateral;
  return { ...collateral, tcbInfos: completed(tcbInfos), qeIdentities: completed(qeIdentities) };
}

/** Signer and root. Of several signers, which Intel replaces every few years, the one of the statement's time. */
function issuerChainOf(body: Uint8Array, certificates: readonly Certificate[]): readonly Uint8Array[] {
  const signers = certificates.filter(({ subjectName }) => commonNameOf(subjectName) === SIGNER_NAME);
  const time = issueTime(body);
  const inDate = signers.find(({ notBefore, notAfter }) => time >= notBefore && time <= notAfter);
  const signer = inDate ?? signers[0];
  const root = signer && certificates.find(({ subjectName }) => equalBytes(subjectName, signer.issuerName));
  return [signer, root].flatMap((certificate) => certificate?.der ?? []);
}

const dated = z.object({
  issueDate: z
    .string()
    .transform((text) => Date.parse(text))
    .pipe(z.number()),
});
const statement = z.union([
  z.object({ tcbInfo: dated }).transform(({ tcbInfo }) => tcbInfo),
  z.object({ enclaveIdentity: dated }).transform(({ enclaveIdentity }) => enclaveIdentity),
]);

/** NaN where the statement says none, which is at no time. */
function issueTime(body: Uint8Array): number {
  try {
    return statement.safeParse(parseStrictJson(body)).data?.issueDate ?? NaN;
  } catch (error) {
    if (error instanceof JsonError) return NaN;
    throw error;
  }
}

function readable(der: Uint8Array): readonly Certificate[] {
  try {
    return [parseCertificate(der)];
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}
