import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { proxyCommand, settingsOf, type ProxyFlags } from '../../../src/cli/proxy.ts';
import { apiKeyOf, defaultArchive } from '../../../src/cli/proxyFiles.ts';
import { ProxyError } from '../../../src/gateway/proxy/errors.ts';
import { orderFor } from '../../../src/gateway/proxy/pinning.ts';
import { isLoopbackHost, startProxy } from '../../../src/gateway/proxy/proxy.ts';
import { callerKey, targetOf } from '../../../src/gateway/proxy/request.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { thrownBy } from './proxied.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vouchsafe-proxy-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('an archive is where the system keeps data of a user', () => {
  expect(defaultArchive('linux', {}, '/home/a')).toBe('/home/a/.local/share/vouchsafe/receipts');
  expect(defaultArchive('linux', { XDG_DATA_HOME: '/data' }, '/home/a')).toBe('/data/vouchsafe/receipts');
  expect(defaultArchive('darwin', {}, '/Users/a')).toContain('Application Support');
});

test('an API key comes from a file', async () => {
  const file = join(folder, 'key');
  await writeFile(file, 'a-key\n');
  expect(await apiKeyOf({ apiKeyFile: file, apiKey: 'other' })).toBe('a-key');
  await writeFile(file, 'two words');
  expect(await thrownBy(apiKeyOf({ apiKeyFile: file }))).toMatchObject({ exit: 64 });
});

describe('what strangers send', () => {
  test(
    'is a target or an error of the proxy',
    () => {
      const part = fc.constantFrom(
        '/',
        'v1',
        'v2',
        'models',
        'infer',
        '..',
        '%2e',
        '?',
        '\u0000',
        'é',
        '//',
        '%',
      );
      fc.assert(
        fc.property(
          fc.constantFrom('GET', 'POST', 'PUT'),
          fc.array(fc.oneof(part, fc.string())),
          (method, parts) => {
            try {
              expect(targetOf(method, `/${parts.join('')}`).kind).toBeDefined();
            } catch (error) {
              expect(error).toBeInstanceOf(ProxyError);
            }
          },
        ),
        propertyRuns(500),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test('has a key or none', () => {
    const keyOf = (authorization?: string) => callerKey({ headers: { authorization } } as never);
    expect(keyOf(undefined)).toBeUndefined();
    expect(keyOf('Bearer abc')).toBe('abc');
    expect(() => keyOf('Bearer a b')).toThrow(ProxyError);
    expect(() => keyOf(`Bearer ${'x'.repeat(5000)}`)).toThrow(ProxyError);
  });

  test.each([
    ['127.0.0.1', true],
    ['::1', true],
    ['localhost', true],
    ['0.0.0.0', false],
    ['127.0.0.1.evil.example', false],
    ['::', false],
  ])('%s is loopback: %s', (host, is) => {
    expect(isLoopbackHost(host)).toBe(is);
  });
});

describe('the command', () => {
  const flagsOf = (...args: readonly string[]): ProxyFlags => {
    const command = proxyCommand().action(() => undefined);
    command.parse([...args], { from: 'user' });
    return command.opts<ProxyFlags>();
  };

  test('takes its settings from options', async () => {
    const flags = flagsOf(
      '--upstream',
      'http://a',
      '--upstream',
      'http://b',
      '--allow-simulated',
      '--archive',
      folder,
    );
    const settings = await settingsOf(flags);
    expect(settings).toMatchObject({ upstreams: ['http://a', 'http://b'], stream: 'verified', port: 8088 });
    expect(settings.archive).toBeDefined();
    expect(settings.redactor).toBeUndefined();
    const { archive, redactor, stream } = await settingsOf(
      flagsOf('--no-archive', '--redact', '--stream', 'live', '--receipts', 'cited'),
    );
    expect([archive, stream]).toEqual([undefined, 'live']);
    expect(redactor?.name).toBeDefined();
  });

  test.each([
    ['an address that others reach', ['--listen', '0.0.0.0', '--no-archive']],
    ['receipts that cannot be kept', ['--receipts', 'cited', '--archive', 'x']],
    ['an upstream that is no address', ['--upstream', 'ftp://a', '--no-archive', '--port', '0']],
    ['two policies', ['--policy', 'p.json', '--allow-simulated', '--no-archive']],
  ])('refuses %s as misuse', async (_name, args) => {
    expect(await thrownBy(proxyCommand().parseAsync(args, { from: 'user' }))).toMatchObject({ exit: 64 });
  });

  test('says that a port is taken', async () => {
    const policy = (await settingsOf(flagsOf('--no-archive'))).judging.policy;
    const taken = await startProxy({ upstreams: [], judging: { policy, crypto: nodeCrypto } });
    const args = ['--no-archive', '--port', new URL(taken.url).port];
    const thrown = await thrownBy(proxyCommand().parseAsync(args, { from: 'user' }));
    await taken.stop();
    expect(thrown).toMatchObject({ exit: 4 });
  });
});

test('a conversation has one order of upstreams, and only its own upstream moves it', () => {
  const urls = fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(urls, fc.string(), fc.string(), fc.nat(), (given, apiKey, conversation, index) => {
      const upstreams = given.map((url) => ({ url }));
      const order = orderFor({ apiKey, conversation }, upstreams);
      expect(orderFor({ apiKey, conversation }, upstreams.toReversed())).toEqual(order);
      const gone = upstreams[index % upstreams.length]!;
      const without = orderFor(
        { apiKey, conversation },
        upstreams.filter((upstream) => upstream !== gone),
      );
      expect(without).toEqual(order.filter((upstream) => upstream !== gone));
    }),
    propertyRuns(100),
  );
});
