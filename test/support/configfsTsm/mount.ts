import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, test } from '@jest/globals';
import ts from 'typescript';
import type { Errno } from './fuseWire.ts';
import type {
  FromServer,
  MachineState,
  MadeReport,
  Observations,
  ToServer,
  WantedReport,
} from './messages.ts';

const SOURCES = fileURLToPath(new URL('.', import.meta.url));

/** Makes reports; the hardware and its host. */
export type ReportMaker = (wanted: WantedReport) => Promise<MadeReport | Errno>;

/** A file system that behaves as the kernel's configfs with configfs-tsm, served by another process. */
export interface ConfigfsTsm {
  /** What `/sys/kernel/config` is on a real machine. */
  readonly folder: string;
  /** Changes the machine, or what goes wrong with it. */
  set(state: Partial<MachineState>): Promise<void>;
  observe(): Promise<Observations>;
  /** From now on nothing is answered, as by a kernel that waits for its host; what is asked meanwhile waits. */
  freeze(): void;
  thaw(): void;
  unmount(): Promise<void>;
}

/** A suite that mounts; where that cannot be, one test says so. */
export function describeMounted(name: string, suite: () => void): void {
  const lacking = whatIsLacking();
  if (lacking === undefined) describe(name, suite);
  else describe(name, () => test.skip(`skipped: ${lacking}`, () => undefined));
}

function whatIsLacking(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  return existsSync('/dev/fuse') ? undefined : 'no /dev/fuse';
}

/** Mounts a machine whose driver makes its reports with `make`. */
export async function mountConfigfsTsm(make: ReportMaker): Promise<ConfigfsTsm> {
  const work = mkdtempSync(join(tmpdir(), 'vouchsafe-configfs-'));
  const folder = join(work, 'config');
  mkdirSync(folder);
  const child = spawn(process.execPath, [compileServer(join(work, 'server')), folder], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
  });
  const channel = new ServerChannel(child, make);
  await channel.mounted;
  return {
    folder,
    set: async (state) => {
      await channel.ask({ type: 'set', state });
    },
    observe: () => channel.ask({ type: 'observe' }),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    unmount: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      execFileSync('umount', ['-l', folder]);
      child.kill('SIGKILL');
      await ended;
      rmdirSync(folder);
      rmSync(work, { recursive: true });
    },
  };
}

/** Node 20 runs no TypeScript: the files of the server, as JavaScript in a folder of their own. */
function compileServer(target: string): string {
  mkdirSync(target);
  writeFileSync(join(target, 'package.json'), '{"type":"module"}');
  for (const name of readdirSync(SOURCES).filter((file) => file.endsWith('.ts') && file !== 'mount.ts')) {
    const { outputText } = ts.transpileModule(readFileSync(join(SOURCES, name), 'utf8'), {
      compilerOptions: {
        target: ts.ScriptTarget.ES2023,
        module: ts.ModuleKind.ESNext,
        rewriteRelativeImportExtensions: true,
        verbatimModuleSyntax: true,
      },
    });
    writeFileSync(join(target, name.replace(/\.ts$/, '.js')), outputText);
  }
  return join(target, 'serve.js');
}

type Question<Message> = Message extends { readonly id: number } ? Omit<Message, 'id'> : never;

class ServerChannel {
  readonly mounted: Promise<void>;
  readonly #child: ChildProcess;
  readonly #make: ReportMaker;
  readonly #asked = new Map<number, (observations: Observations) => void>();
  #nextId = 1;

  constructor(child: ChildProcess, make: ReportMaker) {
    this.#child = child;
    this.#make = make;
    this.mounted = new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
      child.on('message', (message: FromServer) => {
        if (message.type === 'mounted') resolve();
        else if (message.type === 'failed') reject(new Error(message.reason));
        else this.#hear(message);
      });
    });
  }

  ask(question: Question<Exclude<ToServer, { type: 'made' }>>): Promise<Observations> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      this.#say({ ...question, id });
    });
  }

  #hear(message: Extract<FromServer, { readonly id: number }>): void {
    if (message.type === 'answer') {
      this.#asked.get(message.id)?.(message.observations);
      this.#asked.delete(message.id);
      return;
    }
    const wanted = { ...message.wanted, inblob: Uint8Array.from(message.wanted.inblob) };
    void this.#make(wanted).then((report) => this.#say({ type: 'made', id: message.id, report }));
  }

  #say(message: ToServer): void {
    if (this.#child.connected) this.#child.send(message);
  }
}
