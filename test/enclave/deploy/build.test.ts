import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { nitroPolicySchema } from '../../../attestation/policy/nitro.ts';
import { buildContainer, type ContainerBuild } from '../../../enclave/deploy/buildContainer.ts';
import { buildEnclave, type EnclaveBuild } from '../../../enclave/deploy/buildEnclave.ts';
import { readCpio } from '../../../enclave/image/boot/readCpio.ts';
import { readTar } from '../../../enclave/image/inputs/tarReader.ts';
import { Tree } from '../../../enclave/image/tree.ts';
import { parseEif } from '../../../enclave/predict/nitro/eif.ts';
import { inFolder } from '../../support/folder.ts';

function treeOf(files: Readonly<Record<string, string>>): Tree {
  const tree = new Tree();
  for (const [path, text] of Object.entries(files)) {
    tree.add(path, { kind: 'file', mode: 0o644, content: utf8(text) });
  }
  return tree;
}

const CONTAINER: Omit<ContainerBuild, 'folder'> = {
  name: 'vouchsafe-1-2-3',
  version: '1.2.3',
  repository: 'registry.example/vouchsafe',
  runtimeClass: 'kata-qemu-snp',
  memory: '4Gi',
  algorithm: 'sha256',
  root: treeOf({ 'usr/bin/node': 'node', 'app/main.js': 'main' }),
  models: treeOf({ 'a/model.onnx': 'model' }),
};

const built = (change: Partial<ContainerBuild> = {}) =>
  inFolder(async (folder) => {
    const facts = await buildContainer({ ...CONTAINER, ...change, folder: join(folder, 'out') });
    const read = (name: string) => readFile(join(folder, 'out', name));
    return {
      facts,
      archive: await read('container.oci.tar'),
      initData: await read('init-data.toml'),
      pod: (await read('pod.yaml')).toString(),
    };
  });

describe('buildContainer', () => {
  test('one image in archive, policy and pod', async () => {
    const { facts, archive, initData, pod } = await built();
    const image = `${CONTAINER.repository}@${facts.digest}`;
    expect(readTar(archive).get(`blobs/sha256/${facts.digest.slice(7)}`)).toBeDefined();
    expect(initData.toString()).toContain(`"image": ${JSON.stringify(image)}`);
    expect(pod).toContain(`image: ${image}\n`);
    expect(facts.diffIds).toHaveLength(2);
  });

  test('the pod carries the init-data whose digest a policy demands', async () => {
    const { facts, initData, pod } = await built();
    const [, annotation] = /cc_init_data: (\S+)\n/.exec(pod)!;
    expect(gunzipSync(Buffer.from(annotation!, 'base64')).equals(initData)).toBe(true);
    const digest = toHex(nodeCrypto.hash('sha256', initData));
    expect(facts.initDataDigest).toBe(digest);
    expect(facts.policy.snp.hostData).toEqual([{ name: CONTAINER.name, value: digest }]);
    expect(facts.policy.tdx.mrConfigId).toEqual([{ name: CONTAINER.name, value: digest + '00'.repeat(16) }]);
  });

  test('the same again gives the same; another file gives another image and other init-data', async () => {
    const [one, again, other] = await Promise.all([
      built(),
      built(),
      built({ root: treeOf({ 'usr/bin/node': 'node', 'app/main.js': 'mean' }) }),
    ]);
    expect(again).toEqual(one);
    expect(other.facts.digest).not.toBe(one.facts.digest);
    expect(other.facts.initDataDigest).not.toBe(one.facts.initDataDigest);
  });

  test('a key broker is told to both parts of the guest', async () => {
    const certificate = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    const { initData } = await built({ broker: { url: 'https://broker.example:8080', certificate } });
    expect(initData.toString().match(/https:\/\/broker\.example:8080/g)).toHaveLength(2);
    expect(initData.toString()).toContain('cc_kbc');
  });

  test.each<[string, Partial<ContainerBuild>]>([
    ['a repository without a registry', { repository: 'Vouchsafe' }],
    ['a tag beside the digest', { repository: 'registry.example/vouchsafe:latest' }],
    ['a runtime class of several lines', { runtimeClass: 'kata\nx: y' }],
    ['memory of no size', { memory: 'much' }],
    ['a broker of no address', { broker: { url: 'https://broker.example"\nx = "' } }],
    ['a broker with no certificate', { broker: { url: 'https://b.example', certificate: '"""\nx = 1' } }],
  ])('refuses %s', async (_name, change) => {
    await expect(built(change)).rejects.toMatchObject({ code: 'DEPLOY_OPTIONS_INVALID' });
  });
});

describe('the agent policy', () => {
  const policyText = async () => (await built()).initData.toString().split("'''")[5]!;

  test('has a default for each request, and permits none that runs, writes or reads', async () => {
    const text = await policyText();
    const defaults = [...text.matchAll(/^default (\w+) := (\w+)$/gm)].map(([, name, value]) => [name, value]);
    expect(new Set(defaults.map(([name]) => name)).size).toBe(defaults.length);
    const allowed = defaults.filter(([, value]) => value === 'true').map(([name]) => name);
    expect(allowed).toEqual([
      'DestroySandboxRequest',
      'GetOOMEventRequest',
      'GuestDetailsRequest',
      'OnlineCPUMemRequest',
      'RemoveContainerRequest',
      'RemoveStaleVirtiofsShareMountsRequest',
      'StartContainerRequest',
      'StatsContainerRequest',
      'WaitProcessRequest',
    ]);
    for (const never of ['ExecProcess', 'SetPolicy', 'WriteStream', 'ReadStream', 'UpdateEphemeralMounts']) {
      expect(text).toContain(`default ${never}Request := false\n`);
      expect(text).not.toMatch(new RegExp(`^${never}Request`, 'm'));
    }
    expect(text).toContain('default AllowRequestsFailingPolicy := false\n');
  });

  test('a rule stands for each request that is decided, and names are defined', async () => {
    const text = await policyText();
    for (const request of [
      'CreateContainer',
      'CreateSandbox',
      'CopyFile',
      'SignalProcess',
      'UpdateInterface',
    ]) {
      expect(text).toMatch(new RegExp(`^${request}Request if \\{$`, 'm'));
    }
    const defined = new Set([...text.matchAll(/^(\w+)(?:\(\w+\))? (?:if|:=)/gm)].map(([, name]) => name));
    const used = [...text.matchAll(/(?<!\.)\b(allowed_\w+|shared_\w+|file_systems|policy_data)\b/g)];
    expect(used.map(([, name]) => name).filter((name) => !defined.has(name))).toEqual([]);
  });
});

describe('buildEnclave', () => {
  const ENCLAVE: Omit<EnclaveBuild, 'folder'> = {
    name: 'release 1',
    version: '1.2.3',
    kernel: utf8('kernel'),
    cmdline: 'reboot=k panic=30\n',
    kernelVersion: '6.12',
    init: utf8('init'),
    nsm: utf8('driver'),
    root: treeOf({ 'usr/bin/node': 'node' }),
    models: treeOf({ 'a/model.onnx': 'model' }),
  };

  test('root, command and models are in RAM disks of their own, and a policy names the registers', async () => {
    await inFolder(async (folder) => {
      const facts = await buildEnclave({ ...ENCLAVE, folder });
      const { ramdisks, cmdline } = parseEif(await readFile(join(folder, facts.path)));
      expect(cmdline).toBe('reboot=k panic=30');
      const [boot, application, models] = ramdisks.map((ramdisk) => readCpio(ramdisk));
      expect(boot!.get('init')).toMatchObject({ mode: 0o755, content: utf8('init') });
      expect(application!.get('rootfs/usr/bin/node')).toMatchObject({ content: utf8('node') });
      expect(application!.get('cmd')).toBeDefined();
      expect(models!.get('rootfs/models/a/model.onnx')).toMatchObject({ content: utf8('model') });
      const common = { moduleIds: 'any', maximumAgeSeconds: 300, debug: 'refused' };
      const policy = nitroPolicySchema.parse({ ...common, ...facts.policy.nitro });
      expect(policy.measurements).toEqual([{ name: 'release 1', pcrs: facts.pcrs }]);
      expect(facts.parts.kernel).toBe(toHex(nodeCrypto.hash('sha256', utf8('kernel'))));
      const again = await buildEnclave({ ...ENCLAVE, folder });
      expect(again).toEqual(facts);
    });
  });
});
