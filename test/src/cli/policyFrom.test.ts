import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { encodeDocument, parseDocument } from '../../../attestation/evidence/document.ts';
import { PLATFORMS, type CpuEvidence, type Platform } from '../../../attestation/evidence/evidence.ts';
import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import { policySchema, type Policy } from '../../../attestation/policy/policy.ts';
import { CliError, EXIT } from '../../../src/cli/exit.ts';
import { policyFrom, policyFromCommand, type FromFlags } from '../../../src/cli/policyFrom.ts';
import {
  cpuFailures,
  judgeDocument,
  mintDocument,
  type MintedPlatform,
} from '../../support/evidenceDocument.ts';
import * as nitro from '../../support/nitroAuthority.ts';
import {
  machineOn,
  mintAzureSnp,
  mintAzureTdx,
  mintNitro,
  mintNitroTpm,
  mintSnp,
  mintTdx,
  mintTpm,
  pcrsOf,
  quotePcrs,
} from '../../support/platforms.ts';
import { TD } from '../../support/dcapAuthority.ts';
import * as tpm from '../../support/tpmAuthority.ts';
import { contextOf, failures, issueBundle, makeWorld } from '../../support/world.ts';
import { attestation } from '../client/service.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-from-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

let written = 0;
function write(content: Uint8Array | string): string {
  const path = join(folder, `file${written++}`);
  writeFileSync(path, content);
  return path;
}

type Collect = MintedPlatform['collectCpu'];
type Edit = (report: DataView) => void;

/** A machine on a platform, as it was launched and with one launch value changed. */
interface Launched {
  readonly machine: MintedPlatform;
  readonly collect: Collect;
  readonly changed: Readonly<Record<string, Collect>>;
}

/** Firmware that looked for aliases of memory, as all of today says. */
const aliasesChecked: Edit = (report) => {
  report.setBigUint64(0x040, 0x20n, true);
};

function snpWith(offset: number): Edit {
  return (report) => {
    aliasesChecked(report);
    report.setUint8(offset, report.getUint8(offset) ^ 1);
  };
}

function flipAt(offset: number): Edit {
  return (report) => {
    report.setUint8(offset, report.getUint8(offset) ^ 1);
  };
}

function withPcr(index: number, hash: 'sha256' | 'sha384' = 'sha256'): Map<number, Uint8Array> {
  const values = pcrsOf(hash);
  return values.set(index, values.get(index)!.map((byte) => byte ^ 1));
} // prettier-ignore

const LAUNCHED: Readonly<Record<Platform, () => Promise<Launched>>> = {
  snp: async () => {
    const machine = await mintSnp();
    const { certificates } = machine;
    const on = (edit: Edit): Collect => async (data) => ({
      platform: 'snp', report: await machine.report(data, edit), certificates,
    }); // prettier-ignore
    return {
      machine,
      collect: on(aliasesChecked),
      changed: { measurement: on(snpWith(0x090)), 'host data': on(snpWith(0x0c0)), VMPL: on(snpWith(0x030)) },
    };
  },
  tdx: async () => {
    const machine = await mintTdx();
    const on = (edit?: Edit): Collect => async (data) => ({
      platform: 'tdx', report: await machine.quote(data, edit),
    }); // prettier-ignore
    const { mrTd, rtmr0, rtmr1, rtmr2, mrConfigId } = TD;
    const offsets = { mrTd, rtmr0, rtmr1, rtmr2, mrConfigId };
    const changed = Object.entries(offsets).map(([name, offset]) => [name, on(flipAt(offset))] as const);
    return { machine, collect: on(), changed: Object.fromEntries(changed) };
  },
  nitro: async () => {
    const machine = await mintNitro();
    const on =
      (index: number): Collect =>
      (data) => {
        const pcrs = nitro.registers(16).set(index, new Uint8Array(48).fill(0xee));
        return machine.mint({ user_data: data, pcrs });
      };
    return { machine, collect: machine.collectCpu, changed: { PCR0: on(0), PCR1: on(1), PCR8: on(8) } };
  },
  nitrotpm: async () => {
    const machine = await mintNitroTpm();
    const on = (index: number): Collect => (data) =>
      machine.mint({ user_data: data, nitrotpm_pcrs: withPcr(index, 'sha384') }); // prettier-ignore
    const collect: Collect = (data) => machine.mint({ user_data: data, module_id: nitro.MODULE_ID });
    return { machine, collect, changed: { PCR4: on(4), PCR12: on(12) } };
  },
  'azure-snp': async () => {
    const machine = await mintAzureSnp();
    const on =
      (edit: Edit): Collect =>
      (data) =>
        machine.collect(data, { edit });
    const collect = on(aliasesChecked);
    const quoted = async (data: Uint8Array): Promise<CpuEvidence> => ({
      ...(await machine.collect(data, { edit: aliasesChecked })),
      tpm: await quotePcrs(machine.keys, data, { values: withPcr(11) }),
    });
    return { machine, collect, changed: { measurement: on(snpWith(0x090)), PCR11: quoted } };
  },
  'azure-tdx': async () => {
    const machine = await mintAzureTdx();
    const quoted = async (data: Uint8Array): Promise<CpuEvidence> => ({
      ...(await machine.collect(data)),
      tpm: await quotePcrs(machine.keys, data, { values: withPcr(4) }),
    });
    const mrTd: Collect = (data) => machine.collect(data, { edit: flipAt(TD.mrTd) });
    return { machine, collect: machine.collectCpu, changed: { mrTd, PCR4: quoted } };
  },
  'gcp-vtpm': () => launchedTpm('gcp-vtpm'),
  tpm: () => launchedTpm('tpm'),
};

async function launchedTpm(platform: 'gcp-vtpm' | 'tpm'): Promise<Launched> {
  const machine = await mintTpm(platform);
  const { certificates, keys } = machine;
  const on = (index: number): Collect => async (data) => ({
    platform, tpm: await quotePcrs(keys, data, { certificates, values: withPcr(index) }),
  }); // prettier-ignore
  return { machine, collect: machine.collectCpu, changed: { PCR0: on(0), PCR4: on(4), PCR7: on(7) } };
}

async function policyOf(documents: readonly Uint8Array[], flags: FromFlags = {}): Promise<Policy> {
  return (await policyFrom(documents.map(write), flags)).policy;
}

async function refusal(paths: readonly string[], flags: FromFlags = {}): Promise<CliError> {
  try {
    await policyFrom(paths, flags);
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe.each(PLATFORMS)('vouchsafe policy from evidence of %s', (platform) => {
  let launched: Launched;
  let document: Uint8Array;
  let policy: Policy;

  beforeAll(async () => {
    launched = await LAUNCHED[platform]();
    document = await mintDocument(launched.collect);
    policy = await policyOf([document]);
  });

  test('accepts this evidence, and names no other platform', async () => {
    const verdict = await judgeDocument(document, launched.machine, { policy });
    expect([failures(verdict), verdict.decision]).toEqual([[], 'accepted']);
    const named = PLATFORMS.filter((each) => policy.cpu[each] !== 'refused');
    expect(named).toEqual([platform]);
    expect(policy).toMatchObject({ devices: 'none', simulated: [], nonce: 'required' });
  });

  test('accepts the next evidence of it', async () => {
    const next = await mintDocument(launched.collect, {});
    const verdict = await judgeDocument(next, launched.machine, { policy });
    expect(failures(verdict)).toEqual([]);
  });

  test('refuses each launch value that is changed', async () => {
    for (const [name, collect] of Object.entries(launched.changed)) {
      const verdict = await judgeDocument(await mintDocument(collect), launched.machine, { policy });
      expect([name, verdict.decision]).toEqual([name, 'refused']);
      const wanted = name === 'VMPL' ? 'PRIVILEGE_LEVEL_MISMATCH' : 'MEASUREMENT_MISMATCH';
      expect(cpuFailures(verdict)).toEqual([expect.stringContaining(wanted)]);
    }
  });

  test('of two machines accepts both', async () => {
    const [other] = Object.values(launched.changed);
    const second = await mintDocument(other!);
    const both = await policyOf([document, second]);
    for (const each of [document, second]) {
      expect(failures(await judgeDocument(each, launched.machine, { policy: both }))).toEqual([]);
    }
  });

  test('with --this-machine-only still accepts it', async () => {
    const only = await policyOf([document], { thisMachineOnly: true });
    expect(only).not.toEqual(policy);
    expect(failures(await judgeDocument(document, launched.machine, { policy: only }))).toEqual([]);
  });

  test('is what can be written down', () => {
    expect(policySchema.parse(JSON.parse(JSON.stringify(policy)))).toEqual(policy);
  });
});

describe('vouchsafe policy from, with --this-machine-only', () => {
  const flags = { thisMachineOnly: true };

  test('refuses another TDX platform', async () => {
    const [machine, other] = [await mintTdx(), await mintTdx(new Uint8Array(16).fill(0x77))];
    const policy = await policyOf([await mintDocument(machine.collectCpu)], flags);
    const verdict = await judgeDocument(await mintDocument(other.collectCpu), other, { policy });
    expect(failures(verdict)).toEqual(['cpu: cpu.identity DEVICE_NOT_ALLOWED']);
  });

  test('refuses another TPM', async () => {
    const [machine, other] = [await mintTpm('tpm'), await mintTpm('tpm')];
    const policy = await policyOf([await mintDocument(machine.collectCpu)], flags);
    const verdict = await judgeDocument(await mintDocument(other.collectCpu), other, { policy });
    expect(failures(verdict)).toEqual(['cpu: cpu.identity DEVICE_NOT_ALLOWED']);
  });

  test('refuses a TPM of another Google project, without it as well', async () => {
    const [machine, other] = [await mintTpm('gcp-vtpm'), await mintTpm('gcp-vtpm')];
    const instance = tpm.raw(tpm.GOOGLE_INSTANCE, tpm.googleInstance(1234n));
    const extensions = [tpm.LEAF, tpm.usage('digitalSignature'), instance];
    const leaf = await other.authority.issueLeaf(other.keys, { extensions });
    const certificates = [leaf, ...other.certificates.slice(1)];
    const collect: Collect = async (data) => ({
      platform: 'gcp-vtpm', tpm: await quotePcrs(other.keys, data, { certificates }),
    }); // prettier-ignore
    const policy = await policyOf([await mintDocument(machine.collectCpu)]);
    const verdict = await judgeDocument(await mintDocument(collect), other, { policy });
    expect(failures(verdict)).toEqual(['cpu: cpu.identity DEVICE_NOT_ALLOWED']);
  });

  test('names chip, VM and instance', async () => {
    const azure = await mintAzureSnp();
    const one = await policyOf([await mintDocument(azure.collectCpu)], flags);
    expect(one.cpu['azure-snp']).toMatchObject({
      claims: { vmUniqueIds: [expect.any(String)] },
      snp: { chipIds: [expect.stringMatching(/^[0-9a-f]{128}$/)] },
    });
    const two = await policyOf([await mintDocument((await mintNitro()).collectCpu)], flags);
    expect(two.cpu.nitro).toMatchObject({ moduleIds: [expect.stringMatching(/^i-[0-9a-f]+$/)] });
  });

  test('refuses an SNP report that names no chip', async () => {
    const machine = await mintSnp();
    const collect: Collect = async (data) => ({
      platform: 'snp',
      report: await machine.report(data, (report) => {
        for (let i = 0; i < 64; i++) report.setUint8(0x1a0 + i, 0);
      }),
      certificates: machine.certificates,
    });
    expect((await refusal([write(await mintDocument(collect))], flags)).exit).toBe(EXIT.refused);
  });
});

describe('vouchsafe policy from what the default refuses', () => {
  test('keeps refusing it, and says so', async () => {
    const machine = await mintSnp();
    const collect: Collect = async (data) => ({
      platform: 'snp',
      report: await machine.report(data, (report) => {
        report.setBigUint64(0x008, 0xb0000n, true);
      }),
      certificates: machine.certificates,
    });
    const document = await mintDocument(collect);
    const { policy } = await policyFrom([write(document)], {});
    expect(failures(await judgeDocument(document, machine, { policy }))).toContain(
      'cpu: cpu.debug DEBUG_ENABLED',
    );
  });

  test('says that its own roots do not know the evidence', async () => {
    const { notices } = await policyFrom([write(await mintDocument((await machineOn('tpm')).collectCpu))], {});
    const loud = notices.filter(({ isLoud }) => isLoud).map(({ text }) => text).join('\n');
    expect(loud).toMatch(/UNTRUSTED_ROOT/);
    expect(loud).toMatch(/does not protect memory/);
  }); // prettier-ignore

  test('refuses a report that the host asked for', async () => {
    const machine = await mintSnp();
    const collect: Collect = async (data) => ({
      platform: 'snp',
      report: await machine.report(data, (report) => {
        report.setUint32(0x030, 0xffffffff, true);
      }),
      certificates: machine.certificates,
    });
    expect((await refusal([write(await mintDocument(collect))])).exit).toBe(EXIT.refused);
  });

  test('refuses registers of SHA-1, and of two banks', async () => {
    const { keys, certificates } = await mintTpm('tpm');
    const of = (hash: 'sha1' | 'sha256' | 'sha384') => mintDocument(async (data) => ({
      platform: 'tpm', tpm: await quotePcrs(keys, data, { certificates, hash }),
    })); // prettier-ignore
    expect((await refusal([write(await of('sha1'))])).exit).toBe(EXIT.refused);
    const both = [write(await of('sha256')), write(await of('sha384'))];
    expect((await refusal(both)).exit).toBe(EXIT.refused);
    expect((await policyOf([await of('sha384')])).cpu.tpm).toMatchObject({ pcrs: { bank: 'sha384' } });
  });

  test('refuses a quote without registers of an image, and says where nothing was measured', async () => {
    const { keys, certificates } = await mintTpm('tpm');
    const quoted = (pcrs: readonly number[], values: ReadonlyMap<number, Uint8Array>) =>
      mintDocument(async (data) => ({
        platform: 'tpm', tpm: await quotePcrs(keys, data, { certificates, pcrs, values }),
      })); // prettier-ignore
    const zero = (pcrs: readonly number[]) => new Map(pcrs.map((index) => [index, new Uint8Array(32)]));
    expect((await refusal([write(await quoted([10, 16], zero([10, 16])))])).exit).toBe(EXIT.refused);
    const { notices } = await policyFrom([write(await quoted([4, 8, 9, 11], zero([4, 8, 9, 11])))], {});
    expect(notices.map(({ text }) => text).join()).toMatch(/Nothing was measured/);
  });
});

describe('vouchsafe policy from simulated evidence', () => {
  let bundle: Uint8Array;
  let document: Uint8Array;
  let answer: Uint8Array | string;
  const at = { at: '2026-11-21T12:00:00Z' };

  beforeAll(async () => {
    const world = await makeWorld();
    ({ bundle } = await issueBundle(world, { nonce: new Uint8Array(32).fill(3) }));
    document = parseBundle(bundle).cited;
    answer = (await attestation(world, new Uint8Array(32).fill(5))).body;
  });

  test('names exactly what is simulated, loudly, and accepts the bundle', async () => {
    const { policy, notices } = await policyFrom([write(bundle)], at);
    expect(policy.simulated).toEqual(['cpu', 'gpu']);
    expect(notices).toContainEqual({ text: expect.stringContaining('SIMULATED'), isLoud: true });
    expect(policy.devices).toMatchObject({
      gpus: { minimum: 1, maximum: 1 }, switches: { minimum: 0, maximum: 0 },
      nvidia: { architectures: ['hopper'], chips: ['GH100'], serials: 'any', pinnedMeasurements: [] },
    }); // prettier-ignore
    const { verdict } = await appraiseBundle(bundle, {}, contextOf({ policy }));
    expect([failures(verdict), verdict.simulated]).toEqual([[], ['cpu', 'gpu']]);
    const real = { ...policy, simulated: [] };
    expect((await appraiseBundle(bundle, {}, contextOf({ policy: real }))).verdict.decision).toBe('refused');
  });

  test('is the same from a document, a bundle and an attestation answer', async () => {
    const one = await policyOf([document], at);
    expect(await policyOf([bundle], at)).toEqual(one);
    const { policy } = await policyFrom([write(answer)], at);
    expect({ ...policy, description: '', cpu: '' }).toEqual({ ...one, description: '', cpu: '' });
  });

  test('pins devices where it is asked to, and refuses other ones with --this-machine-only', async () => {
    const policy = await policyOf([document], { ...at, pinDevices: true, thisMachineOnly: true });
    expect(policy.devices).toMatchObject({
      nvidia: { serials: [expect.any(String)], pinnedMeasurements: [{ chip: 'GH100', kind: 'gpu' }] },
    });
    expect(failures((await appraiseBundle(bundle, {}, contextOf({ policy }))).verdict)).toEqual([]);
    const other = await issueBundle(await makeWorld());
    const { verdict } = await appraiseBundle(other.bundle, {}, contextOf({ policy }));
    expect(verdict.decision).toBe('refused');
    expect((await refusal([write(document)], { at: '2001-01-01T00:00:00Z', pinDevices: true })).exit).toBe(
      EXIT.refused,
    );
  });

  test('refuses to mix what is simulated with what is not', async () => {
    const files = [write(document), write(encodeDocument({ ...parseDocument(document), devices: [] }))];
    expect((await refusal(files, at)).exit).toBe(EXIT.misuse);
  });
});

describe('vouchsafe policy from what is no evidence', () => {
  test('refuses a document cut short', async () => {
    const document = await mintDocument((await machineOn('tpm')).collectCpu);
    expect((await refusal([write(document.subarray(0, 200))])).exit).toBe(EXIT.unreadable);
  });

  test.each<[string, string, number]>([
    ['other text', 'hello', EXIT.unreadable],
    ['an empty file', '', EXIT.unreadable],
    ['a policy', JSON.stringify(DEFAULT_POLICY), EXIT.misuse],
  ])('refuses %s', async (_, content, exit) => {
    expect((await refusal([write(content)])).exit).toBe(exit);
  });

  test('refuses a document whose report cannot be read', async () => {
    const { certificates } = await mintSnp();
    const report = new Uint8Array(1183);
    const document = await mintDocument(() => Promise.resolve({ platform: 'snp', report, certificates }));
    expect((await refusal([write(document)])).exit).toBe(EXIT.unreadable);
  });

  test('refuses a file that is not there, and a time that is none', async () => {
    expect((await refusal([join(folder, 'missing')])).exit).toBe(EXIT.unreadable);
    expect((await refusal([write('')], { at: 'now' })).exit).toBe(EXIT.misuse);
  });

  test('has help with examples', () => {
    let text = '';
    policyFromCommand()
      .configureOutput({ writeOut: (more) => (text += more) })
      .outputHelp();
    expect(text).toContain('vouchsafe policy from evidence.cbor > policy.json');
    expect(text).toContain('what the machine says of itself');
  });
});
