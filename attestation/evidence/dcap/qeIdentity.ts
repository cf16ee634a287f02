import * as z from 'zod';
import { fromHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import {
  HEAD_MEMBERS,
  hexBytes,
  levelSchema,
  levelsOf,
  readStatement,
  uintUpTo,
  verdictOf,
  type LevelVerdict,
  type StatementHead,
} from './statement.ts';
import { ENCLAVE_STATUSES, type EnclaveStatus } from './tcbStatus.ts';

const WHAT = 'QE identity';
/** Quoting enclaves of SGX and of TDX, and the enclave that verifies quotes, which signs none. */
const IDS = ['QE', 'TD_QE', 'QVE'] as const;

export type EnclaveId = (typeof IDS)[number];

/** Which enclave an identity is of and when it holds, before anything in it is trusted. */
export interface QeIdentityHead extends StatementHead {
  readonly id: EnclaveId;
}

export interface QeLevel extends LevelVerdict<EnclaveStatus> {
  readonly isvSvn: number;
}

/** What an enclave of Intel looks like, and which of its versions are good. */
export interface QeIdentity extends QeIdentityHead {
  /** 4 bytes each, as in memory. */
  readonly miscSelect: Uint8Array;
  readonly miscSelectMask: Uint8Array;
  /** 16 bytes each. */
  readonly attributes: Uint8Array;
  readonly attributesMask: Uint8Array;
  /** 32 bytes. */
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  /** Highest security version first. */
  readonly tcbLevels: readonly QeLevel[];
}

const head = { ...HEAD_MEMBERS, id: z.enum(IDS), version: z.literal(2) };
const headSchema = z.looseObject(head);
const u16 = uintUpTo(0xffff);
const schema = z.strictObject({
  ...head,
  miscselect: hexBytes(4),
  miscselectMask: hexBytes(4),
  attributes: hexBytes(16),
  attributesMask: hexBytes(16),
  mrsigner: hexBytes(32),
  isvprodid: u16,
  tcbLevels: levelsOf(levelSchema(z.strictObject({ isvsvn: u16 }), ENCLAVE_STATUSES)),
});

/** Reads of which enclave and time an identity is; the rest is not looked at. */
export function parseQeIdentityHead(value: unknown): QeIdentityHead {
  return headOf(readStatement(headSchema, value, WHAT));
}

/** Reads an enclave identity of version 2. */
export function parseQeIdentity(value: unknown): QeIdentity {
  const identity = readStatement(schema, value, WHAT);
  const levels = identity.tcbLevels.map((level) => ({ isvSvn: level.tcb.isvsvn, ...verdictOf(level) }));
  if (new Set(levels.map(({ isvSvn }) => isvSvn)).size !== levels.length) {
    throw new Refusal('MALFORMED', `${WHAT} has a TCB level twice`);
  }
  return {
    ...headOf(identity),
    miscSelect: fromHex(identity.miscselect),
    miscSelectMask: fromHex(identity.miscselectMask),
    attributes: fromHex(identity.attributes),
    attributesMask: fromHex(identity.attributesMask),
    mrSigner: fromHex(identity.mrsigner),
    isvProdId: identity.isvprodid,
    tcbLevels: levels.toSorted((a, b) => b.isvSvn - a.isvSvn),
  };
}

function headOf({ id, issueDate, nextUpdate, tcbEvaluationDataNumber }: QeIdentityHead): QeIdentityHead {
  return { id, issueDate, nextUpdate, tcbEvaluationDataNumber };
}
