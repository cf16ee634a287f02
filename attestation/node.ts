/** The verifier with the cryptography of Node, which checks signatures several times as fast. */
export * from './index.ts';
export { createNodeCrypto, nodeCrypto } from './crypto/node.ts';
