// Entry of an engine process without a runtime: every embedding is zeros. What goes wrong here goes wrong in hardware,
// and most of the time that a service takes to start is the runtime's.
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import process from 'node:process';

const DIMENSIONS = 100;

function loaded({ id }) {
  const manifest = Buffer.from(id);
  return {
    id,
    tasks: ['embed'],
    inputs: [],
    outputs: [],
    manifest: new Uint8Array(manifest),
    manifestDigest: new Uint8Array(createHash('sha256').update(manifest).digest()),
    providers: ['CPUExecutionProvider'],
    maxTokens: 512,
    dimensions: DIMENSIONS,
  };
}

function answer(message) {
  if (message.kind === 'load') return { kind: 'loaded', models: message.models.map(loaded), failures: [] };
  const vectors = message.texts.map(() => new Float32Array(DIMENSIONS));
  return { kind: 'done', id: message.id, result: { vectors, tokens: message.texts.map(() => 1) } };
}

process.on('message', (messages) => process.send(messages.map(answer)));
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
