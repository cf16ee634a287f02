import { createHash, randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { type AciBound, bindAciReport, parseAciReport } from '../../../attestation/aci/report.ts';
import { aciBodyHash, parseAciReceipt, verifyAciReceipt } from '../../../attestation/aci/receipt.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import { appraiseCpu } from '../../../attestation/evidence/cpu.ts';
import { appraiseEvidence } from '../../../attestation/appraise.ts';
import { encodeDocument } from '../../../attestation/evidence/document.ts';
import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';
import { AciPlatformError, describeEvidence } from '../../../src/receipts/aci/describe.ts';
import { AciQuotes } from '../../../src/receipts/aci/quotes.ts';
import { AciReceiptStore } from '../../../src/receipts/aci/receiptStore.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import { apiKey, startTestService, testConfig, type TestService } from '../../support/service.ts';
import { contextOf, failures, NOW } from '../../support/world.ts';

const [alice, bob] = ['alice', 'bob'].map(apiKey) as [ReturnType<typeof apiKey>, ReturnType<typeof apiKey>];
const collector = await createSimulatedCollector({ now: () => new Date(NOW) });
const COMPLETION = { model: 'fake', prompt: 'one two three', max_tokens: 3 };

let service: TestService;
beforeEach(async () => {
  service = await startTestService(
    { aci: { enabled: true }, keys: { required: 'always', apiKeys: [alice.entry, bob.entry] } },
    { world: { collector } },
  );
});

const as = ({ key }: { readonly key: string }) => ({ authorization: `Bearer ${key}` });
const get = (path: string, headers: Record<string, string> = as(alice)) =>
  fetch(service.url + path, { headers });
const ask = (body: unknown, path = '/v1/completions') => service.post(path, body, as(alice));
const sha256 = (bytes: Uint8Array | string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const codeOf = async (answer: Response) =>
  ((await answer.json()) as { error: { code: string; type: string } }).error;

/** What a client of ACI does before it sends: the quote is judged by the verifier of our own evidence. */
async function attested(nonce: string | null): Promise<AciBound> {
  const answer = await get(`/v1/aci/attestation${nonce === null ? '' : `?nonce=${nonce}`}`, {});
  expect(answer.status).toBe(200);
  const report = parseAciReport(new Uint8Array(await answer.arrayBuffer()));
  expect(report.attestation.evidence['hardware']).toBe('SIMULATED');
  expect(report.service_capabilities).toEqual({ supported_e2ee_versions: [], serving: 'direct' });
  const bound = bindAciReport(report, nonce, NOW, nodeCrypto);
  const { checks } = await appraiseCpu(
    bound.cpu,
    bound.reportData,
    'cpu',
    contextOf({ collateral: service.world.collateral }),
  );
  expect(checks.filter(({ result }) => result === 'fail')).toEqual([]);
  expect(checks.find(({ id }) => id === 'cpu.binding')?.result).toBe('pass');
  return bound;
}

describe('ACI, where it is on', () => {
  test('a report binds its keyset to the nonce of the asker by a CPU report of its own', async () => {
    const nonce = randomBytes(32).toString('hex');
    const { keyset, reportData } = await attested(nonce);
    expect([...reportData.subarray(32)]).toEqual(Array(32).fill(0));
    expect(keyset.not_after).toBe(service.world.keys.keyset.notAfter);
    expect(keyset.e2ee_public_keys[0]?.public_key).toBe(
      Buffer.from(service.world.keys.keyset.hpke[0]!.publicKey).toString('hex'),
    );
    await attested(null);
  });

  test.each(['', 'AB'.repeat(32), 'ab'.repeat(31), `${'ab'.repeat(32)}&nonce=${'ab'.repeat(32)}`])(
    'the nonce %p is refused',
    async (nonce) => {
      const answer = await get(`/v1/aci/attestation?nonce=${nonce}`, {});
      expect([answer.status, (await codeOf(answer)).type]).toEqual([400, 'invalid_request_error']);
    },
  );

  test('an answer, its stream and its errors have receipts over the bytes that went over the wire', async () => {
    const { keyset } = await attested(null);
    const bodies = [
      COMPLETION,
      { ...COMPLETION, provider: { aci_verified: true } },
      { ...COMPLETION, stream: true },
      { ...COMPLETION, temperature: 9 },
    ];
    for (const body of bodies) {
      const text = JSON.stringify(body);
      const answer = await ask(text);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      const id = answer.headers.get('x-receipt-id') ?? '';
      expect(answer.headers.get('x-aci-version')).toBe('aci/1');
      const kept = await get(`/v1/aci/receipts/${id}`);
      const receipt = parseAciReceipt(new Uint8Array(await kept.arrayBuffer()));
      await verifyAciReceipt(receipt, keyset, nodeCrypto);
      expect(answer.headers.get('x-aci-keyset-digest')).toBe(receipt.workload_keyset_digest);
      expect(aciBodyHash(receipt, 'request.received')).toBe(sha256(text));
      expect(aciBodyHash(receipt, 'request.forwarded')).toBe(answer.ok ? sha256(text) : undefined);
      expect(aciBodyHash(receipt, 'response.returned')).toBe(sha256(bytes));
      expect(receipt).toMatchObject({
        endpoint: '/v1/completions',
        method: 'POST',
        model: 'fake',
        chat_id: answer.ok ? `cmpl-${id}` : null,
      });
      const ours = await get(`/v1/receipts/${id}`);
      expect(receipt.event_log.at(-1)).toEqual({
        type: 'vouchsafe.receipt',
        receipt_digest: sha256(new Uint8Array(await ours.arrayBuffer())),
        log_origin: service.world.keys.keyset.origin,
        log_index: service.world.vouching.indexOf(id, 'alice'),
      });
      if (answer.ok) expect((await get(`/v1/aci/receipts/cmpl-${id}`)).status).toBe(200);
    }
  });

  test('a receipt is for the key that made the request, and looks unknown to any other', async () => {
    const answer = await ask({ model: 'fake', input: 'hello' }, '/v1/embeddings');
    await answer.arrayBuffer();
    const path = `/v1/aci/receipts/${answer.headers.get('x-receipt-id') ?? ''}`;
    const none = await get(path, {});
    expect([none.status, (await codeOf(none)).type]).toEqual([401, 'unauthorized']);
    for (const headers of [as(bob), { authorization: 'Bearer nobody' }]) {
      const other = await get(path, headers);
      expect([other.status, (await codeOf(other)).type]).toEqual([404, 'not_found']);
    }
    expect((await get('/v1/aci/receipts/xyz')).status).toBe(404);
    expect((await get(path)).status).toBe(200);
  });

  test('constraints that a service without sessions cannot keep are refused, with a receipt', async () => {
    const session = 'ab'.repeat(32);
    const cases = [
      [{ aci_session_ids: [session] }, 412, 'session_not_accepted'],
      [{ aci_verified: true, aci_session_ids: [session] }, 412, 'session_not_accepted'],
      [{ aci_verified: false, aci_session_ids: [session] }, 400, 'invalid_request_error'],
      [{ aci_session_ids: [] }, 400, 'invalid_request_error'],
      [{ aci_verified: 'yes' }, 400, 'invalid_request_error'],
      [{ aci_verify: true }, 400, 'invalid_request_error'],
      ['direct', 400, 'invalid_request_error'],
    ] as const;
    for (const [provider, status, type] of cases) {
      const answer = await ask({ ...COMPLETION, provider });
      expect([answer.status, (await codeOf(answer)).type]).toEqual([status, type]);
      const kept = await get(`/v1/aci/receipts/${answer.headers.get('x-receipt-id') ?? ''}`);
      const receipt = parseAciReceipt(new Uint8Array(await kept.arrayBuffer()));
      expect(aciBodyHash(receipt, 'request.forwarded')).toBeUndefined();
    }
  });

  test('new keys give a new keyset, under which new receipts are signed', async () => {
    const before = await attested(null);
    await service.world.vouching.rotateKeys();
    const after = await attested(null);
    expect(after.keyset.receipt_signing_keys).not.toEqual(before.keyset.receipt_signing_keys);
    const answer = await ask(COMPLETION);
    await answer.arrayBuffer();
    const kept = await get(`/v1/aci/receipts/${answer.headers.get('x-receipt-id') ?? ''}`);
    const receipt = parseAciReceipt(new Uint8Array(await kept.arrayBuffer()));
    await verifyAciReceipt(receipt, after.keyset, nodeCrypto);
    await expect(verifyAciReceipt(receipt, before.keyset, nodeCrypto)).rejects.toMatchObject({
      code: 'KEYSET_MISMATCH',
    });
  });

  test('a quote that was made for ACI never passes for evidence of ours, nor ours for ACI', async () => {
    const nonce = randomBytes(32).toString('hex');
    const { cpu, reportData } = await attested(nonce);
    const { encoded } = service.world.vouching.head;
    const { keyset, statement, devices, cpu: ours } = parseDocument(encoded);
    const swapped = encodeDocument({
      keyset,
      statement,
      cpu,
      devices,
      bootLog: undefined,
      timeAnchor: undefined,
    });
    const { verdict } = await appraiseEvidence(
      swapped,
      undefined,
      contextOf({ policy: { ...contextOf().policy, nonce: 'optional' } }),
    );
    expect(failures(verdict)).toContain('cpu: cpu.binding BINDING_MISMATCH');
    const { checks } = await appraiseCpu(
      ours,
      reportData,
      'cpu',
      contextOf({ collateral: service.world.collateral }),
    );
    expect(checks.find(({ id }) => id === 'cpu.binding')?.code).toBe('BINDING_MISMATCH');
  });
});

describe('ACI, where it cannot be', () => {
  test('off, its paths say so, its headers are absent and its members are unknown', async () => {
    const plain = await startTestService({}, { world: { collector } });
    expect((await codeOf(await fetch(`${plain.url}/v1/aci/attestation`))).code).toBe('ACI_OFF');
    const answer = await plain.post('/v1/completions', { ...COMPLETION, provider: { aci_verified: true } });
    expect([answer.status, answer.headers.get('x-aci-version')]).toEqual([400, null]);
  });

  test('several processes or no receipts are refused by the configuration', () => {
    const aci = { enabled: true };
    const refused = expect.objectContaining({ code: 'ACI_UNSUPPORTED' });
    expect(() => testConfig({ aci, server: { processes: 2 } })).toThrow(refused);
    expect(() => testConfig({ aci, receipts: { enabled: false } })).toThrow(refused);
  });

  test('a platform of which ACI knows no report is named', () => {
    const cpu: CpuEvidence = { platform: 'nitro', report: new Uint8Array(1) };
    expect(() => describeEvidence(cpu, new Uint8Array(64), false)).toThrow(AciPlatformError);
    const quote = { platform: 'tdx', report: Uint8Array.of(1, 2) } as const;
    const { teeType, evidence } = describeEvidence(quote, new Uint8Array(64), false);
    expect([teeType, evidence]).toEqual([
      'tdx',
      { hardware: 'hardware', quote: '0102', quote_report_data: '00'.repeat(64) },
    ]);
  });

  test('at most one CPU report is under way, a bounded number wait, and one that fails harms no other', async () => {
    let under = 0;
    let most = 0;
    const quotes = new AciQuotes(async (reportData) => {
      most = Math.max(most, ++under);
      await new Promise(setImmediate);
      under--;
      if (reportData[0] === 1) throw new Error('no device');
      return { platform: 'tdx', report: reportData };
    });
    const asked = Array.from({ length: 65 }, (_, i) => quotes.quote(Uint8Array.of(i)));
    const results = await Promise.allSettled(asked);
    const codes = results.map((result) =>
      result.status === 'rejected' ? (result.reason as { code: string }).code : 'ok',
    );
    expect([codes[0], codes[1], codes[63], codes[64]]).toEqual([
      'ok',
      'EVIDENCE_UNAVAILABLE',
      'ok',
      'TOO_MANY_NONCES',
    ]);
    expect(most).toBe(1);
  });

  test('receipts end after an hour, also where the clock goes back', async () => {
    let now = NOW;
    const store = new AciReceiptStore(() => now);
    const bytes = Promise.resolve(Uint8Array.of(1));
    store.put('a', undefined, bytes);
    expect(await store.find('a', undefined)).toBeDefined();
    now += 3_600_000;
    expect(await store.find('a', undefined)).toBeUndefined();
    store.put('b', undefined, bytes);
    now -= 10_000;
    expect(await store.find('b', undefined)).toBeUndefined();
  });
});
