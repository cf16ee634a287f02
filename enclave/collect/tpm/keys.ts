import { concat } from '../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { readSized } from '../../../attestation/evidence/tpm/algorithms.ts';
import {
  checkAttestationAttributes,
  parseTpmtPublic,
  type TpmPublic,
} from '../../../attestation/evidence/tpm/public.ts';
import { CollectError } from '../errors.ts';
import { CC, EMPTY_2B, tpm2b, u16be, u32be, type TpmCommand } from './command.ts';
import { readEvidence } from '../reading.ts';
import { TpmRefusal } from './response.ts';
import type { TpmSession } from './session.ts';

/**
 * TPMT_PUBLIC of our attestation key (part 2, section 12.2.4): ECC, name by SHA-256; fixedTPM, fixedParent,
 * sensitiveDataOrigin, userWithAuth, restricted, sign; no policy, no cipher, ECDSA with SHA-256, P-256, no KDF, and no
 * part of the point. The same TPM makes the same key of it until its owner hierarchy is cleared.
 */
export const ECC_AK_TEMPLATE: Uint8Array = concat(
  u16be(0x0023),
  u16be(0x000b),
  u32be(0x00050072),
  EMPTY_2B,
  u16be(0x0010),
  concat(u16be(0x0018), u16be(0x000b)),
  u16be(0x0003),
  u16be(0x0010),
  concat(EMPTY_2B, EMPTY_2B),
);
/** TPM2B_PUBLIC, names and digests are all smaller. */
const MAX_FIELD_BYTES = 2048;

/** A key in the TPM that signs quotes, and only what the TPM itself made. */
export interface AttestationKey {
  readonly handle: number;
  readonly area: TpmPublic;
}

/**
 * Uses an attestation key made under a hierarchy, which is flushed afterwards: without a resource manager in between
 * a TPM holds three keys.
 */
export async function withPrimary<T>(
  session: TpmSession,
  hierarchy: number,
  template: Uint8Array,
  use: (key: AttestationKey) => Promise<T>,
): Promise<T> {
  const key = await createPrimary(session, hierarchy, template);
  try {
    return await use(attestationKey(key));
  } finally {
    // An error of `use` says more than one of this; what could not be flushed is, before the next use.
    await flushLoaded(session).catch(() => undefined);
  }
}

/** Flushes what was made over this or an earlier connection. Behind a resource manager it is gone with its descriptor. */
export async function flushLoaded(session: TpmSession): Promise<void> {
  for (const handle of session.loaded) {
    try {
      await session.run(flushContext(handle));
    } catch (error) {
      if (!(error instanceof TpmRefusal)) throw error;
    }
    session.loaded.delete(handle);
  }
}

async function createPrimary(
  session: TpmSession,
  hierarchy: number,
  template: Uint8Array,
): Promise<AttestationKey> {
  // TPM2B_SENSITIVE_CREATE with neither password nor data, TPM2B_PUBLIC, no outside information, no creation PCRs.
  const sensitive = tpm2b(concat(EMPTY_2B, EMPTY_2B));
  const { handles, parameters } = await session.run({
    name: 'CreatePrimary',
    code: CC.createPrimary,
    handles: [hierarchy],
    authorizations: 1,
    parameters: concat(sensitive, tpm2b(template), EMPTY_2B, u32be(0)),
    responseHandles: 1,
  });
  const [handle = 0] = handles;
  session.loaded.add(handle);
  const area = readEvidence('the key that the TPM made', () => parseCreated(parameters));
  return { handle, area };
}

/** TPM2B_PUBLIC, TPM2B_CREATION_DATA, TPM2B_DIGEST, TPMT_TK_CREATION, TPM2B_NAME. */
export function parseCreated(parameters: Uint8Array): TpmPublic {
  const reader = new ByteReader(parameters, 'created key');
  const area = readSized(reader, MAX_FIELD_BYTES, 'outPublic');
  readSized(reader, MAX_FIELD_BYTES, 'creationData');
  readSized(reader, MAX_FIELD_BYTES, 'creationHash');
  // Ticket: tag, hierarchy, digest.
  reader.u16be();
  reader.u32be();
  readSized(reader, MAX_FIELD_BYTES, 'creationTicket');
  readSized(reader, MAX_FIELD_BYTES, 'name');
  reader.end();
  return parseTpmtPublic(area);
}

/** The key at a persistent handle; undefined where there is none. */
export async function readPersistentKey(
  session: TpmSession,
  handle: number,
): Promise<AttestationKey | undefined> {
  const command: TpmCommand = {
    name: 'ReadPublic',
    code: CC.readPublic,
    handles: [handle],
    authorizations: 0,
    parameters: new Uint8Array(),
    responseHandles: 0,
  };
  try {
    const { parameters } = await session.run(command);
    const area = readEvidence('the persistent key', () => parseReadPublic(parameters));
    return attestationKey({ handle, area });
  } catch (error) {
    if (error instanceof TpmRefusal && error.isAbsent) return undefined;
    throw error;
  }
}

/** TPM2B_PUBLIC, name, qualified name. */
export function parseReadPublic(parameters: Uint8Array): TpmPublic {
  const reader = new ByteReader(parameters, 'public area');
  const area = readSized(reader, MAX_FIELD_BYTES, 'outPublic');
  readSized(reader, MAX_FIELD_BYTES, 'name');
  readSized(reader, MAX_FIELD_BYTES, 'qualifiedName');
  reader.end();
  return parseTpmtPublic(area);
}

/** A key that could sign what a quote only looks like would prove nothing, so it is not used. */
function attestationKey(key: AttestationKey): AttestationKey {
  try {
    checkAttestationAttributes(key.area);
    return key;
  } catch (error) {
    const handle = `0x${key.handle.toString(16)}`;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CollectError('EVIDENCE_MISMATCH', `key ${handle} of the TPM: ${reason}`, { cause: error });
  }
}

function flushContext(handle: number): TpmCommand {
  return {
    name: 'FlushContext',
    code: CC.flushContext,
    // The handle is a parameter here (part 3, section 28.4).
    handles: [],
    authorizations: 0,
    parameters: u32be(handle),
    responseHandles: 0,
  };
}
