import { ImageError } from '../errors.ts';
import type { Tree } from '../tree.ts';

/** Largest configuration of the service, bytes. */
const MAX_CONFIG = 1024 * 1024;
/** What the kernel and the first program mount or write on; everything else cannot be written. */
const FOLDERS = ['proc', 'sys', 'dev', 'run', 'tmp', 'data', 'models'];

const FILES: Readonly<Record<string, string>> = {
  'etc/passwd': 'root:x:0:0:root:/:/nonexistent\n',
  'etc/group': 'root:x:0:\n',
  'etc/hosts': '127.0.0.1 localhost\n::1 localhost\n',
  'etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
};

/** os-release(5), in the root and in the unified kernel image. */
export function osRelease(name: string, version: string): string {
  return `NAME=Vouchsafe\nID=vouchsafe\nPRETTY_NAME="Vouchsafe ${version}"\nVERSION_ID=${version}\nIMAGE_ID=${name}\n`;
}

/** What the service and its libraries read outside of their own folders. Name servers are those of the lease. */
export function addSettings(root: Tree, release: string, config: Uint8Array): void {
  checkConfig(config);
  for (const [path, text] of Object.entries(FILES)) addText(root, path, text);
  addText(root, 'etc/os-release', release);
  root.add('etc/resolv.conf', { kind: 'link', target: '/run/resolv.conf' });
  root.add('etc/vouchsafe/config.json', { kind: 'file', mode: 0o644, content: config });
  for (const folder of FOLDERS) root.add(folder, { kind: 'folder', mode: 0o755 });
}

/** That it is a document at all: what stands in it is the service's to judge, and whoever calls the builder has asked it. */
function checkConfig(config: Uint8Array): void {
  if (config.length > MAX_CONFIG) {
    throw new ImageError('IMAGE_CONFIG_INVALID', `The configuration is larger than ${MAX_CONFIG} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(config));
  } catch (error) {
    throw new ImageError('IMAGE_CONFIG_INVALID', 'The configuration is no JSON', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ImageError('IMAGE_CONFIG_INVALID', 'The configuration is no JSON object');
  }
}

function addText(root: Tree, path: string, text: string): void {
  root.add(path, { kind: 'file', mode: 0o644, content: Buffer.from(text) });
}
