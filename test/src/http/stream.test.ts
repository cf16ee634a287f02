import { describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkResponse } from '../../../attestation/receipt/opening.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import { VouchingError } from '../../../src/receipts/errors.ts';
import { issuedClaims, startTestService, until } from '../../support/service.ts';

describe('a stream', () => {
  const STREAM = {
    model: 'fake',
    prompt: 'one two three',
    stream: true,
    stream_options: { include_usage: true },
  };

  test('begins with the key, and its receipt follows [DONE]', async () => {
    const service = await startTestService();
    const answer = await service.post('/v1/completions', STREAM);
    expect(answer.headers.get('content-type')).toBe('text/event-stream');
    const text = await answer.text();
    const [first, ...events] = text.split('\n\n').filter((event) => event !== '');
    expect(first).toMatch(/^: vouchsafe-commitment-key [A-Za-z0-9_-]{43}$/);
    const k = Buffer.from(first!.split(' ')[2]!, 'base64url');
    expect(answer.headers.get('vouchsafe-commitment-key')).toBe(k.toString('base64url'));
    const last = events.pop()!;
    expect(last).toMatch(/^event: vouchsafe\.receipt\ndata: /);
    const event = JSON.parse(last.split('\ndata: ')[1]!) as { id: string; receipt: string };
    expect(event.id).toBe(answer.headers.get('vouchsafe-receipt-id'));
    const chunks = events.map((chunk) => chunk.replace(/^data: /, ''));
    expect(chunks.at(-1)).toBe('[DONE]');
    const { claims } = parseReceipt(Buffer.from(event.receipt, 'base64url'));
    checkResponse(claims, { k, chunks: chunks.map((chunk) => Buffer.from(chunk)) }, nodeCrypto);
    const values = chunks
      .slice(0, -1)
      .map((chunk) => JSON.parse(chunk) as { choices: { text: string }[]; usage: unknown });
    expect(values.flatMap(({ choices }) => choices.map((choice) => choice.text))).toEqual([
      'one',
      'two',
      'three',
      '',
    ]);
    expect(values.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 6 } });
    expect(claims.parameters).toEqual(
      new Map([
        ['max_tokens', '16'],
        ['temperature', '0'],
        ['stream', 'true'],
      ]),
    );
  });

  test('that fails ends with the error, which the receipt covers', async () => {
    const service = await startTestService();
    service.engine.failure = 'ENGINE_FAILED';
    const text = await (await service.post('/v1/completions', STREAM)).text();
    expect(text).not.toContain('[DONE]');
    expect(text).toMatch(/data: \{"error":\{.*"code":"ENGINE_FAILED"\}\}\n\nevent: vouchsafe\.receipt\n/);
    const [claims] = issuedClaims(service);
    expect(claims).toMatchObject({
      outcome: 'error',
      reason: 'ENGINE_FAILED',
      response: { kind: 'stream', count: 2 },
    });
  });

  test('that fails before its first token is a plain refusal', async () => {
    const service = await startTestService();
    service.engine.failure = 'INVALID_INPUT';
    const answer = await service.post('/v1/completions', { ...STREAM, prompt: 'one' });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([400, 'application/json']);
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'refused', response: { kind: 'body' } }]);
  });

  test('whose client goes away has a receipt of what was sent', async () => {
    const service = await startTestService();
    service.engine.held = true;
    const controller = new AbortController();
    const answer = await fetch(`${service.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(STREAM),
      signal: controller.signal,
    });
    await answer.body!.getReader().read();
    controller.abort();
    await until(() => issuedClaims(service).length === 1);
    expect(issuedClaims(service)[0]).toMatchObject({
      outcome: 'aborted',
      reason: 'CANCELLED',
      response: { kind: 'stream', count: 1 },
    });
  });

  test('without a receipt never says [DONE]', async () => {
    const service = await startTestService();
    service.engine.held = true;
    const answer = await service.post('/v1/completions', STREAM);
    service.world.vouching.issue = () =>
      Promise.reject(new VouchingError('ISSUING_STOPPED', 'the disk is gone'));
    service.engine.release();
    const text = await answer.text();
    expect(text).not.toContain('[DONE]');
    expect(text).toContain('NOT_VOUCHING');
  });
});
