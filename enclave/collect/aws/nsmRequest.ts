import { concat } from '../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { CollectError } from '../errors.ts';
import { encodeAttestation } from '../nsm/messages.ts';
import { readEvidence } from '../reading.ts';
import type { TpmCommand } from '../tpm/command.ts';
import { defineNv, NV, nvText, readNv, readNvPublic, undefineNv, writeNv, type NvPublic } from '../tpm/nv.ts';
import type { TpmSession } from '../tpm/session.ts';

/** TPM2_VENDOR_AWS_NSM_REQUEST (aws/NitroTPM-Tools, nitro-tpm-attest). */
export const NSM_REQUEST = 0x20000001;
/**
 * The message buffer: AWS's tool takes any free index with these attributes and this size, and an empty password does
 * as well as its own. One in the range of the owner is ours (TCG registry of reserved handles: 0x01800000 to
 * 0x01bfffff), so that one which a crash left is found again.
 */
export const MESSAGE_BUFFER: NvPublic = {
  index: 0x01b0f5a3,
  attributes: NV.authRead | NV.authWrite,
  size: 8192,
};

/** An attestation document of NitroTPM with the user data; what it says is not looked at here. */
export async function requestDocument(session: TpmSession, userData: Uint8Array): Promise<Uint8Array> {
  await clearBuffer(session);
  await defineNv(session, MESSAGE_BUFFER);
  try {
    await writeNv(session, MESSAGE_BUFFER, encodeAttestation({ userData }));
    await session.run(NSM_COMMAND);
    const answer = await readNv(session, MESSAGE_BUFFER.index, MESSAGE_BUFFER.size);
    if (!answer)
      throw new CollectError('EVIDENCE_MALFORMED', 'NitroTPM left no answer in the message buffer');
    return readEvidence('the answer of NitroTPM', () => parseAnswer(answer));
  } finally {
    // An error of the request says more; the next request clears what is left.
    await undefineNv(session, MESSAGE_BUFFER.index).catch(() => undefined);
  }
}

/** The handles: who authorises, and the buffer that the answer replaces the request in. */
const NSM_COMMAND: TpmCommand = {
  name: 'VENDOR_AWS_NSM_REQUEST',
  code: NSM_REQUEST,
  handles: [MESSAGE_BUFFER.index, MESSAGE_BUFFER.index],
  authorizations: 1,
  parameters: new Uint8Array(),
  responseHandles: 0,
};

/** Ends with a buffer that an earlier process left. Another program's index is not touched. */
async function clearBuffer(session: TpmSession): Promise<void> {
  const found = await readNvPublic(session, MESSAGE_BUFFER.index);
  if (!found) return;
  const { attributes, size } = MESSAGE_BUFFER;
  if (found.size === size && (found.attributes & ~NV.written) === attributes) {
    await undefineNv(session, MESSAGE_BUFFER.index);
    return;
  }
  throw new CollectError(
    'DEVICE_REFUSED',
    `NV index ${nvText(MESSAGE_BUFFER.index)} is in use by another program: remove it with tpm2_nvundefine`,
  );
}

/** Heads of CBOR (RFC 8949 section 3): major type in the upper three bits. */
const MAJOR = { bytes: 2, text: 3, map: 5 } as const;
const MAX_DOCUMENT_BYTES = 17 * 1024;
const MAX_NAME_BYTES = 64;

/**
 * The document in `{"Attestation": {"document": bytes}}`, of definite lengths as AWS's API encodes it. The rest of the
 * buffer is whatever was there before, and is passed over. `{"Error": name}` is a refusal.
 */
export function parseAnswer(buffer: Uint8Array): Uint8Array {
  const reader = new ByteReader(buffer, 'answer');
  openMap(reader);
  const name = readText(reader);
  if (name === 'Error') {
    throw new CollectError(
      'DEVICE_REFUSED',
      `NitroTPM answered with the error ${JSON.stringify(readText(reader))}`,
    );
  }
  if (name !== 'Attestation') throw new Refusal('MALFORMED', 'it is no answer to an attestation request');
  openMap(reader);
  if (readText(reader) !== 'document') throw new Refusal('MALFORMED', 'it has no document');
  const document = reader.take(readLength(reader, MAJOR.bytes, MAX_DOCUMENT_BYTES));
  if (document.length === 0) throw new Refusal('MALFORMED', 'its document is empty');
  return concat(document);
}

/** A map of one pair. */
function openMap(reader: ByteReader): void {
  if (readLength(reader, MAJOR.map, 1) !== 1) throw new Refusal('MALFORMED', 'it has an empty map');
}

function readText(reader: ByteReader): string {
  const bytes = reader.take(readLength(reader, MAJOR.text, MAX_NAME_BYTES));
  return String.fromCharCode(...bytes);
}

/** Argument of a head of this major type; indefinite lengths are refused. */
function readLength(reader: ByteReader, major: number, maximum: number): number {
  const initial = reader.u8();
  if (initial >> 5 !== major)
    throw new Refusal('MALFORMED', `it has an item of type ${initial >> 5}, not ${major}`);
  const info = initial & 0x1f;
  const length = info < 24 ? info : readArgument(reader, info);
  if (length > maximum) throw new Refusal('MALFORMED', `it has an item of length ${length}`);
  return length;
}

function readArgument(reader: ByteReader, info: number): number {
  if (info === 24) return reader.u8();
  if (info === 25) return reader.u16be();
  if (info === 26) return reader.u32be();
  throw new Refusal('MALFORMED', `it has a length of form ${info}`);
}
