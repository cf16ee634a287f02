import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { Tree, type FileContent } from '../../image/tree.ts';
import { DeployError } from '../errors.ts';

/** The two files of the first RAM disk, as `nitro-cli` installs them beside the kernel that they are for. */
export interface EnclaveBoot {
  /** First process: loads the driver, says by vsock that the enclave is up, and starts `cmd` in `rootfs`. */
  readonly init: FileContent;
  /** Driver of the Nitro Secure Module. Absent where the kernel has it inside. */
  readonly nsm?: FileContent | undefined;
}

/** The first RAM disk, laid out as that of `nitro-cli`: PCR1 covers it. */
export function bootRamdisk({ init, nsm }: EnclaveBoot): Tree {
  const tree = new Tree();
  tree.add('dev', { kind: 'folder', mode: 0o755 });
  tree.add('init', { kind: 'file', mode: 0o755, content: init });
  if (nsm) tree.add('nsm.ko', { kind: 'file', mode: 0o755, content: nsm });
  return tree;
}

export interface EnclaveApplication {
  readonly root: Tree;
  /** Program and arguments, one line each: `init` splits at line ends. */
  readonly command: readonly string[];
  /** `NAME=value`. */
  readonly environment: readonly string[];
}

/** Folders that `init` mounts file systems on. */
const MOUNT_POINTS = ['dev', 'proc', 'run', 'sys', 'tmp', 'var'];

/** The second RAM disk: `rootfs`, and beside it what `init` starts in it. PCR2 covers it. */
export function applicationRamdisk({ root, command, environment }: EnclaveApplication): Tree {
  const tree = new Tree();
  for (const name of MOUNT_POINTS) tree.add(`rootfs/${name}`, { kind: 'folder', mode: 0o755 });
  for (const [path, entry] of root.entries()) tree.add(`rootfs/${path}`, entry);
  tree.add('cmd', { kind: 'file', mode: 0o644, content: lines(command) });
  tree.add('env', { kind: 'file', mode: 0o644, content: lines(environment) });
  return tree;
}

function lines(values: readonly string[]): Uint8Array {
  const wrong = values.find((value) => value === '' || /[\n\0]/.test(value));
  if (wrong !== undefined) {
    throw new DeployError('DEPLOY_OPTIONS_INVALID', 'a command or a variable is empty or has a line end');
  }
  return utf8(values.map((value) => `${value}\n`).join(''));
}
