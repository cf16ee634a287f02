import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { CpuCollector, DeviceCollector } from '../../../enclave/collect/collector.ts';
import { CollectError } from '../../../enclave/collect/errors.ts';
import type { Finding } from '../../../enclave/collect/finding.ts';
import { type CpuWay, lookAt, openMachine, type Ways } from '../../../enclave/collect/machine.ts';
import { waysOfThisMachine } from '../../../enclave/collect/ways.ts';
import { CONFIG_SCHEMA } from '../../../src/config/schema.ts';

type State = Finding['state'];
const AUTO = { cpu: 'auto', devices: 'auto' } as const;

/** A way that was found so, and the calls that its collector saw. */
function cpuWay(name: string, state: State, seen: string[], isConfidential = true): CpuWay {
  const collector: CpuCollector = {
    name,
    platform: 'snp',
    collect: () => Promise.resolve({ platform: 'snp', report: new Uint8Array(1), certificates: [] }),
    bootLog: () => Promise.resolve(Uint8Array.of(7)),
    close: () => {
      seen.push(`${name} closed`);
      return Promise.resolve();
    },
  };
  return {
    name,
    isConfidential,
    find: () => Promise.resolve({ way: name, state, detail: `${name} detail`, fix: `${name} fix` }),
    open: () => {
      if (state !== 'usable') return Promise.reject(new CollectError('DEVICE_MISSING', name));
      seen.push(`${name} opened`);
      return Promise.resolve(collector);
    },
  };
}

function deviceWay(state: State, seen: string[], code?: 'DEVTOOLS_ON'): Ways['devices'] {
  const collector: DeviceCollector = {
    name: 'nvml',
    collect: () => Promise.resolve([{ kind: 'gpu', report: new Uint8Array(2), certificates: [] }]),
    admitWork: () => {
      seen.push('work admitted');
      return Promise.resolve();
    },
    close: () => {
      seen.push('nvml closed');
      return Promise.resolve();
    },
  };
  return {
    name: 'nvml',
    find: () => Promise.resolve({ way: 'nvml', state, detail: 'nvml detail' }),
    open: () => (code ? Promise.reject(new CollectError(code, 'gpu 0')) : Promise.resolve(collector)),
  };
}

describe('the machine that is taken', () => {
  test('is the first confidential way that can be used, with its devices', async () => {
    const seen: string[] = [];
    const cpu = [
      cpuWay('tsm', 'absent', seen),
      cpuWay('azure', 'unusable', seen),
      cpuWay('sev-guest', 'usable', seen),
      cpuWay('nsm', 'usable', seen),
    ];
    const machine = await openMachine({ cpu, devices: deviceWay('usable', seen) }, AUTO);
    expect(machine?.name).toBe('sev-guest and nvml');
    expect(await machine!.collectDevices(new Uint8Array(32))).toHaveLength(1);
    expect(await machine!.collectCpu(new Uint8Array(64))).toMatchObject({ platform: 'snp' });
    expect(await machine!.bootLog()).toEqual(Uint8Array.of(7));
    await machine!.admitWork();
    await machine!.close();
    expect(seen).toEqual(['sev-guest opened', 'work admitted', 'sev-guest closed', 'nvml closed']);
  });

  test('is none on an ordinary machine, and a TPM of the host is not taken by itself', async () => {
    const seen: string[] = [];
    const cpu = [cpuWay('tsm', 'absent', seen), cpuWay('tpm', 'usable', seen, false)];
    const devices = deviceWay('absent', seen);
    expect(await openMachine({ cpu, devices }, AUTO)).toBeUndefined();
    const named = await openMachine({ cpu, devices }, { cpu: 'tpm', devices: 'auto' });
    expect(named?.name).toBe('tpm');
    expect(await named!.collectDevices(new Uint8Array(32))).toEqual([]);
  });

  test('hardware in trouble is never passed over', async () => {
    const seen: string[] = [];
    const troubled = { cpu: [cpuWay('tsm', 'unusable', seen)], devices: deviceWay('absent', seen) };
    await expect(openMachine(troubled, AUTO)).rejects.toMatchObject({ code: 'DEVICE_MISSING' });
    const alone = { cpu: [cpuWay('tsm', 'absent', seen)], devices: deviceWay('usable', seen) };
    await expect(openMachine(alone, AUTO)).rejects.toMatchObject({ code: 'DEVICE_MISSING' });
    const devtools = {
      cpu: [cpuWay('tsm', 'usable', seen)],
      devices: deviceWay('unusable', seen, 'DEVTOOLS_ON'),
    };
    await expect(openMachine(devtools, AUTO)).rejects.toMatchObject({ code: 'DEVTOOLS_ON' });
    expect(seen).toEqual([]);
    expect((await openMachine(devtools, { cpu: 'auto', devices: 'none' }))?.name).toBe('tsm');
  });

  test('asks the CPU for one report at a time, also after one that failed', async () => {
    const seen: string[] = [];
    const way = cpuWay('tsm', 'usable', seen);
    const collector: CpuCollector = {
      ...(await way.open()),
      collect: async ([first]) => {
        seen.push(`asked ${String(first)}`);
        await new Promise((resolve) => setImmediate(resolve));
        seen.push(`answered ${String(first)}`);
        if (first === 1) throw new CollectError('DEVICE_REFUSED', 'no');
        return { platform: 'snp', report: new Uint8Array(1), certificates: [] };
      },
    };
    const cpu = [{ ...way, open: () => Promise.resolve(collector) }];
    const machine = await openMachine({ cpu, devices: deviceWay('absent', seen) }, AUTO);
    const asked = [1, 2].map((first) => machine!.collectCpu(Uint8Array.of(first)));
    expect((await Promise.allSettled(asked)).map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    expect(seen.slice(1)).toEqual(['asked 1', 'answered 1', 'asked 2', 'answered 2']);
  });

  test('a CPU that does not open closes the devices, and an unknown name is refused', async () => {
    const seen: string[] = [];
    const ways = { cpu: [cpuWay('tsm', 'absent', seen)], devices: deviceWay('usable', seen) };
    const named = (cpu: string) => openMachine(ways, { cpu, devices: 'auto' });
    await expect(named('tsm')).rejects.toMatchObject({ code: 'DEVICE_MISSING' });
    expect(seen).toEqual(['nvml closed']);
    await expect(named('tdx')).rejects.toMatchObject({ code: 'DEVICE_MISSING' });
  });
});

describe('the ways of this machine', () => {
  test('are those that the configuration can name', () => {
    const { cpu } = waysOfThisMachine({ tpm: undefined, tpmCertificates: [] });
    for (const { name } of cpu) {
      expect(CONFIG_SCHEMA.shape.hardware.safeParse({ collector: name }).success).toBe(true);
    }
    expect(CONFIG_SCHEMA.shape.hardware.safeParse({ collector: 'tdx' }).success).toBe(false);
  });

  test('are all looked at without a throw, with a name and what to do', async () => {
    const tpm = 'tcp://127.0.0.1:1';
    const look = await lookAt(waysOfThisMachine({ tpm, tpmCertificates: [] }));
    for (const finding of [...look.cpu, look.devices]) {
      expect(finding.detail).not.toBe('');
      if (finding.state === 'unusable') expect(finding.fix).toBeTruthy();
    }
    expect(look.cpu.filter(({ state }) => state === 'usable')).toEqual([]);
  }, 60_000);

  test('a TPM is looked into for Azure on Azure alone', async () => {
    const dmi = await mkdtemp(join(tmpdir(), 'vouchsafe-dmi-'));
    const find = async () => {
      const { cpu } = waysOfThisMachine({ tpm: '/dev/null/tpm', tpmCertificates: [], dmi });
      return cpu.find(({ name }) => name === 'azure')!.find();
    };
    const before = await find();
    await writeFile(join(dmi, 'chassis_asset_tag'), '7783-7084-3265-9085-8269-3286-77\n');
    const after = await find();
    await rm(dmi, { recursive: true });
    expect(before.state).toBe('absent');
    expect(after.detail).not.toBe(before.detail);
  });
});
