import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { parseOperatorStatement } from '../../../attestation/operator/statement.ts';
import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import { createServiceLog } from '../../../src/http/logging.ts';
import { type RunningService, startService } from '../../../src/main.ts';
import { childEntry } from '../../support/engine.ts';
import { mintOrganisation, type Organisation } from '../../support/operatorAuthority.ts';
import { apiKey, makeFolder, testConfig } from '../../support/service.ts';
import { failures } from '../../support/world.ts';
import { pem } from './inspectSamples.ts';
import { vouchsafe } from './program.ts';

// From a key on the organisation's machine to the verdict of whoever judges an answer, over a socket.

const ADMIN = apiKey('admin');
const TENANT = apiKey('analytics');

let folder: string;
let service: RunningService;
let example: Organisation;
let rival: Organisation;
const at = (name: string) => join(folder, name);

let made = 0;
async function sign(...args: string[]) {
  const out = at(`operator-${made++}.cose`);
  const words = ['--statement', 'We answer for it.', '--out', out];
  const ran = await vouchsafe(['operator', 'sign', ...words, ...args]);
  return { ...ran, out };
}

const withKey = (name = 'example', chain = name) => [
  '--key',
  at(`${name}.key`),
  '--chain',
  at(`${chain}.pem`),
];
const INSTANCE = ['--instance', '00112233-4455-4677-8899-aabbccddeeff'];

describe('an organisation, an admin and a judge', () => {
  beforeAll(async () => {
    folder = await makeFolder();
    example = mintOrganisation('Example GmbH');
    rival = mintOrganisation('Rival AG');
    for (const [name, organisation] of Object.entries({ example, rival })) {
      writeFileSync(at(`${name}.key`), organisation.key.export({ format: 'pem', type: 'pkcs8' }));
      writeFileSync(at(`${name}.pem`), pem('CERTIFICATE', ...organisation.certificates));
    }
    const config = testConfig({
      data: { directory: at('data') },
      engine: { provider: 'cpu', threads: 1 },
      keys: { adminKeySha256: ADMIN.entry.sha256, apiKeys: [TENANT.entry] },
    });
    const log = createServiceLog({ level: 'error', format: 'json' });
    service = await startService(config, {
      log,
      notice: () => undefined,
      childEntry: childEntry(),
      signs: [],
    });
  }, 60_000);
  afterAll(() => service.stop());

  describe('from signature to verdict', () => {
    test('the next answer says who answers for it', async () => {
      const signed = await sign(...withKey(), '--url', service.url, '--allow-simulated');
      expect([signed.code, signed.stderr]).toEqual([0, '']);
      const environment = { VOUCHSAFE_API_KEY: ADMIN.key };
      const put = await vouchsafe(
        ['operator', 'put', signed.out, '--url', service.url, '--allow-simulated'],
        environment,
      );
      expect([put.code, put.stderr]).toEqual([0, '']);
      const answer = at('answer');
      const asked = await vouchsafe(
        ['embed', 'hello', '--url', service.url, '--allow-simulated', '--fresh', '--save', answer],
        { VOUCHSAFE_API_KEY: TENANT.key },
      );
      expect(asked.code).toBe(0);
      const judge = async ({ anchors }: Organisation) => {
        const anchor = `operator:${anchors.root.spkiSha256}`;
        const { code, stdout } = await vouchsafe([
          'verify',
          answer,
          '--allow-simulated',
          '--anchor',
          anchor,
          '--tenant',
          'analytics',
          '--json',
        ]);
        return { code, verdict: (JSON.parse(stdout) as { verdict: Verdict }).verdict };
      };
      const trusted = await judge(example);
      expect([trusted.code, failures(trusted.verdict)]).toEqual([0, []]);
      const own = trusted.verdict.checks.filter(({ id }) => id === 'operator.statement');
      expect(own.map(({ result }) => result)).toEqual(['pass', 'pass']);
      const stranger = await judge(rival);
      expect(stranger.code).toBe(2);
      expect(failures(stranger.verdict)).toEqual([
        'cited operator: operator.statement UNTRUSTED_ROOT',
        'covering operator: operator.statement UNTRUSTED_ROOT',
      ]);
    }, 60_000);

    test('a service whose evidence is not accepted is neither signed for nor given the key', async () => {
      const signed = await sign(...withKey(), '--url', service.url);
      expect([signed.code, signed.stderr]).toEqual([2, expect.stringContaining('SIMULATED_HARDWARE')]);
      const other = await sign(...withKey(), ...INSTANCE);
      const put = await vouchsafe(['operator', 'put', other.out, '--url', service.url], {
        VOUCHSAFE_API_KEY: ADMIN.key,
      });
      expect(put.code).toBe(2);
    });

    test('a statement about another instance is not handed in', async () => {
      const other = await sign(...withKey(), ...INSTANCE);
      const put = await vouchsafe(['operator', 'put', other.out, '--url', service.url, '--allow-simulated'], {
        VOUCHSAFE_API_KEY: ADMIN.key,
      });
      expect([put.code, put.stdout]).toEqual([64, '']);
    });

    test('the key of a tenant is refused', async () => {
      const signed = await sign(...withKey(), '--url', service.url, '--allow-simulated');
      const put = await vouchsafe(
        ['operator', 'put', signed.out, '--url', service.url, '--allow-simulated'],
        { VOUCHSAFE_API_KEY: TENANT.key },
      );
      expect([put.code, put.stderr]).toEqual([4, expect.stringContaining('ADMIN_KEY_REQUIRED')]);
    });
  });

  describe('what is signed', () => {
    test('names the instance, the image and how long it holds', async () => {
      const { code, out, stdout } = await sign(
        ...withKey(),
        ...INSTANCE,
        '--image',
        '07'.repeat(32),
        '--days',
        '5',
      );
      expect(code).toBe(0);
      expect(stdout).toContain('Example GmbH answers for');
      const statement = parseOperatorStatement(readFileSync(out));
      expect(statement).toMatchObject({ organisation: 'Example GmbH', text: 'We answer for it.' });
      expect(toHex(statement.instance)).toBe('00112233445546778899aabbccddeeff');
      expect(toHex(statement.image!)).toBe('07'.repeat(32));
      expect(statement.notAfter - statement.notBefore).toBe(5 * 86_400);
    });

    test('an encrypted key is opened by its passphrase, which is no argument', async () => {
      const encrypted = example.key.export({
        format: 'pem',
        type: 'pkcs8',
        cipher: 'aes-256-cbc',
        passphrase: 'open sesame',
      });
      writeFileSync(at('encrypted.key'), encrypted);
      const out = at('encrypted.cose');
      const words = [
        'operator',
        'sign',
        ...withKey('encrypted', 'example'),
        ...INSTANCE,
        '--statement',
        'x',
        '--out',
        out,
      ];
      expect((await vouchsafe(words)).code).toBe(4);
      expect((await vouchsafe(words, { VOUCHSAFE_KEY_PASSPHRASE: 'open sesame' })).code).toBe(0);
    });

    test.each<[string, () => string[]]>([
      ['the key of another certificate', () => [...withKey('rival', 'example'), ...INSTANCE]],
      ['no instance', () => withKey()],
      ['an instance and an address', () => [...withKey(), ...INSTANCE, '--url', service.url]],
      ['an instance that is none', () => [...withKey(), '--instance', 'here']],
      ['an image that is none', () => [...withKey(), ...INSTANCE, '--image', '07']],
      ['no days', () => [...withKey(), ...INSTANCE, '--days', '0']],
    ])('%s is misuse', async (_name, args) => {
      const { code, stdout } = await sign(...args());
      expect([code, stdout]).toEqual([64, '']);
    });
  });
});
