import { encodeDocument, parseDocument } from '../../../attestation/evidence/document.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { encodeDisclosure } from '../../../attestation/receipt/disclosure.ts';
import { openItems } from '../../../attestation/receipt/openItems.ts';
import { issueKept, makeChunks, TENANT } from '../../support/keptExchange.ts';
import { mintOrganisation, stateFor } from '../../support/operatorAuthority.ts';
import { makeWorld } from '../../support/world.ts';
import type { Sample } from './inspectSamples.ts';

/** Disclosures and what an operator says. */
export async function disclosureSamples(): Promise<readonly Sample[]> {
  const world = await makeWorld();
  const { bundle, claims, kept, issued } = await issueKept(world, { chunks: makeChunks(9) });
  const all = { request: true, parameters: ['stop'], tenant: true, chunks: { start: 2, end: 5 } } as const;
  const whole = openItems(claims, kept, all, nodeCrypto);
  const few = openItems(claims, kept, { request: true }, nodeCrypto);
  const example = mintOrganisation('Example GmbH');
  const statement = stateFor(example, world.keyring.keyset.instance);
  const document = { ...parseDocument(world.vouching.head.encoded), operator: statement };
  return [
    { name: 'disclosure', kind: 'disclosure', bytes: encodeDisclosure({ source: { kind: 'bundle', bytes: bundle }, ...whole }), says: ['secret question', 'parameter stop', TENANT, '2 to 4', 'chunk 4', 'receipt claims', 'cited document'] },
    { name: 'disclosure of a receipt', kind: 'disclosure', bytes: encodeDisclosure({ source: { kind: 'receipt', bytes: issued.encoded }, ...few }), says: ['secret question', 'receipt claims'] },
    { name: 'operator statement', kind: 'operator-statement', bytes: statement, says: ['Example GmbH', 'We operate this service', 'O=Example GmbH'] },
    { name: 'document with an operator', kind: 'document', bytes: encodeDocument(document), says: ['operator statement', 'Example GmbH'] },
  ]; // prettier-ignore
}
