import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { agentPolicy } from '../../../../enclave/deploy/initData/agentPolicy.ts';
import { inFolder } from '../../../support/folder.ts';
import { testUnless } from '../../../support/programs.ts';
import { CONTAINER, IMAGE, pause, RUN, SANDBOX, service, SHARED, type Request } from './agentRequests.ts';

/**
 * A program that is given the path of a policy and reads a line of JSON for each request: `request` is its name, `input`
 * its members. It writes a line for each, with `true` in it where the policy allows the request.
 */
const ENGINE = process.env['VOUCHSAFE_REGO_ENGINE'];

type Case = readonly [what: string, request: string, input: unknown, isAllowed: boolean];
type Edit = (request: Request) => unknown;

function changed(base: () => Request, edit: Edit): Request {
  const request = base();
  edit(request);
  return request;
}

const refused = (what: string, edit: Edit, base = service): Case => [
  what,
  CONTAINER,
  changed(base, edit),
  false,
];

const CONTAINERS: readonly Case[] = [
  ['the pause container', CONTAINER, pause(), true],
  ['the service', CONTAINER, service(), true],
  refused('another image', ({ storages }) => (storages[0]!.source = IMAGE.replace('vouchsafe', 'other'))),
  refused('a tag', ({ storages }) => (storages[0]!.source = 'registry.example/vouchsafe:latest')),
  refused('two storages', ({ storages }) => storages.push(storages[0]!)),
  refused('another driver', ({ storages }) => (storages[0]!.driver = 'blk')),
  refused('an image in another place', ({ storages }) => (storages[0]!.mount_point = '/run')),
  refused('an argument more', ({ OCI }) => OCI.Process.Args.push('--inspect')),
  refused('a variable more', ({ OCI }) => OCI.Process.Env.push('NODE_OPTIONS=--inspect')),
  refused('a variable behind another', ({ OCI }) => OCI.Process.Env.push('HOSTNAME=a\nNODE_OPTIONS=b')),
  refused('a variable less', ({ OCI }) => OCI.Process.Env.shift()),
  refused('another folder', ({ OCI }) => (OCI.Process.Cwd = '/data')),
  refused('another user', ({ OCI }) => (OCI.Process.User.UID = 1)),
  refused('a terminal', ({ OCI }) => (OCI.Process.Terminal = true)),
  refused('a root to write to', ({ OCI }) => (OCI.Root.Readonly = false)),
  refused('another root', ({ OCI }) => (OCI.Root.Path = '/')),
  refused('hooks', ({ OCI }) => (OCI.Hooks = { Prestart: [{ Path: '/bin/sh' }] })),
  refused('a device', ({ devices }) => devices.push({ id: 'vda' })),
  refused('a device node', ({ OCI }) => OCI.Linux.Devices.push({ Path: '/dev/vda' })),
  refused('a mount of the application', ({ OCI }) =>
    OCI.Mounts.push({ destination: '/app', type_: 'bind', source: `${SHARED}-hosts`, options: [] })),
  refused('a bind mount as /proc', ({ OCI }) => (OCI.Mounts[0]!.options = ['rbind'])),
  refused('another source of /proc', ({ OCI }) => (OCI.Mounts[0]!.source = '/etc')),
  refused('hosts from elsewhere', ({ OCI }) => (OCI.Mounts[1]!.source = '/run/kata-containers/x/rootfs/hosts')),
  refused('hosts by a way back', ({ OCI }) => (OCI.Mounts[1]!.source = `${SHARED}-hosts/../../x-hosts`)),
  refused('the mounts of the guest', ({ OCI }) => (OCI.Linux.Namespaces[0]!.Path = '/proc/1/ns/mnt')),
  refused('a setting of the kernel', ({ OCI }) => (OCI.Linux.Sysctl['kernel.core_pattern'] = '|/bin/sh')),
  refused('a device by annotation', ({ OCI }) => (OCI.Annotations['cdi.k8s.io/vfio0'] = 'x')),
  refused('neither of the two kinds', ({ OCI }) => (OCI.Annotations['io.kubernetes.cri.container-type'] = 'x')),
  refused('the service as a pause container', ({ OCI }) => (OCI.Annotations['io.kubernetes.cri.container-type'] = 'sandbox')),
  refused('a pause container of the host', ({ storages }) => (storages[0]!.driver_options = service().storages[0]!.driver_options), pause),
  refused('a pause container of nothing', ({ storages }) => (storages[0]!.driver_options = ['image_guest_pull={']), pause),
  refused('hooks of the pause container', ({ OCI }) => (OCI.Hooks = {}), pause),
]; // prettier-ignore

const copy = (path: string, file_type = 'Regular') => ({ path, file_type });

const OTHERS: readonly Case[] = [
  ['a sandbox', 'CreateSandboxRequest', SANDBOX, true],
  ['modules', 'CreateSandboxRequest', { ...SANDBOX, kernel_modules: ['x'] }, false],
  ['hooks of a guest', 'CreateSandboxRequest', { ...SANDBOX, guest_hook_path: '/x' }, false],
  ['a disk', 'CreateSandboxRequest', { ...SANDBOX, storages: [{ ...SANDBOX.storages[0], driver: 'blk' }] }, false],
  ['a file of names', 'CopyFileRequest', copy(`${SHARED}-resolv.conf`), true],
  ['a link', 'CopyFileRequest', copy(`${SHARED}-hosts`, 'Symlink'), false],
  ['a program', 'CopyFileRequest', copy('/usr/bin/node'), false],
  ['a file behind one of names', 'CopyFileRequest', copy(`${SHARED}-hosts/x`), false],
  ['SIGTERM', 'SignalProcessRequest', { signal: 15 }, true],
  ['SIGKILL', 'SignalProcessRequest', { signal: 9 }, true],
  ['SIGUSR1', 'SignalProcessRequest', { signal: 10 }, false],
  ['an interface', 'UpdateInterfaceRequest', { interface: { name: 'eth0', hwAddr: '02:00:00:00:00:01' } }, true],
  ['loopback', 'UpdateInterfaceRequest', { interface: { name: 'lo', hwAddr: '02:00:00:00:00:01' } }, false],
  ['a route', 'UpdateRoutesRequest', { routes: { Routes: [{ device: 'eth0', source: '' }] } }, true],
  ['a route of loopback', 'UpdateRoutesRequest', { routes: { Routes: [{ device: 'lo', source: '' }] } }, false],
  ['a process', 'ExecProcessRequest', {}, false],
  ['output', 'ReadStreamRequest', {}, false],
  ['another policy', 'SetPolicyRequest', {}, false],
  ['anything', 'AllowRequestsFailingPolicy', {}, false],
  ['a start', 'StartContainerRequest', {}, true],
]; // prettier-ignore

const missing = ENGINE ? undefined : 'no engine of Rego, VOUCHSAFE_REGO_ENGINE';
testUnless(missing, 'an engine of Rego decides as the policy is meant', async () => {
  const cases = [...CONTAINERS, ...OTHERS];
  const lines = cases.map(([, request, input]) => `${JSON.stringify({ request, input })}\n`).join('');
  await inFolder((folder) => {
    const path = join(folder, 'policy.rego');
    writeFileSync(path, agentPolicy(RUN));
    const decided = execFileSync(ENGINE!, [path], { input: lines, encoding: 'utf8' }).trim().split('\n');
    const found = cases.map(([what], index) => [what, decided[index]?.includes('true')]);
    expect(found).toEqual(cases.map(([what, , , isAllowed]) => [what, isAllowed]));
    return Promise.resolve();
  });
});

test.each([
  'vouchsafe',
  'registry.example/vouchsafe',
  `${IMAGE}x`,
  IMAGE.replace('@', ':1@'),
  IMAGE.toUpperCase(),
])('%s is no image with a digest', (image) => {
  expect(() => agentPolicy({ ...RUN, image })).toThrow(
    expect.objectContaining({ code: 'DEPLOY_OPTIONS_INVALID' }),
  );
});
