import { concat } from '../../../attestation/bytes/bytes.ts';

/** TPM_CC (TPM 2.0 Library part 2, section 6.5.2). */
export const CC = {
  nvUndefineSpace: 0x122,
  nvDefineSpace: 0x12a,
  createPrimary: 0x131,
  nvWrite: 0x137,
  nvRead: 0x14e,
  quote: 0x158,
  flushContext: 0x165,
  nvReadPublic: 0x169,
  readPublic: 0x173,
  getCapability: 0x17a,
  pcrRead: 0x17e,
} as const;

/** TPM_RH (part 2, section 7.4). */
export const RH = { owner: 0x40000001, endorsement: 0x4000000b } as const;
/** TPM_RS_PW: authorisation by password, in the clear (part 1, section 19.4). */
const PASSWORD_SESSION = 0x40000009;
/** TPM_ST (part 2, section 6.9). */
export const ST = { noSessions: 0x8001, sessions: 0x8002 } as const;

/** A command before it is encoded. */
export interface TpmCommand {
  /** Name of the specification, for messages. */
  readonly name: string;
  readonly code: number;
  readonly handles: readonly number[];
  /** How many of the handles, from the first, are authorised by the empty password. */
  readonly authorizations: 0 | 1;
  readonly parameters: Uint8Array;
  /** Handles in the response. */
  readonly responseHandles: 0 | 1;
}

export function u16be(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value);
}

export function u32be(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** TPM2B: a size of two bytes, then as many bytes. */
export function tpm2b(content: Uint8Array): Uint8Array {
  return concat(u16be(content.length), content);
}

export const EMPTY_2B: Uint8Array = u16be(0);

/** Handle, nonce, attributes and password of one password session with an empty password. */
const EMPTY_PASSWORD = concat(u32be(PASSWORD_SESSION), EMPTY_2B, Uint8Array.of(0), EMPTY_2B);

/** Tag, size, code, handles, authorisation area, parameters (part 1, section 18). */
export function encodeCommand({ code, handles, authorizations, parameters }: TpmCommand): Uint8Array {
  const authorized = authorizations > 0;
  const area = authorized ? [u32be(EMPTY_PASSWORD.length), EMPTY_PASSWORD] : [];
  const body = concat(u32be(code), ...handles.map(u32be), ...area, parameters);
  const tag = u16be(authorized ? ST.sessions : ST.noSessions);
  return concat(tag, u32be(tag.length + 4 + body.length), body);
}
