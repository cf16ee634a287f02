import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { toBase64Url } from '../../../attestation/bytes/bytes.ts';
import { parseDisclosure } from '../../../attestation/receipt/disclosure.ts';
import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import { issueKept, makeChunks, TENANT, type KeptExchange } from '../../support/keptExchange.ts';
import { failures, makeWorld, NOW } from '../../support/world.ts';
import { vouchsafe } from './program.ts';

const JUDGED = ['--allow-simulated', '--at', new Date(NOW).toISOString()];

let folder: string;
let body: KeptExchange;
let stream: KeptExchange;
const at = (...names: string[]) => join(folder, ...names);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-disclose-'));
  const world = await makeWorld();
  body = await issueKept(world);
  stream = await issueKept(world, { chunks: makeChunks(12) });
  save('body', body, Buffer.from(body.kept.response ?? ''));
  save('stream', stream, streamBody(makeChunks(12)));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** As `--save` does. */
function save(name: string, { bundle, kept }: KeptExchange, response: Uint8Array): void {
  mkdirSync(at(name));
  writeFileSync(at(name, 'bundle.cbor'), bundle);
  writeFileSync(at(name, 'request.bin'), kept.request);
  writeFileSync(at(name, 'response.bin'), response);
  writeFileSync(at(name, 'commitment-key.txt'), `${toBase64Url(kept.k)}\n`);
}

function streamBody(chunks: readonly Uint8Array[]): Uint8Array {
  const events = chunks.map((chunk) => `data: ${Buffer.from(chunk).toString()}\n\n`);
  return Buffer.from(`: vouchsafe-commitment-key x\n\n${events.join('')}`);
}

let made = 0;
async function disclose(target: string, ...args: string[]) {
  const out = at(`out-${made++}.disclosure`);
  const ran = await vouchsafe(['disclose', target, ...args, '--out', out]);
  return { ...ran, out };
}

interface Judged {
  readonly verdict: Verdict;
  readonly shown: readonly { item: string; text: string }[];
}

async function verify(out: string, ...args: string[]) {
  const { code, stdout } = await vouchsafe(['verify', out, ...JUDGED, '--json', ...args]);
  return { code, ...(JSON.parse(stdout) as Judged) };
}

describe('a body', () => {
  test('the question is opened and the answer is not', async () => {
    const { code, out, stdout } = await disclose(at('body'), '--request');
    expect(code).toBe(0);
    expect(stdout).toMatch(/opened +request/);
    expect(stdout).toMatch(/hidden +response/);
    expect(statSync(out).mode & 0o777).toBe(0o600);
    const judged = await verify(out);
    expect([judged.code, judged.verdict.decision]).toEqual([0, 'accepted']);
    expect(judged.shown).toEqual([
      { item: 'request', length: body.kept.request.length, text: Buffer.from(body.kept.request).toString() },
    ]);
    const skipped = judged.verdict.checks.filter(({ code: why }) => why === 'NOT_OPENED');
    expect(skipped.map(({ id }) => id)).toEqual([
      'disclosure.response',
      'disclosure.parameter',
      'disclosure.parameter',
      'disclosure.tenant',
    ]);
    expect(readFileSync(out).includes(Buffer.from('{"secret":"answer"}'))).toBe(false);
  });

  test('parameters of the request are found in it, or given', async () => {
    const { code, out } = await disclose(at('body'), '--parameter', 'stop');
    expect(code).toBe(0);
    expect((await verify(out)).shown).toEqual([{ item: 'parameter stop', length: 8, text: '["\\n\\n"]' }]);
    const unknown = await disclose(at('body'), '--parameter', 'tools');
    expect([unknown.code, unknown.stderr]).toEqual([64, expect.stringContaining('--parameter tools=FILE')]);
    writeFileSync(at('tools.json'), '[{"type":"function"}]');
    expect((await disclose(at('body'), '--parameter', `tools=${at('tools.json')}`)).code).toBe(0);
  });

  test('the tenant opens by its name alone', async () => {
    const { code, out } = await disclose(at('body'), '--tenant', TENANT);
    expect(code).toBe(0);
    expect((await verify(out)).shown).toEqual([{ item: 'tenant', length: TENANT.length, text: TENANT }]);
    const other = await disclose(at('body'), '--tenant', 'rival');
    expect([other.code, other.stderr]).toEqual([4, expect.stringContaining('COMMITMENT_MISMATCH')]);
  });

  test('from files, and with the receipt alone', async () => {
    const args = [
      '--request',
      '--request-from',
      at('body', 'request.bin'),
      '--commitment-key',
      toBase64Url(body.kept.k),
    ];
    const { code, out } = await disclose(at('body', 'bundle.cbor'), ...args, '--receipt-only');
    expect(code).toBe(0);
    expect(parseDisclosure(readFileSync(out)).source.kind).toBe('receipt');
    const { cited } = parseBundle(body.bundle);
    writeFileSync(at('cited.cbor'), cited);
    const alone = await verify(out);
    expect(failures(alone.verdict)).toEqual(['receipt: receipt.evidence EVIDENCE_INCOMPLETE']);
    expect(alone.shown).toEqual([]);
    const withEvidence = await verify(
      out,
      '--evidence',
      at('cited.cbor'),
      '--collateral',
      at('body', 'bundle.cbor'),
    );
    expect([withEvidence.code, failures(withEvidence.verdict)]).toEqual([0, []]);
  });
});

describe('a stream', () => {
  test('a range of chunks is opened, written to files, and shown', async () => {
    const { code, out } = await disclose(at('stream'), '--chunks', '3..9');
    expect(code).toBe(0);
    const judged = await verify(out, '--extract', at('shown'));
    expect(judged.code).toBe(0);
    expect(judged.shown.map(({ item }) => item)).toEqual([3, 4, 5, 6, 7, 8, 9].map((i) => `chunk ${i}`));
    expect(readdirSync(at('shown')).sort()).toEqual([3, 4, 5, 6, 7, 8, 9].map((i) => `chunk-${i}.bin`));
    expect(readFileSync(at('shown', 'chunk-4.bin'), 'utf8')).toBe('{"secret":4}');
    const again = await vouchsafe(['verify', out, ...JUDGED, '--extract', at('shown')]);
    expect([again.code, again.stderr]).toEqual([64, expect.stringContaining('EEXIST')]);
    const human = await vouchsafe(['verify', out, ...JUDGED]);
    expect(human.stdout).toMatch(/opened: chunk 9, 12 bytes\n\{"secret":9\}/);
    expect(human.stdout).toContain('NOT_OPENED');
  });

  test('one chunk, and with --response all of them', async () => {
    const one = await disclose(at('stream'), '--chunks', '11');
    expect((await verify(one.out)).shown).toMatchObject([{ item: 'chunk 11', text: '[DONE]' }]);
    const all = await disclose(at('stream'), '--response');
    expect((await verify(all.out)).shown).toHaveLength(12);
  });

  test('nothing is written out of a disclosure that is refused', async () => {
    const { out } = await disclose(at('stream'), '--chunks', '0..1', '--request');
    const bytes = readFileSync(out);
    const place = bytes.indexOf('secret question');
    bytes[place] = bytes[place]! ^ 1;
    writeFileSync(at('altered.disclosure'), bytes);
    const judged = await verify(at('altered.disclosure'), '--extract', at('nothing'));
    expect([judged.code, judged.shown]).toEqual([2, []]);
    expect(failures(judged.verdict)).toEqual(['disclosure: disclosure.request COMMITMENT_MISMATCH']);
    expect(readdirSync(folder)).not.toContain('nothing');
  });
});

describe('misuse', () => {
  test.each([
    ['nothing to open', []],
    ['chunks that end before they begin', ['--chunks', '9..3']],
    ['chunks that are no numbers', ['--chunks', 'a..b']],
    ['a parameter that is never committed to', ['--parameter', 'temperature']],
  ])('%s', async (_name, args) => {
    const { code, out } = await disclose(at('stream'), ...args);
    expect(code).toBe(64);
    expect(readdirSync(folder)).not.toContain(out);
  });

  test('chunks that the stream does not have, and content of another receipt', async () => {
    expect((await disclose(at('stream'), '--chunks', '3..12')).code).toBe(4);
    const foreign = [
      '--request',
      '--request-from',
      at('stream', 'request.bin'),
      '--commitment-key',
      toBase64Url(stream.kept.k),
    ];
    expect((await disclose(at('body', 'bundle.cbor'), ...foreign)).code).toBe(4);
  });

  test('a file that exists is not written over, and a bundle without its key opens nothing', async () => {
    const args = ['disclose', at('body'), '--request', '--out', at('body', 'bundle.cbor')];
    expect((await vouchsafe(args)).code).toBe(64);
    expect((await disclose(at('body', 'bundle.cbor'), '--request')).code).toBe(64);
  });
});

describe('the tenant of a saved exchange', () => {
  const check = async (...args: string[]) => {
    const { code, stdout } = await vouchsafe(['verify', at('body'), ...JUDGED, '--json', ...args]);
    const { verdict } = JSON.parse(stdout) as Judged;
    const { result, code: why } = verdict.checks.find(({ id }) => id === 'receipt.tenant')!;
    return [code, result, why];
  };

  test('is a check of its own', async () => {
    expect(await check()).toEqual([0, 'skip', 'NOT_REQUESTED']);
    expect(await check('--tenant', TENANT)).toEqual([0, 'pass', 'OK']);
    expect(await check('--tenant', 'rival')).toEqual([2, 'fail', 'COMMITMENT_MISMATCH']);
  });

  test('needs the key', async () => {
    const { code } = await vouchsafe(['verify', at('body', 'bundle.cbor'), '--tenant', TENANT]);
    expect(code).toBe(64);
  });
});
