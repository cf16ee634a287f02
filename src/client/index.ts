/**
 * A client that judges a service's evidence before it sends anything, seals to the keys of that evidence only, and
 * checks the receipt of each answer. For any runtime with fetch and WebCrypto.
 */
export { connect, type ConnectOptions } from './connect.ts';
export type { BundleOptions, ClientRequest, Session, Verification } from './session.ts';
export type { FetchLike } from './sessionFetch.ts';
export type { ReceiptMode, VerifiedAnswer } from './receiptChecks.ts';
export {
  MemoryReceiptStore,
  type ReceiptRecord,
  type ReceiptStore,
  type StoreLimits,
} from './receiptStore.ts';
export { IndexedDbReceiptStore } from './indexedDbReceiptStore.ts';
export type { Answer, AnswerStream } from './answer.ts';
export { CLIENT_ERRORS, ClientError, type ClientErrorCode } from './errors.ts';
export type { Attestation } from './attestation.ts';
export type { OfferedModel } from './models.ts';
export type { Fetch } from './http.ts';
export * from '../../attestation/index.ts';
