/** What the client has for Node alone: receipts in a folder, and TLS keys that evidence vouches for. */
export { FolderReceiptStore } from './folderReceiptStore.ts';
export { EvidenceTls } from './evidenceTls.ts';
