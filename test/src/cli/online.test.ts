import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import { HONEST, startTestService, type TestService } from '../client/service.ts';
import { PROGRAM, vouchsafe } from './program.ts';

let service: TestService;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-cli-'));
  service = await startTestService();
});
afterAll(async () => {
  await service.stop();
  rmSync(folder, { recursive: true });
});
afterEach(() => {
  service.box = HONEST;
  service.requests.length = 0;
});

function ask(...args: string[]) {
  return vouchsafe(['ask', 'hello', ...args], { VOUCHSAFE_URL: service.url });
}

interface AskJson {
  readonly sent: boolean;
  readonly answer: string;
  readonly evidence: Verdict;
  readonly receipt: Verdict;
}

describe('ask and embed', () => {
  test('the answer goes to standard output alone, the verdict beside it', async () => {
    const { code, stdout, stderr } = await ask('--allow-simulated');
    expect([code, stdout]).toEqual([0, 'an echo\n']);
    expect(stderr).toContain('SIMULATED');
    expect(stderr).toContain('ACCEPTED');
  });

  test('embed prints the whole vector to a file', async () => {
    const { code, stdout } = await vouchsafe(['embed', 'hello', '--allow-simulated', '--url', service.url]);
    expect([code, JSON.parse(stdout)]).toEqual([0, [0.25, -0.5, 1]]);
  });

  test('the default policy refuses simulated hardware, and nothing is sent', async () => {
    const { code, stdout, stderr } = await ask();
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('SIMULATED_HARDWARE');
    expect(service.requests).toEqual(['/v1/attestation']);
  });

  test('as JSON, a refusal says that nothing was sent', async () => {
    const { code, stdout } = await ask('--json');
    expect(code).toBe(2);
    expect((JSON.parse(stdout) as AskJson).sent).toBe(false);
  });

  test('as JSON, answer and both verdicts are one document', async () => {
    const { code, stdout } = await ask('--allow-simulated', '--json');
    const { sent, answer, evidence, receipt } = JSON.parse(stdout) as AskJson;
    expect([code, sent, answer]).toEqual([0, true, 'an echo']);
    expect([evidence.decision, receipt.decision]).toEqual(['accepted', 'accepted']);
  });

  test('what was saved verifies offline, and is for its owner only', async () => {
    const saved = join(folder, 'answer');
    const asked = await ask('--allow-simulated', '--fresh', '--save', saved);
    expect(asked.code).toBe(0);
    expect(asked.stderr).toContain(`saved: vouchsafe verify --allow-simulated ${saved}\n`);
    expect(readdirSync(saved).sort()).toEqual([
      'bundle.cbor',
      'commitment-key.txt',
      'nonce.txt',
      'request.bin',
      'response.bin',
    ]);
    expect(statSync(join(saved, 'commitment-key.txt')).mode & 0o077).toBe(0);
    const { code, stdout } = await vouchsafe(['verify', saved, '--allow-simulated', '--json']);
    expect(code).toBe(0);
    const { verdict } = JSON.parse(stdout) as { verdict: Verdict };
    const passed = verdict.checks.filter(({ result }) => result === 'pass').map(({ id }) => id);
    expect(passed).toEqual(
      expect.arrayContaining(['receipt.nonce', 'receipt.request', 'receipt.response', 'log.covered']),
    );
  });

  test('what could not be saved is not asked', async () => {
    const { code } = await ask('--allow-simulated', '--save', join(folder, 'answer', 'bundle.cbor'));
    expect(code).toBe(64);
    expect(service.requests).not.toContain('/v1/completions');
  });

  test('a swapped receipt refuses the answer', async () => {
    const first = await ask('--allow-simulated', '--json');
    const { receiptId } = JSON.parse(first.stdout) as { receiptId: string };
    const other = await service.vouching.bundle(receiptId, undefined);
    service.box = (path, answer) => (path.endsWith('/bundle') ? { ...answer, body: other } : answer);
    const { code, stderr } = await ask('--allow-simulated');
    expect(code).toBe(2);
    expect(stderr).toContain('NONCE_MISMATCH');
  });

  test('a cut answer is refused', async () => {
    service.box = (path, answer) =>
      path === '/v1/completions' ? { ...answer, body: answer.body.subarray(0, -1) } : answer;
    const { code, stdout } = await ask('--allow-simulated');
    expect([code, stdout]).toEqual([2, '']);
  });

  test('in the clear it says so', async () => {
    const { code, stderr } = await ask('--allow-simulated', '--unbound');
    expect(code).toBe(0);
    expect(stderr).toContain('UNBOUND');
  });

  test('nobody there exits with 4', async () => {
    expect((await vouchsafe(['ask', 'hello', '--url', 'http://127.0.0.1:9'])).code).toBe(4);
  });
});

describe('verify of a live service', () => {
  test('judges evidence made for a fresh nonce', async () => {
    expect((await vouchsafe(['verify', service.url, '--allow-simulated'])).code).toBe(0);
    expect((await vouchsafe(['verify', service.url])).code).toBe(2);
    expect(service.requests).toEqual(['/v1/attestation', '/v1/attestation']);
  });

  test('an old answer is refused', async () => {
    let recorded: ReturnType<typeof service.box> | undefined;
    service.box = (_path, answer) => (recorded ??= answer);
    expect((await vouchsafe(['verify', service.url, '--allow-simulated'])).code).toBe(0);
    expect((await vouchsafe(['verify', service.url, '--allow-simulated'])).code).toBe(2);
  });
});

describe('serve', () => {
  test('says where it is and how to try it, answers, and stops on SIGTERM', async () => {
    const args = ['serve', '--port', '0', '--simulated', '--data', join(folder, 'data')];
    const child = spawn(process.execPath, [PROGRAM, ...args], { env: { PATH: process.env['PATH'] ?? '' } });
    let banner = '';
    const url = await new Promise<string>((resolve, reject) => {
      child.on('close', () => {
        reject(new Error(`serve ended: ${banner}`));
      });
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        banner += text;
        const found = /address\s+(http:\S+)[^]*curl/.exec(banner)?.[1];
        if (found !== undefined) resolve(found);
      });
    });
    const embedded = await vouchsafe(['embed', 'hello', '--allow-simulated', '--url', url, '--fresh']);
    const completed = await vouchsafe([
      'ask',
      'Once',
      '--allow-simulated',
      '--url',
      url,
      '--max-tokens',
      '4',
    ]);
    const ended = new Promise((resolve) => child.on('exit', resolve));
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(banner).toContain('SIMULATED');
    expect([embedded.code, completed.code]).toEqual([0, 0]);
  }, 60_000);
});
