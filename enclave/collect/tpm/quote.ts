import { concat, equalBytes, toHex } from '../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import type { EncodedTpmQuote, PcrBank } from '../../../attestation/evidence/evidence.ts';
import { readSized } from '../../../attestation/evidence/tpm/algorithms.ts';
import { parseTpmsAttest } from '../../../attestation/evidence/tpm/parse.ts';
import { parseTpmtSignature } from '../../../attestation/evidence/tpm/signature.ts';
import { verifyTpmQuote } from '../../../attestation/evidence/tpm/verify.ts';
import { CollectError } from '../errors.ts';
import { CC, tpm2b, u16be } from './command.ts';
import type { AttestationKey } from './keys.ts';
import { readEvidence } from '../reading.ts';
import { readPcrs } from './pcrs.ts';
import { encodeSelection, type Registers } from './selection.ts';
import type { TpmSession } from './session.ts';

/** TPM_ALG_NULL: the key signs with the scheme that it is bound to. */
const SCHEME_OF_KEY = u16be(0x0010);
const MAX_ATTEST_BYTES = 1024;
/** Software that extends a register all the time, such as a busy IMA, gets this many chances to pause. */
const ATTEMPTS = 5;

/** TPMS_ATTEST and TPMT_SIGNATURE. */
export type SignedAttest = Pick<EncodedTpmQuote, 'message' | 'signature'>;

/**
 * A quote over the registers with exactly the values that it covers. Quote and values are read by separate commands:
 * where a register changed in between, both are read again.
 */
export async function quoteRegisters(
  session: TpmSession,
  key: AttestationKey,
  extraData: Uint8Array,
  registers: Registers,
): Promise<SignedAttest & { readonly pcrs: PcrBank }> {
  let pcrs = await readPcrs(session, registers);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const quote = await quoteOnce(session, key, extraData, registers);
    checkAttest(quote, extraData, registers);
    if (await isOver(quote, key, pcrs)) return { ...quote, pcrs };
    // A register changed before the quote: these values are newer, and the quote may be over them.
    pcrs = await readPcrs(session, registers);
    if (await isOver(quote, key, pcrs)) return { ...quote, pcrs };
  }
  throw new CollectError(
    'EVIDENCE_MISMATCH',
    `no quote of ${ATTEMPTS} is over the values of its registers: either they change all the time, or the TPM lies`,
  );
}

async function quoteOnce(
  session: TpmSession,
  { handle }: AttestationKey,
  extraData: Uint8Array,
  registers: Registers,
): Promise<SignedAttest> {
  const { parameters } = await session.run({
    name: 'Quote',
    code: CC.quote,
    handles: [handle],
    authorizations: 1,
    parameters: concat(tpm2b(extraData), SCHEME_OF_KEY, encodeSelection(registers)),
    responseHandles: 0,
  });
  return readEvidence('the quote', () => parseQuoteParameters(parameters));
}

/** TPM2B_ATTEST and TPMT_SIGNATURE, each of which its parser must take whole. */
export function parseQuoteParameters(parameters: Uint8Array): SignedAttest {
  const reader = new ByteReader(parameters, 'quote');
  const message = readSized(reader, MAX_ATTEST_BYTES, 'TPM2B_ATTEST');
  const signature = reader.take(reader.remaining);
  parseTpmsAttest(message);
  parseTpmtSignature(signature);
  return { message, signature };
}

/** Our bytes and our registers, found again in what was signed. */
function checkAttest({ message }: SignedAttest, extraData: Uint8Array, { hash, pcrs }: Registers): void {
  const attest = parseTpmsAttest(message);
  if (!equalBytes(attest.extraData, extraData)) {
    const reason = `the quote is over extraData ${toHex(attest.extraData)}, asked was ${toHex(extraData)}`;
    throw new CollectError('EVIDENCE_MISMATCH', reason);
  }
  const [bank, ...others] = attest.selection;
  if (bank?.hash !== hash || others.length > 0 || bank.pcrs.join() !== pcrs.join()) {
    const seen = attest.selection.map((selected) => `${selected.hash} ${selected.pcrs.join()}`).join('; ');
    throw new CollectError('EVIDENCE_MISMATCH', `the quote covers ${seen}, asked was ${hash} ${pcrs.join()}`);
  }
}

/** Whether the key signed the quote over these values; any other fault of the quote is thrown. */
async function isOver(
  { message, signature }: SignedAttest,
  { area }: AttestationKey,
  pcrs: PcrBank,
): Promise<boolean> {
  const evidence = { message, signature: parseTpmtSignature(signature), pcrs: [pcrs] };
  try {
    await verifyTpmQuote(evidence, area.spki, { crypto: nodeCrypto });
    return true;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.code === 'PCR_MISMATCH') return false;
    throw new CollectError('EVIDENCE_MISMATCH', `the quote: ${error.message}`, { cause: error });
  }
}
