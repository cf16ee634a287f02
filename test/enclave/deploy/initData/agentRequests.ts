import type { AllowedContainer } from '../../../../enclave/deploy/initData/agentPolicy.ts';

// Requests as Kata's shim makes them of what containerd asks for, with the members that the policy looks at.

export const CONTAINER = 'CreateContainerRequest';
export const IMAGE = `registry.example/vouchsafe@sha256:${'ab'.repeat(32)}`;
/** Where the shim puts files of the host, up to the last part of their names. */
export const SHARED = '/run/kata-containers/shared/containers/c1-0123456789abcdef';

export const RUN: AllowedContainer = {
  image: IMAGE,
  args: ['/usr/bin/node', 'main.js'],
  environment: ['PATH=/usr/bin', 'HOME=/data'],
  workingFolder: '/',
  uid: 0,
  gid: 0,
};

export const SANDBOX = {
  guest_hook_path: '',
  kernel_modules: [],
  sandbox_pidns: false,
  storages: [
    { driver: 'ephemeral', source: 'shm', fstype: 'tmpfs', mount_point: '/run/kata-containers/sandbox/shm' },
  ],
};

export interface Request {
  container_id: string;
  devices: object[];
  shared_mounts: object[];
  sandbox_pidns: boolean;
  string_user: null;
  storages: {
    driver: string;
    driver_options: string[];
    source: string;
    fstype: string;
    options: string[];
    mount_point: string;
  }[];
  OCI: {
    Annotations: Record<string, string>;
    Hooks: object | null;
    Solaris: null;
    Windows: null;
    Root: { Path: string; Readonly: boolean };
    Process: {
      Args: string[];
      Env: string[];
      Cwd: string;
      Terminal: boolean;
      User: { UID: number; GID: number };
    };
    Mounts: { destination: string; type_: string; source: string; options: string[] }[];
    Linux: {
      Devices: object[];
      GIDMappings: object[];
      UIDMappings: object[];
      Namespaces: { Type: string; Path: string }[];
      Sysctl: Record<string, string>;
    };
  };
}

function request(kind: 'sandbox' | 'container', source: string): Request {
  const root = '/run/kata-containers/c1/rootfs';
  const annotations = { 'io.kubernetes.cri.container-type': kind, 'io.kubernetes.cri.sandbox-id': 'c0' };
  return {
    container_id: 'c1',
    devices: [],
    shared_mounts: [],
    sandbox_pidns: false,
    string_user: null,
    storages: [
      {
        driver: 'image_guest_pull',
        driver_options: [`image_guest_pull=${JSON.stringify({ metadata: annotations })}`],
        source,
        fstype: 'overlay',
        options: [],
        mount_point: root,
      },
    ],
    OCI: {
      Annotations: { ...annotations, 'io.katacontainers.pkg.oci.bundle_path': '/run/c1' },
      Hooks: null,
      Solaris: null,
      Windows: null,
      Root: { Path: root, Readonly: true },
      Process: {
        Args: [...RUN.args],
        Env: [...RUN.environment, 'HOSTNAME=vouchsafe', 'KUBERNETES_PORT=tcp://10.0.0.1:443'],
        Cwd: '/',
        Terminal: false,
        User: { UID: 0, GID: 0 },
      },
      Mounts: [
        { destination: '/proc', type_: 'proc', source: 'proc', options: ['nosuid'] },
        { destination: '/etc/hosts', type_: 'bind', source: `${SHARED}-hosts`, options: ['rbind'] },
        {
          destination: '/dev/shm',
          type_: 'bind',
          source: '/run/kata-containers/sandbox/shm',
          options: ['rbind'],
        },
      ],
      Linux: {
        Devices: [],
        GIDMappings: [],
        UIDMappings: [],
        Namespaces: [
          { Type: 'mount', Path: '' },
          { Type: 'network', Path: '/var/run/netns/c0' },
        ],
        Sysctl: { 'net.ipv4.ping_group_range': '0 2147483647' },
      },
    },
  };
}

export const service = (): Request => request('container', IMAGE);
export const pause = (): Request => request('sandbox', 'registry.example/pause:3.10');
