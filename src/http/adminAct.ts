import type { IncomingMessage } from 'node:http';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { actSubject } from '../../attestation/receipt/record.ts';
import type { Service } from './service.ts';

/** Logs what whoever holds the admin key does with one thing, before it is done. `rule` names the act in the log. */
export async function recordAdminAct(
  { vouching }: Pick<Service, 'vouching'>,
  actor: string,
  rule: string,
  digest: Uint8Array,
): Promise<void> {
  const subject = actSubject([digest], nodeCrypto);
  await vouching.recordAct({ act: 'admin', actor, rule, subject, count: 1 });
}

/** Who asks with the admin key; throws where nobody does. */
export function adminOf({ gate }: Pick<Service, 'gate'>, request: IncomingMessage): string {
  return gate.requireAdminKey(request).name ?? 'admin';
}
