import { spawn } from 'node:child_process';
import { createPublicKey, hash, verify, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { keySpki } from '../../attestation/cose/key.ts';
import { sigStructure } from '../../attestation/cose/sign1.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { bundleEnds } from '../../attestation/log/tiles.ts';
import { parseReceipt } from '../../attestation/receipt/receipt.ts';
import { BundleHash } from '../../src/audit/bundleHash.ts';
import { openDataFolder } from '../../src/export/dataFolder.ts';
import { exportArchive } from '../../src/archive/export/exportArchive.ts';
import { createFolderSink } from '../../src/archive/export/sinks.ts';
import { mintAuditLog } from './auditLog.ts';
import { figure, goal, type Figure } from './figure.ts';
import { median } from './measure.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PROGRAM = 'dist/src/cli/main.js';
/** Signatures that are verified one by one; their cost is multiplied by the number of receipts. */
const SAMPLE = 5000;
const READ_AHEAD = 2000;

/** The audit of a whole log, against one signature each and against the bare hash of the same bytes. */
export async function auditFigures(
  receipts: number,
  rounds: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-bench-audit-'));
  try {
    const instance = await mintAuditLog(join(folder, 'data'), receipts, say);
    const exported = join(folder, 'export');
    const source = openDataFolder(join(folder, 'data'));
    await exportArchive(source, { from: undefined, to: undefined }, await createFolderSink(exported));
    const log = join(exported, 'instances', instance);
    return await measure(exported, log, receipts, rounds, say);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(
  exported: string,
  log: string,
  receipts: number,
  rounds: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> {
  const bundles = listBundles(log, receipts);
  const each = verifyEach(log, bundles);
  const samples: Samples = { tree: [], bare: [], one: [], all: [] };
  const memory: number[] = [];
  for (let round = 0; round < rounds; round++) {
    samples.bare.push(bareHash(bundles));
    samples.tree.push(bareTree(bundles));
    const one = await audit(exported, ['--workers', '0']);
    const all = await audit(exported, []);
    samples.one.push(one.seconds);
    samples.all.push(all.seconds);
    memory.push(one.rssBytes);
    say(
      `audit ${round + 1}: bare ${samples.bare.at(-1)?.toFixed(2)} s, tree ${samples.tree.at(-1)?.toFixed(2)} s, one thread ${one.seconds.toFixed(2)} s, all cores ${all.seconds.toFixed(2)} s`,
    );
  }
  const full = await audit(exported, ['--signatures', 'all']);
  const { bare, tree, one, all } = mediansOf(samples);
  const signatures = each * receipts;
  const cores = availableParallelism();
  return [
    figure(`bare SHA-256 of ${receipts} entries, each by itself, files read`, bare, 's'),
    figure('bare SHA-256 of the tree: the same and its nodes', tree, 's'),
    figure(`one ES256 each, ${SAMPLE} measured and multiplied`, signatures, 's'),
    figure('audit, covered, one thread, process start included', one, 's'),
    goal('  against one signature each', signatures / one, 'x', 'at least 8', (value) => value >= 8),
    goal('  against the bare hash of the tree', one / tree, 'x', 'within 3', (value) => value <= 3),
    figure('  against the bare hash of the entries alone', one / bare, 'x'),
    figure('  resident memory', median(memory) / 1e6, 'MB'),
    figure(`audit, covered, ${cores} workers`, all, 's'),
    goal('  against the bare hash of the tree', all / tree, 'x', 'within 3', (value) => value <= 3),
    figure('  against the bare hash of the entries alone', all / bare, 'x'),
    figure(`audit, every signature, ${cores} workers`, full.seconds, 's'),
    figure('  receipts per second and core', receipts / full.seconds / cores, ''),
  ];
}

type Samples = Record<'tree' | 'bare' | 'one' | 'all', number[]>;

function mediansOf({ bare, tree, one, all }: Samples): Record<keyof Samples, number> {
  return { bare: median(bare), tree: median(tree), one: median(one), all: median(all) };
}

function listBundles(log: string, receipts: number): readonly string[] {
  const manifest = JSON.parse(readFileSync(join(log, '../../manifest.json'), 'utf8')) as {
    files: { path: string }[];
  };
  const bundles = manifest.files
    .filter(({ path }) => path.includes('/tile/entries/'))
    .map(({ path }) => path);
  if (bundles.length * 256 < receipts) throw new Error('the export lacks bundles');
  return bundles.map((path) => join(log, '../..', path));
}

/** Seconds for the hash of every leaf and node of the tree, with the reading of the files: no audit can leave it out. */
function bareTree(bundles: readonly string[]): number {
  const started = performance.now();
  const tree = new BundleHash();
  for (const path of bundles) {
    const file = readFileSync(path);
    const bytes = new Uint8Array(file.buffer, file.byteOffset, file.length);
    const ends = bundleEnds(bytes);
    let start = 2;
    for (const [i, end] of ends.entries()) {
      tree.leaf(i, bytes, start, end);
      start = end + 2;
    }
    tree.root(ends.length);
  }
  return (performance.now() - started) / 1000;
}

/** Seconds for the hash of every entry alone. */
function bareHash(bundles: readonly string[]): number {
  const started = performance.now();
  for (const path of bundles) {
    const file = readFileSync(path);
    const bytes = new Uint8Array(file.buffer, file.byteOffset, file.length);
    let start = 2;
    for (const end of bundleEnds(bytes)) {
      hash('sha256', bytes.subarray(start, end), 'hex');
      start = end + 2;
    }
  }
  return (performance.now() - started) / 1000;
}

/** Seconds for one signature with its key read before, over what a receipt signs: parsing is not counted. */
function verifyEach(log: string, bundles: readonly string[]): number {
  const { keyset } = parseDocument(readFileSync(join(log, 'evidence/0.cbor')));
  const key = createPublicKey({ key: Buffer.from(keySpki(keyset.receipt)), format: 'der', type: 'spki' });
  const signed = bundles
    .slice(0, Math.ceil(READ_AHEAD / 100))
    .flatMap((path) => signedParts(readFileSync(path)));
  const started = performance.now();
  for (let i = 0; i < SAMPLE; i++) verifyOne(signed[i % signed.length], key);
  return (performance.now() - started) / 1000 / SAMPLE;
}

interface Signed {
  readonly data: Uint8Array;
  readonly signature: Uint8Array;
}

function signedParts(bytes: Uint8Array): readonly Signed[] {
  const ends = bundleEnds(bytes);
  return ends.flatMap((end, i) => {
    const entry = bytes.subarray((ends[i - 1] ?? 0) + 2, end);
    try {
      const { sign1 } = parseReceipt(entry);
      return [{ data: sigStructure(sign1.protectedBytes, sign1.payload), signature: sign1.signature }];
    } catch {
      // A record.
      return [];
    }
  });
}

function verifyOne(signed: Signed | undefined, key: KeyObject): void {
  const valid = signed && verify('sha256', signed.data, { key, dsaEncoding: 'ieee-p1363' }, signed.signature);
  if (!valid) throw new Error('a signature does not verify');
}

/** The program as an auditor runs it, with its peak memory. */
async function audit(
  exported: string,
  options: readonly string[],
): Promise<{ readonly seconds: number; readonly rssBytes: number }> {
  const started = performance.now();
  const report = `process.on('exit', () => process.stderr.write('\\n' + process.resourceUsage().maxRSS + '\\n'))`;
  const preload = `data:text/javascript,${encodeURIComponent(report)}`;
  const args = ['--import', preload, PROGRAM, 'audit', exported, '--allow-simulated', '--json', ...options];
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => (text += part));
  const code = await new Promise((resolve) => child.on('close', resolve));
  const seconds = (performance.now() - started) / 1000;
  if (code !== 0) throw new Error(`the audit ended with ${String(code)}: ${text}`);
  // The last line: kilobytes.
  return { seconds, rssBytes: Number(text.trim().split('\n').at(-1)) * 1024 };
}
