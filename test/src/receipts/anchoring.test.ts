import { describe, expect, test } from '@jest/globals';
import { parseAnchor } from '../../../attestation/log/anchor.ts';
import { parseNote } from '../../../attestation/log/note.ts';
import { Anchoring, type AnchoringEvent } from '../../../src/receipts/anchoring.ts';
import { HeadSigner } from '../../../src/receipts/headSigner.ts';
import { type Confirmation, type Outsider, OutsiderError } from '../../../src/receipts/outsider.ts';
import { TimestampClient } from '../../../src/receipts/timestampClient.ts';
import {
  answerTimestampQuery,
  timestampAuthority,
  type TokenChanges,
} from '../../support/timestampAuthority.ts';
import { MemoryLog } from '../../support/memoryLog.ts';
import { startHttp, startTimestampServer } from '../../support/outsiders.ts';
import { until } from '../../support/service.ts';
import { makeKeyring, NOW } from '../../support/world.ts';

/** An outsider that a test holds, lets go and breaks. */
class FakeOutsider implements Outsider {
  readonly name: string;
  readonly kind = 'witness';
  readonly asked: number[] = [];
  readonly waiting: (() => void)[] = [];
  held = false;
  failing: OutsiderError['code'] | undefined;

  constructor(name: string) {
    this.name = name;
  }

  async confirm(head: { size: number }, signal: AbortSignal): Promise<Confirmation> {
    this.asked.push(head.size);
    if (this.held) {
      await new Promise<void>((resolve, reject) => {
        this.waiting.push(resolve);
        signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
    }
    if (this.failing) throw new OutsiderError(this.failing, 'as told');
    return {
      kind: 'cosignature',
      signature: { name: this.name, keyId: 7, signature: new Uint8Array(72) },
    };
  }

  release(): void {
    this.held = false;
    for (const go of this.waiting.splice(0)) go();
  }
}

async function setUp(names: readonly string[], retryDelaysMs = [1]) {
  const heads = new HeadSigner(await makeKeyring());
  const log = new MemoryLog();
  const outsiders = names.map((name) => new FakeOutsider(name));
  const events: AnchoringEvent[] = [];
  const clock = { now: NOW };
  const anchoring = new Anchoring({
    outsiders,
    log,
    now: () => clock.now,
    onEvent: (event) => events.push(event),
    retryDelaysMs,
  });
  const headOf = (size: number) => heads.sign(size, new Uint8Array(32).fill(size));
  const signersOf = (size: number) =>
    parseNote(parseAnchor(log.anchors.get(size)!).note).signatures.map(({ name }) => name);
  return { anchoring, log, outsiders, events, clock, headOf, signersOf };
}

describe('anchoring', () => {
  test('asks all and keeps what they say under the size of the head', async () => {
    const { anchoring, headOf, signersOf, log } = await setUp(['a', 'b']);
    anchoring.submit(headOf(3));
    await until(() => anchoring.pendingSince === undefined);
    expect([...log.anchors.keys()]).toEqual([3]);
    expect(signersOf(3).slice(1)).toEqual(['a', 'b']);
    expect(anchoring.newest).toEqual({ size: 3, at: NOW });
    expect([anchoring.sizeOver(2), anchoring.sizeOver(3)]).toEqual([3, undefined]);
    expect(anchoring.timeAnchor).toEqual(parseAnchor(log.anchors.get(3)!).note);
  });

  test('of heads that pile up only the newest is asked for', async () => {
    const { anchoring, headOf, outsiders, log } = await setUp(['a']);
    const [outsider] = outsiders;
    outsider!.held = true;
    anchoring.submit(headOf(1));
    await until(() => outsider!.asked.length === 1);
    for (const size of [2, 3, 4]) anchoring.submit(headOf(size));
    outsider!.release();
    await until(() => anchoring.pendingSince === undefined);
    expect(outsider!.asked).toEqual([1, 4]);
    expect([...log.anchors.keys()]).toEqual([1, 4]);
    expect([0, 1, 3].map((index) => anchoring.sizeOver(index))).toEqual([1, 4, 4]);
  });

  test('one that fails is asked again, and what comes later is added', async () => {
    const { anchoring, headOf, outsiders, events, signersOf } = await setUp(['a', 'b']);
    outsiders[1]!.failing = 'UNREACHABLE';
    anchoring.submit(headOf(5));
    await until(() => outsiders[1]!.asked.length >= 3);
    expect(outsiders[0]!.asked).toEqual([5]);
    expect(signersOf(5).slice(1)).toEqual(['a']);
    expect([...anchoring.failing.keys()]).toEqual(['b']);
    expect(anchoring.pendingSince).toBe(NOW);
    outsiders[1]!.failing = undefined;
    await until(() => anchoring.pendingSince === undefined);
    expect(signersOf(5).slice(1)).toEqual(['a', 'b']);
    expect(events.map(({ kind, name }) => `${kind} ${name}`)).toEqual(['failing b', 'recovered b']);
    expect(anchoring.failing.size).toBe(0);
  });

  test('a new head ends the pause before the next attempt', async () => {
    const { anchoring, headOf, outsiders } = await setUp(['a'], [3_600_000]);
    outsiders[0]!.failing = 'TIMEOUT';
    anchoring.submit(headOf(1));
    await until(() => anchoring.failing.size === 1);
    outsiders[0]!.failing = undefined;
    anchoring.submit(headOf(2));
    await until(() => anchoring.pendingSince === undefined);
    expect(outsiders[0]!.asked).toEqual([1, 2]);
  });

  test('the same head is not asked for twice', async () => {
    const { anchoring, headOf, outsiders } = await setUp(['a']);
    for (let i = 0; i < 3; i++) anchoring.submit(headOf(1));
    await until(() => anchoring.pendingSince === undefined);
    anchoring.submit(headOf(1));
    await anchoring.finish(1000);
    expect(outsiders[0]!.asked).toEqual([1]);
  });

  test('the end is one more attempt, and does not wait for who hangs', async () => {
    const { anchoring, headOf, outsiders, signersOf } = await setUp(['a', 'b'], [3_600_000]);
    outsiders[0]!.failing = 'STATUS';
    anchoring.submit(headOf(1));
    await until(() => anchoring.failing.size === 1);
    outsiders[0]!.failing = undefined;
    await anchoring.finish(60_000);
    expect(signersOf(1).slice(1)).toEqual(['b', 'a']);
    const hanging = await setUp(['a']);
    hanging.outsiders[0]!.held = true;
    hanging.anchoring.submit(hanging.headOf(1));
    await hanging.anchoring.finish(5);
    expect(hanging.log.anchors.size).toBe(0);
    expect(hanging.anchoring.failing.size).toBe(0);
    hanging.anchoring.submit(hanging.headOf(2));
    expect(hanging.outsiders[0]!.asked).toEqual([1]);
  });

  test('an anchor that cannot be kept is told of and counts for nothing', async () => {
    const { anchoring, headOf, log, events } = await setUp(['a']);
    log.writeAnchor = () => Promise.reject(new Error('ENOSPC'));
    anchoring.submit(headOf(1));
    await until(() => events.length === 1);
    expect(events[0]).toMatchObject({ kind: 'not-kept', reason: 'ENOSPC' });
    expect([anchoring.newest, anchoring.timeAnchor, anchoring.sizeOver(0)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('without outsiders nothing is done', async () => {
    const { anchoring, headOf } = await setUp([]);
    anchoring.submit(headOf(1));
    expect([anchoring.isConfigured, anchoring.pendingSince]).toEqual([false, undefined]);
    await anchoring.finish(0);
  });
});

describe('timestamp authorities', () => {
  const signal = new AbortController().signal;
  const makeHead = async () => new HeadSigner(await makeKeyring()).sign(1, new Uint8Array(32));

  test('a token over the head with our nonce is kept', async () => {
    const client = new TimestampClient(await startTimestampServer(() => NOW));
    expect(await client.confirm(await makeHead(), signal)).toMatchObject({ kind: 'token' });
  });

  const answer = (query: Uint8Array, now: number, changes: TokenChanges) =>
    timestampAuthority().answer(query, now, changes);
  const reply = 'application/timestamp-reply';
  const BROKEN: readonly (readonly [string, string, number, string, (query: Uint8Array) => Uint8Array])[] = [
    [
      'of another imprint',
      'ANSWER_INVALID',
      200,
      reply,
      (q) => answer(q, NOW, { imprint: new Uint8Array(32) }),
    ],
    ['of another nonce', 'ANSWER_INVALID', 200, reply, (q) => answer(q, NOW, { nonce: Uint8Array.of(5) })],
    ['that is no DER', 'ANSWER_INVALID', 200, reply, () => Uint8Array.of(1, 2, 3)],
    ['that is a web page', 'ANSWER_INVALID', 200, 'text/html', (q) => answerTimestampQuery(q, NOW)],
    ['without end', 'ANSWER_INVALID', 200, reply, () => new Uint8Array(200_000)],
    ['that says no', 'STATUS', 503, reply, (q) => answerTimestampQuery(q, NOW)],
  ];
  test.each(BROKEN)('an answer %s is refused', async (_name, code, status, type, make) => {
    const url = await startHttp((body, _request, response) => {
      response.writeHead(status, { 'content-type': type });
      response.end(make(body));
    });
    const asked = new TimestampClient(url).confirm(await makeHead(), signal);
    await expect(asked).rejects.toMatchObject({ name: 'OutsiderError', code });
  });

  test('one that is silent, gone or elsewhere is said to be so', async () => {
    const head = await makeHead();
    const silent = new TimestampClient(await startHttp(() => undefined), 20);
    await expect(silent.confirm(head, signal)).rejects.toMatchObject({ code: 'TIMEOUT' });
    const gone = new TimestampClient('http://127.0.0.1:1/');
    await expect(gone.confirm(head, signal)).rejects.toMatchObject({ code: 'UNREACHABLE' });
    const moved = await startHttp((_body, _request, response) => {
      response.writeHead(307, { location: 'http://127.0.0.1:1/' });
      response.end();
    });
    await expect(new TimestampClient(moved).confirm(head, signal)).rejects.toMatchObject({
      code: 'UNREACHABLE',
    });
  });
});
