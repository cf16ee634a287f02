import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { CollectError, type CollectErrorCode } from '../errors.ts';
import { ST, type TpmCommand } from './command.ts';
import { readEvidence } from '../reading.ts';

/** TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_RETRY (part 2, section 6.6): the same command may work a moment later. */
const RETRY: readonly number[] = [0x908, 0x90a, 0x922];
/** TPM_RC_HANDLE for the first handle: there is no such object or NV index. */
const NO_SUCH_HANDLE = 0x18b;
/** TPM_RC_BAD_AUTH and TPM_RC_AUTH_FAIL for the first session, and TPM_RC_LOCKOUT. */
const WRONG_PASSWORD: readonly number[] = [0x9a2, 0x98e, 0x921];
/** Longest password or HMAC in an answer. */
const MAX_AUTHORIZATION_BYTES = 64;

/** A response whose code says success. */
export interface TpmResponse {
  readonly handles: readonly number[];
  readonly parameters: Uint8Array;
}

/** The TPM, its driver or the kernel's resource manager said no. */
export class TpmRefusal extends CollectError {
  readonly responseCode: number;

  constructor(command: string, responseCode: number) {
    const code = `0x${responseCode.toString(16).padStart(3, '0')}`;
    super(codeOf(responseCode), `TPM2_${command} was refused with ${code}${meaningOf(responseCode)}`);
    this.name = 'TpmRefusal';
    this.responseCode = responseCode;
  }

  get isAbsent(): boolean {
    return this.responseCode === NO_SUCH_HANDLE;
  }
}

function codeOf(responseCode: number): CollectErrorCode {
  if (RETRY.includes(responseCode)) return 'DEVICE_BUSY';
  return WRONG_PASSWORD.includes(responseCode) ? 'PERMISSION_DENIED' : 'DEVICE_REFUSED';
}

function meaningOf(responseCode: number): string {
  if (responseCode === NO_SUCH_HANDLE) return ' (no such handle)';
  return WRONG_PASSWORD.includes(responseCode) ? ' (a password is set that is not known here)' : '';
}

export function isRetry(error: unknown): error is TpmRefusal {
  return error instanceof TpmRefusal && RETRY.includes(error.responseCode);
}

/**
 * Handles and parameters of a response (part 1, section 18.6): tag, size, code; on success handles and, where the
 * command was authorised, the size of the parameters, the parameters, and an authorisation area. A host that writes
 * the response can say no, or lie in the parameters; it can reach nothing behind the bytes that came.
 */
export function parseResponse(bytes: Uint8Array, command: TpmCommand): TpmResponse {
  return readEvidence(`the response to TPM2_${command.name}`, () => readResponse(bytes, command));
}

function readResponse(bytes: Uint8Array, command: TpmCommand): TpmResponse {
  const reader = new ByteReader(bytes, 'TPM response');
  const tag = reader.u16be();
  if (reader.u32be() !== bytes.length) {
    throw new Refusal('MALFORMED', `its size is not the ${bytes.length} bytes that came`);
  }
  const code = reader.u32be();
  if (code !== 0) return refuse(tag, code, reader, command);
  const expected = command.authorizations > 0 ? ST.sessions : ST.noSessions;
  if (tag !== expected) {
    throw new Refusal('MALFORMED', `its tag is 0x${tag.toString(16)}, not 0x${expected.toString(16)}`);
  }
  const handles = Array.from({ length: command.responseHandles }, () => reader.u32be());
  const parameters = reader.take(command.authorizations > 0 ? reader.u32be() : reader.remaining);
  if (command.authorizations > 0) readAuthorization(reader);
  reader.end();
  return { handles, parameters };
}

/** An error has no sessions and nothing behind the code. */
function refuse(tag: number, code: number, reader: ByteReader, { name }: TpmCommand): never {
  if (tag !== ST.noSessions) {
    throw new Refusal('MALFORMED', `its tag is 0x${tag.toString(16)}: no TPM 2.0 answers so`);
  }
  reader.end();
  throw new TpmRefusal(name, code);
}

/** Nonce, attributes and password: a password session has the two sized fields empty. */
function readAuthorization(reader: ByteReader): void {
  for (const field of ['nonce', 'password']) {
    const size = reader.u16be();
    if (size > MAX_AUTHORIZATION_BYTES) throw new Refusal('MALFORMED', `its ${field} has ${size} bytes`);
    reader.take(size);
    if (field === 'nonce') reader.u8();
  }
}
