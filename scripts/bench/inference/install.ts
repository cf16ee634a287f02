import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The peer goes into a scratch folder: it brings another version of onnxruntime, and 470 MB. */
const PACKAGES = {
  name: 'vouchsafe-bench-inference-peers',
  private: true,
  type: 'module',
  dependencies: { '@huggingface/transformers': '4.3.1' },
};

/** Installs the peer once; returns the folder. */
export function installPeers(): string {
  const folder = join(tmpdir(), PACKAGES.name);
  if (existsSync(join(folder, 'node_modules/@huggingface/transformers/dist'))) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify(PACKAGES, null, 2));
  execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: 'ignore',
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
  });
  return folder;
}
