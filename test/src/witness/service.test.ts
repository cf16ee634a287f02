import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { createServiceLog } from '../../../src/http/logging.ts';
import { startService } from '../../../src/main.ts';
import { childEntry } from '../../support/engine.ts';
import { startTestWitness, startTimestampServer } from '../../support/outsiders.ts';
import { makeFolder, testConfig } from '../../support/service.ts';
import { contextOf, policyOf } from '../../support/world.ts';

interface Ready {
  readonly anchoring: { readonly anchored_entries: number; readonly pending_seconds: number };
}

/** The whole service from its configuration; the witness asks it for the key of its log. */
test('a configured service is witnessed, and its folder keeps anchors and collateral', async () => {
  const folder = await makeFolder();
  const witness = await startTestWitness(['# not yet']);
  const service = await startService(
    testConfig({
      data: { directory: folder },
      engine: { provider: 'cpu', threads: 1 },
      witnesses: { list: [{ url: witness.url, vkey: witness.vkey }] },
      timestamps: { authorities: [await startTimestampServer(Date.now)] },
    }),
    {
      log: createServiceLog({ level: 'error', format: 'json' }),
      notice: () => undefined,
      childEntry: childEntry(),
      signs: [],
    },
  );
  try {
    await writeFile(witness.logs, `service ${service.url}\n`);
    const answer = await fetch(`${service.url}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'vouchsafe-fresh': '?1' },
      body: JSON.stringify({ model: 'glove-sif-100d', input: 'hello' }),
    });
    expect(answer.status).toBe(200);
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    const readBundle = async () => {
      const response = await fetch(`${service.url}/v1/receipts/${id}/bundle`);
      return new Uint8Array(await response.arrayBuffer());
    };
    const isAnchored = async () => {
      const { anchoring } = (await (await fetch(`${service.url}/readyz`)).json()) as Ready;
      return anchoring.anchored_entries > 0 && anchoring.pending_seconds === 0;
    };
    while (!(await isAnchored())) await new Promise((resolve) => setTimeout(resolve, 20));
    const bundle = await readBundle();
    expect(parseBundle(bundle).witnessed?.tokens).toHaveLength(1);
    const policy = policyOf({ witnesses: { quorum: 1, keys: [witness.vkey] } });
    const { verdict } = await appraiseBundle(bundle, {}, contextOf({ policy, now: Date.now() }));
    expect(verdict.checks.find((check) => check.id === 'log.witnesses')).toMatchObject({ result: 'pass' });
    expect(verdict.upper).toBeDefined();
  } finally {
    await service.stop();
  }
  const [instance] = await readdir(join(folder, 'instances'));
  const below = (name: string) => readdir(join(folder, 'instances', instance!, name));
  expect((await below('anchors')).length).toBeGreaterThan(0);
  expect(await below('collateral')).toHaveLength(1);
  const evidence = await below('evidence');
  const documents = evidence.filter((name) => name.endsWith('.cbor'));
  expect(evidence.filter((name) => name.endsWith('.collateral'))).toHaveLength(documents.length);
});
