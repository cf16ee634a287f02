import { createHash } from 'node:crypto';
import type { CryptoProvider, SignatureScheme } from '../../attestation/crypto/provider.ts';

/**
 * The same provider, which verifies no signature twice: the answer for one key, data, signature and scheme never
 * changes. For suites that judge one piece of evidence many times, with a small change each.
 */
export function verifyOnce(crypto: CryptoProvider): CryptoProvider {
  const answers = new Map<string, Promise<boolean>>();
  const inner = crypto.forOneVerification?.() ?? crypto;
  const once: CryptoProvider = {
    ...crypto,
    verify(scheme, spki, data, signature) {
      const question = questionOf(scheme, [spki, data, signature]);
      let answer = answers.get(question);
      if (!answer) {
        answer = inner.verify(scheme, spki, data, signature);
        answers.set(question, answer);
      }
      return answer;
    },
    forOneVerification: () => once,
  };
  return once;
}

function questionOf(scheme: SignatureScheme, parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256').update(JSON.stringify(scheme));
  for (const part of parts) hash.update(`:${part.length}:`).update(part);
  return hash.digest('base64');
}
