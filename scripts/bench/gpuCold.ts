// Prints how many milliseconds the first verification takes in a process that did nothing before.
import { readFileSync } from 'node:fs';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { readTravellingCase } from './browserCase.ts';
import { gpuEvidence, verifyGpu } from './gpuVerification.ts';

const evidence = gpuEvidence(readTravellingCase(readFileSync(0, 'utf8')));
const started = performance.now();
await verifyGpu(evidence, nodeCrypto);
process.stdout.write(String(performance.now() - started));
