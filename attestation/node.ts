/** The verifier with the cryptography of Node, which checks signatures several times as fast. */
export * from './index.ts';
export { nodeCrypto } from './crypto/node.ts';
