import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { appraiseEvidence } from '../../../attestation/appraise.ts';
import { MAX_NONCES } from '../../../attestation/binding.ts';
import { fromBase64Url, fromHex } from '../../../attestation/bytes/bytes.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { contextOf } from '../../support/world.ts';

/** As hardware takes: tens of milliseconds for a CPU report and for those of GPUs. */
const HARDWARE = { cpuDelayMs: 10, gpuDelayMs: 50 };

interface Answer {
  readonly document: string;
  readonly digest: string;
  readonly nonce: { readonly index: number; readonly count: number; readonly path: readonly string[] };
}

function begin(): Promise<TestService> {
  return startTestService({}, { world: { hardware: HARDWARE, selfCheck: {} } });
}

async function ask({ url }: TestService, nonce: Uint8Array): Promise<Answer> {
  const answer = await fetch(`${url}/v1/attestation?nonce=${Buffer.from(nonce).toString('hex')}`);
  expect(answer.status).toBe(200);
  return (await answer.json()) as Answer;
}

test('a hundred clients at once, each with a nonce of its own, share two or three documents, each with its proof', async () => {
  const service = await begin();
  const { log, collateral } = service.world;
  const nonces = Array.from({ length: 100 }, () => randomBytes(32));
  const answers = await Promise.all(nonces.map((nonce) => ask(service, nonce)));
  // The first nonce that arrives has a document begin; connections come one after the other.
  expect(log.documents.length - 1).toBeLessThanOrEqual(4);
  expect(new Set(answers.map(({ digest }) => digest)).size).toBe(log.documents.length - 1);
  for (const i of [0, 50, 99]) {
    const { document, nonce } = answers[i]!;
    const proof = { nonce: nonces[i]!, index: nonce.index, path: nonce.path.map(fromHex) };
    const { verdict } = await appraiseEvidence(fromBase64Url(document), proof, contextOf({ collateral }));
    expect(verdict.decision).toBe('accepted');
  }
});

test('all who wait for coverage share one document', async () => {
  const service = await begin();
  const { log } = service.world;
  const ids = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const answer = await service.post('/v1/embeddings', { model: 'fake', input: 'x' });
      await answer.arrayBuffer();
      return answer.headers.get('vouchsafe-receipt-id')!;
    }),
  );
  const before = log.documents.length;
  const statuses = await Promise.all(
    ids.map(async (id) => {
      const headers = { 'vouchsafe-fresh': '?1' };
      const bundle = await fetch(`${service.url}/v1/receipts/${id}/bundle`, { headers });
      await bundle.arrayBuffer();
      return bundle.status;
    }),
  );
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect(log.documents.length - before).toBe(1);
});

test('nonces beyond what one document answers are refused, and the service goes on', async () => {
  const service = await begin();
  const { vouching } = service.world;
  const first = vouching.attest(randomBytes(32));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const waiting = Array.from({ length: MAX_NONCES }, () => vouching.attest(randomBytes(32)));
  const url = `${service.url}/v1/attestation?nonce=${randomBytes(32).toString('hex')}`;
  const refused = await fetch(url);
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
  expect(await refused.json()).toMatchObject({ error: { code: 'TOO_MANY_NONCES' } });
  const answers = await Promise.all([first, ...waiting]);
  expect(answers.at(-1)).toMatchObject({ index: MAX_NONCES - 1, count: MAX_NONCES });
  expect((await fetch(url)).status).toBe(200);
});

test('clients who go away leave no work behind', async () => {
  const service = await begin();
  const before = service.world.log.documents.length;
  const gone = Array.from({ length: 50 }, async () => {
    const abort = new AbortController();
    const url = `${service.url}/v1/attestation?nonce=${randomBytes(32).toString('hex')}`;
    const asking = fetch(url, { signal: abort.signal });
    setTimeout(() => {
      abort.abort();
    }, 15);
    await asking.catch(() => undefined);
  });
  await Promise.all(gone);
  await ask(service, randomBytes(32));
  expect(service.world.log.documents.length - before).toBeLessThanOrEqual(4);
});
