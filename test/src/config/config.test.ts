import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { signsOfHardware } from '../../../src/config/hardware.ts';
import { type ConfigSources, configDigest, describeConfig, loadConfig } from '../../../src/config/load.ts';
import { isLoopback, keysRequired, SETTINGS } from '../../../src/config/schema.ts';
import { apiKey, makeFolder, testConfig } from '../../support/service.ts';

async function fileOf(text: string): Promise<string> {
  const path = join(await makeFolder(), 'config.json');
  await writeFile(path, text);
  return path;
}

async function load(text: string, rest: Partial<ConfigSources> = {}): ReturnType<typeof loadConfig> {
  return loadConfig({ file: await fileOf(text), environment: {}, ...rest });
}

describe('the configuration', () => {
  test('is complete without a word said', async () => {
    const { config, origins } = await load('{}');
    expect(config.server).toEqual({ host: '127.0.0.1', port: 8080, name: 'localhost', processes: 1 });
    expect(config.receipts.enabled).toBe(true);
    expect(new Set(origins.values())).toEqual(new Set(['default']));
  });

  test('takes the command line over the environment over the file', async () => {
    const text = '{"server":{"port":1,"host":"::1"},"log":{"level":"warn"},"limits":{"queue":3}}';
    const { config, origins } = await load(text, {
      environment: { VOUCHSAFE_SERVER_PORT: '2', VOUCHSAFE_LIMITS_QUEUE: '4', PORT: '9' },
      cli: { server: { port: 5, host: undefined } },
    });
    expect([config.server.port, config.server.host, config.limits.queue]).toEqual([5, '::1', 4]);
    expect(
      ['server.port', 'server.host', 'limits.queue', 'log.level', 'log.format'].map((name) =>
        origins.get(name),
      ),
    ).toEqual(['cli', 'file', 'env', 'file', 'default']);
  });

  test('PORT gives the port, below the longer name', async () => {
    expect((await load('{}', { environment: { PORT: '9' } })).config.server.port).toBe(9);
    const both = { PORT: '9', VOUCHSAFE_SERVER_PORT: '10' };
    expect((await load('{}', { environment: both })).config.server.port).toBe(10);
  });

  test('has no gRPC door unless a port is set', async () => {
    expect((await load('{"grpc":{"host":"0.0.0.0"}}')).config.grpc).toEqual({ host: '0.0.0.0' });
    const environment = { VOUCHSAFE_GRPC_PORT: '9001' };
    expect((await load('{}', { environment })).config.grpc).toEqual({ host: '127.0.0.1', port: 9001 });
  });

  test('every setting has a variable of its own and a description', () => {
    const variables = SETTINGS.map(({ variable }) => variable);
    expect(new Set(variables).size).toBe(SETTINGS.length);
    expect(variables).toContain('VOUCHSAFE_KEYS_ADMIN_KEY_SHA256');
    expect(SETTINGS.filter(({ description }) => description === '')).toEqual([]);
  });

  test('the environment holds lists as JSON', async () => {
    const { entry } = apiKey('a');
    const environment = {
      VOUCHSAFE_KEYS_API_KEYS: JSON.stringify([entry]),
      VOUCHSAFE_RECEIPTS_ENABLED: 'false',
    };
    const { config } = await load('{}', { environment });
    expect(config.keys.apiKeys).toEqual([entry]);
    expect(config.receipts.enabled).toBe(false);
  });

  test.each([
    ['CONFIG_MALFORMED', '{'],
    ['CONFIG_MALFORMED', '[]'],
    ['CONFIG_MALFORMED', '{"log":{},"log":{}}'],
    ['CONFIG_MALFORMED', '{"server":{"port":1,"port":2}}'],
    ['CONFIG_MALFORMED', '{"__proto__":{}}'],
    ['CONFIG_UNKNOWN', '{"sever":{}}'],
    ['CONFIG_UNKNOWN', '{"constructor":{"prototype":1}}'],
    ['CONFIG_UNKNOWN', '{"server":{"prot":1}}'],
    ['CONFIG_INVALID', '{"server":1}'],
    ['CONFIG_INVALID', '{"server":{"port":"80"}}'],
    ['CONFIG_INVALID', '{"server":{"port":65536}}'],
    ['CONFIG_INVALID', '{"keys":{"required":false}}'],
    ['CONFIG_INVALID', '{"receipts":{"algorithm":"none"}}'],
    ['CONFIG_INVALID', '{"keys":{"apiKeys":[{"name":"a","sha256":"ab"}]}}'],
    ['CONFIG_INVALID', '{"timestamps":{"authorities":["http://user:secret@tsa.example/"]}}'],
    ['CONFIG_INVALID', '{"objectStore":{"endpoint":"https://user:secret@s3.example"}}'],
    ['KEYS_MISSING', '{"server":{"host":"0.0.0.0"}}'],
    ['KEYS_MISSING', '{"grpc":{"host":"0.0.0.0","port":9000}}'],
    ['CONFIG_INVALID', '{"grpc":{"port":65536}}'],
    ['KEYS_MISSING', '{"keys":{"required":"always"}}'],
  ])('%s: %s', async (code, text) => {
    await expect(load(text)).rejects.toMatchObject({ code, advice: expect.any(String) });
  });

  test.each([
    ['CONFIG_UNKNOWN', { VOUCHSAFE_SERVER_PROT: '1' }],
    ['CONFIG_INVALID', { VOUCHSAFE_SERVER_PORT: 'http' }],
    ['CONFIG_INVALID', { PORT: '-1' }],
    ['CONFIG_INVALID', { VOUCHSAFE_RECEIPTS_ENABLED: 'yes' }],
  ])('%s: %j', async (code, environment) => {
    await expect(load('{}', { environment })).rejects.toMatchObject({ code });
  });

  test('a named file must be there', async () => {
    const file = join(await makeFolder(), 'none.json');
    await expect(loadConfig({ file, environment: {} })).rejects.toMatchObject({ code: 'CONFIG_UNREADABLE' });
  });

  test('two keys of one name, or one key of two, are refused', async () => {
    const { entry } = apiKey('a');
    for (const second of [{ ...entry, name: 'b' }, apiKey('b').entry]) {
      const twice = { ...second, ...(second.sha256 === entry.sha256 ? {} : { name: 'a' }) };
      const text = JSON.stringify({ keys: { apiKeys: [entry, twice] } });
      await expect(load(text)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    }
  });

  test('is printed without secrets', async () => {
    const { entry } = apiKey('a');
    const { sha256 } = apiKey('admin').entry;
    const loaded = await load(JSON.stringify({ keys: { apiKeys: [entry], adminKeySha256: sha256 } }));
    const lines = describeConfig(loaded);
    expect(lines).toHaveLength(SETTINGS.length);
    const text = JSON.stringify(lines);
    expect(text).toContain('"name":"a"');
    expect(text).not.toContain(entry.sha256);
    expect(text).not.toContain(sha256);
    expect(lines.find(({ name }) => name === 'keys.adminKeySha256')).toMatchObject({
      value: '(set)',
      origin: 'file',
    });
  });
});

describe('the digest that receipts state', () => {
  test('covers what decides answers and vouching, and nothing of the place', () => {
    const digest = (overrides: Parameters<typeof testConfig>[0]): string =>
      Buffer.from(configDigest(testConfig(overrides))).toString('hex');
    const base = digest({});
    expect(
      digest({ server: { port: 99 }, grpc: { port: 99 }, data: { directory: 'x' }, log: { level: 'debug' } }),
    ).toBe(base);
    expect(digest({ keys: { apiKeys: [apiKey('a').entry] } })).toBe(base);
    for (const change of [
      { engine: { threads: 3 } },
      { receipts: { enabled: false } },
      { receipts: { epochReceipts: 7 } },
      { keys: { required: 'never' as const } },
      { hardware: { collector: 'simulated' as const } },
    ]) {
      expect(digest(change)).not.toBe(base);
    }
  });
});

describe('keys', () => {
  test('are required beyond loopback, and wherever there are some', () => {
    expect(keysRequired(testConfig())).toBe(false);
    expect(keysRequired(testConfig({ keys: { apiKeys: [apiKey('a').entry] } }))).toBe(true);
    expect(keysRequired(testConfig({ server: { host: '0.0.0.0' }, keys: { required: 'never' } }))).toBe(
      false,
    );
    const open = { server: { host: '0.0.0.0' }, keys: { apiKeys: [apiKey('a').entry] } };
    expect(keysRequired(testConfig(open))).toBe(true);
  });

  test.each([
    ['127.0.0.1', true],
    ['127.8.9.1', true],
    ['::1', true],
    ['localhost', true],
    ['0.0.0.0', false],
    ['::', false],
    ['127.0.0.1.example.com', false],
    ['10.0.0.1', false],
  ])('%s is loopback: %s', (host, expected) => {
    expect(isLoopback(host)).toBe(expected);
  });
});

test('no evidence of devices and models on a GPU do not go together', () => {
  const withProvider = (
    provider: 'auto' | 'cpu' | 'cuda',
    collector: 'auto' | 'configfs-tsm' | 'simulated' = 'auto',
  ) => testConfig({ hardware: { devices: 'none', collector }, engine: { provider } });
  expect(() => withProvider('auto')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  expect(() => withProvider('cuda', 'configfs-tsm')).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID' }),
  );
  expect(withProvider('cpu').hardware.devices).toBe('none');
  expect(withProvider('auto', 'simulated').hardware.devices).toBe('none');
});

describe('signs of hardware', () => {
  test('are devices of TEEs and of NVIDIA', async () => {
    const root = await makeFolder();
    expect(signsOfHardware(root)).toEqual([]);
    await mkdir(join(root, 'dev'));
    await writeFile(join(root, 'dev', 'null'), '');
    expect(signsOfHardware(root)).toEqual([]);
    for (const name of ['sev-guest', 'tdx_guest', 'nsm', 'nvidia0', 'nvidiactl', 'nvidia-caps']) {
      await writeFile(join(root, 'dev', name), '');
    }
    await mkdir(join(root, 'sys/kernel/config/tsm'), { recursive: true });
    expect(signsOfHardware(root)).toHaveLength(7);
  });
});
