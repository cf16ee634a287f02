import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../attestation/node.ts';
import { chat } from '../../examples/chat.ts';
import { charactersIn, ocr } from '../../examples/ocr.ts';
import { langchain } from '../../examples/langchain.ts';
import { fetchedModels, OCR, VAD, type ModelPackage } from '../../examples/packages.ts';
import { servePage } from '../../examples/page.ts';
import { search } from '../../examples/search.ts';
import { startService, type ExampleService } from '../../examples/service.ts';
import { vad } from '../../examples/vad.ts';
import { ClientError, connect, DEFAULT_POLICY, SIMULATED_POLICY } from '../../src/client/index.ts';
import type { Fetch, Session, VerifiedAnswer } from '../../src/client/index.ts';
import { hasChromium, launchChromium } from '../../scripts/bench/chromium.ts';
import { SHIPPED_MODELS } from '../support/store.ts';

const ACCEPTED = /^verdict +ACCEPTED, but the cpu and gpu are SIMULATED: proves nothing .* 0 failed/m;

/** A session of the examples and everything that they print. */
function open(url: string, fetch?: Fetch): Promise<Session> {
  return connect(url, { policy: SIMULATED_POLICY, crypto: nodeCrypto, ...(fetch ? { fetch } : {}) });
}

function page(): { print: (text: string) => void; text: () => string } {
  let printed = '';
  return { print: (text) => (printed += text), text: () => printed };
}

describe('examples with the shipped models', () => {
  let service: ExampleService;
  beforeAll(async () => {
    service = await startService(SHIPPED_MODELS);
  }, 120_000);
  afterAll(() => service.stop());

  test('search finds the line that means the same, and its receipt is accepted', async () => {
    const { print, text } = page();
    const hits = await search(await open(service.url), print);
    expect(hits[0]?.line).toContain('violin');
    expect(hits[0]!.score).toBeGreaterThan(hits[1]!.score + 0.1);
    expect(text()).toMatch(ACCEPTED);
    const [hit] = await search(await open(service.url), print, 'corn grows in a field');
    expect(hit?.line).toContain('wheat');
  });

  test('chat streams each turn, sealed, and the receipts of all turns are accepted', async () => {
    const { print, text } = page();
    const turns = ['Call me', 'The white whale', 'The end'];
    const replies = await chat(await open(service.url), print, turns);
    expect(replies.map((reply) => reply.length > 0)).toEqual([true, true, true]);
    expect(text()).toContain('accepted: 3 of 3');
    expect(text()).toMatch(ACCEPTED);
    // The seed is fixed.
    expect(await chat(await open(service.url), print, turns)).toEqual(replies);
  });

  test('langchain embeds and streams, and every answer has an accepted receipt', async () => {
    const { print, text } = page();
    const receipts: VerifiedAnswer[] = [];
    const onReceipt = (receipt: VerifiedAnswer) => receipts.push(receipt);
    const options = { policy: SIMULATED_POLICY, crypto: nodeCrypto, onReceipt };
    const continued = await langchain(await connect(service.url, options), print, receipts);
    expect(continued.passage).toContain('violin');
    expect(continued.text.length).toBeGreaterThan(0);
    expect(text()).toContain('accepted: 3 of 3');
    expect(text()).toMatch(ACCEPTED);
  });

  (hasChromium() ? test : test.skip)(
    'openai in a page of Chromium, streamed and with an accepted receipt',
    async () => {
      const served = await servePage(service.url);
      const browser = await launchChromium();
      try {
        const tab = await browser.newPage();
        await tab.goto(served.url);
        await tab.waitForSelector('button:not([disabled])');
        expect(await tab.textContent('#evidence')).toContain('SIMULATED');
        await tab.click('button');
        await tab.waitForSelector('#receipt:not(:empty)');
        expect(await tab.textContent('#receipt')).toBe('Receipt accepted: tinygpt-1m');
        expect((await tab.textContent('#reply'))!.length).toBeGreaterThan(0);
      } finally {
        await browser.close();
        await served.stop();
      }
    },
    60_000,
  );

  test('chat fails where the receipt is that of another answer', async () => {
    let first: ArrayBuffer | undefined;
    const swapping: Fetch = async (url, init) => {
      const response = await fetch(url, init);
      if (!url.endsWith('/bundle')) return response;
      first ??= await response.arrayBuffer();
      return new Response(first);
    };
    const session = await open(service.url, swapping);
    const { print } = page();
    await expect(chat(session, print, ['Call me', 'The end'])).rejects.toThrow(ClientError);
  });

  test('nothing is sent to simulated hardware under the default policy', async () => {
    const paths: string[] = [];
    const watching: Fetch = (url, init) => {
      paths.push(new URL(url).pathname);
      return fetch(url, init);
    };
    const connecting = connect(service.url, { policy: DEFAULT_POLICY, fetch: watching });
    await expect(connecting).rejects.toMatchObject({ code: 'EVIDENCE_REFUSED' });
    expect(paths).toEqual(['/v1/attestation']);
  });
});

test('a service that cannot start says why', async () => {
  await expect(startService(join(SHIPPED_MODELS, 'absent'))).rejects.toThrow(/the service ended with/);
});

/** A suite over models of an npm package. Tests fetch nothing: the example does, once. */
function describeFetched(name: string, models: ModelPackage, suite: (folder: string) => void): void {
  const folder = fetchedModels(models);
  if (folder !== undefined) describe(name, () => suite(folder));
  else
    describe(name, () =>
      test.skip(`skipped: npm run example has not fetched ${models.spec}`, () => undefined),
    );
}

describeFetched('OCR', OCR, (folder) => {
  let service: ExampleService;
  beforeAll(async () => {
    service = await startService(folder);
  }, 120_000);
  afterAll(() => service.stop());

  test('reads the words that were drawn, every inference with an accepted receipt', async () => {
    const { print, text } = page();
    const words = ['BINARY TENSORS', 'LAX 4711'];
    const read = await ocr(await open(service.url), print, await charactersIn(folder), words);
    expect(read.join('').replaceAll(' ', '')).toBe(words.join('').replaceAll(' ', ''));
    expect(text()).toMatch(/accepted: (\d+) of \1$/m);
    expect(text()).toMatch(ACCEPTED);
  });
});

describeFetched('voice activity', VAD, (folder) => {
  let service: ExampleService;
  beforeAll(async () => {
    service = await startService(folder);
  }, 120_000);
  afterAll(() => service.stop());

  test('hears syllables, and neither noise nor a tone', async () => {
    const { print, text } = page();
    const [noise, syllables, pause, tone] = await vad(await open(service.url), print);
    expect(syllables!.speech).toBeGreaterThan(0.5);
    for (const part of [noise!, pause!, tone!]) expect(part.speech).toBeLessThan(0.3);
    expect(text()).toMatch(ACCEPTED);
  }, 120_000);
});
