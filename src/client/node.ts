/**
 * What the client has for Node alone: the quickest `connect`, receipts in a folder, and TLS keys that evidence vouches
 * for.
 */
export { connectOnNode as connect } from './connectOnNode.ts';
export { FolderReceiptStore } from './folderReceiptStore.ts';
export { EvidenceTls } from './evidenceTls.ts';
