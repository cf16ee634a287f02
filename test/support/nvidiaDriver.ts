import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, test } from '@jest/globals';
import { concat, fromHex, toBase64, toHex, utf8 } from '../../attestation/bytes/bytes.ts';

const SOURCES = fileURLToPath(new URL('nvidiaDriver/', import.meta.url));
const HAS_GCC = spawnSync('gcc', ['--version']).status === 0;
const HOPPER = 9;
const LOCKED = 3;
const LS10 = 2;

/** A suite that builds a driver's library; without a compiler, one test says so. */
export function describeDriver(name: string, suite: () => void): void {
  if (HAS_GCC) describe(name, suite);
  else describe(name, () => test.skip('skipped: no gcc', () => undefined));
}

export interface DrivenDevice {
  /** DER, leaf first. */
  readonly certificates: readonly Uint8Array[];
  report(nonce: Uint8Array): Promise<Uint8Array>;
}

/** What a library answers: a result code (0), a number and bytes. */
export interface Answer {
  readonly code?: number;
  readonly number?: number;
  readonly bytes?: Uint8Array;
}

/** Answers in the place of the machine, or alters what it answers. */
export type Fault = (usual: Answer, parameters: readonly string[]) => Answer | Promise<Answer>;

export interface DriverOptions {
  readonly gpus: readonly DrivenDevice[];
  readonly switches?: readonly DrivenDevice[];
}

/**
 * Libraries of a driver with the real names and structures, which ask this process what to answer while their thread
 * waits: a call that blocks the event loop would wait for ever.
 */
export class NvidiaDriver {
  readonly gpus: readonly DrivenDevice[];
  readonly switches: readonly DrivenDevice[];
  /** In the order of structures: environment, ccFeature, devToolsMode, multiGpuMode. */
  mode: readonly [number, number, number, number];
  ready = 0;
  /** By function of NVML or NSCQ, or by path of NSCQ. */
  readonly faults = new Map<string, Fault>();
  /** Questions in the order in which they came. */
  readonly asked: string[] = [];
  /** The most questions that were ever open at a time. */
  mostOpen = 0;
  #open = 0;
  readonly #folder: string;
  readonly #server: Server;

  private constructor(folder: string, { gpus, switches = [] }: DriverOptions) {
    this.#folder = folder;
    this.gpus = gpus;
    this.switches = switches;
    this.mode = switches.length > 0 ? [2, 0, 0, 1] : [2, 1, 0, 0];
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket));
  }

  static async start(options: DriverOptions): Promise<NvidiaDriver> {
    const driver = new NvidiaDriver(await mkdtemp(join(tmpdir(), 'nvidia-')), options);
    await new Promise<void>((resolve) => driver.#server.listen(driver.#socket, resolve));
    return driver;
  }

  get #socket(): string {
    return join(this.#folder, 'driver.sock');
  }

  /** Builds a library that asks this machine; `without` names functions that it lacks. */
  build(source: 'nvml' | 'nscq', ...without: readonly ('SETTINGS' | 'REPORT')[]): string {
    const path = join(this.#folder, [source, ...without].join('-').concat('.so'));
    const defines = [`SOCKET="${this.#socket}"`, ...without.map((name) => `WITHOUT_${name}`)];
    const flags = ['-shared', '-fPIC', '-O1', ...defines.map((define) => `-D${define}`)];
    const { status, stderr } = spawnSync('gcc', [...flags, '-o', path, join(SOURCES, `${source}.c`)]);
    if (status !== 0) throw new Error(`gcc failed: ${String(stderr)}`);
    return path;
  }

  /** Back to a machine without faults, in the mode that it started in. */
  reset(): void {
    this.faults.clear();
    this.asked.length = 0;
    this.mostOpen = 0;
    this.ready = 0;
    this.mode = this.switches.length > 0 ? [2, 0, 0, 1] : [2, 1, 0, 0];
  }

  async stop(): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#folder, { recursive: true });
  }

  #serve(socket: Socket): void {
    let question = '';
    socket.setEncoding('utf8');
    socket.on('error', () => socket.destroy());
    socket.on('data', (text: string) => {
      question += text;
      if (question.endsWith('\n')) void this.#reply(socket, question.trim());
    });
  }

  async #reply(socket: Socket, question: string): Promise<void> {
    this.asked.push(question);
    this.#open += 1;
    this.mostOpen = Math.max(this.mostOpen, this.#open);
    const parameters = question.split(' ');
    const name = parameters.shift() ?? '';
    const { code = 0, number = 0, bytes = new Uint8Array(0) } = await this.#answer(name, parameters);
    if (name === 'nvmlSystemSetConfComputeGpusReadyState' && code === 0) this.ready = Number(parameters[0]);
    const head = new DataView(new ArrayBuffer(8));
    head.setInt32(0, code, true);
    head.setUint32(4, number, true);
    this.#open -= 1;
    socket.end(concat(new Uint8Array(head.buffer), bytes));
  }

  async #answer(name: string, parameters: readonly string[]): Promise<Answer> {
    const [first = '', second = ''] = parameters;
    const usual = (await this.#usual[name]?.(first, second)) ?? {};
    // A path is the same for every switch, once the label is off.
    const key = name === 'observe' ? first.replace(/^\/SWX-\w+\//, '/') : name;
    return (await this.faults.get(key)?.(usual, parameters)) ?? usual;
  }

  /** What the machine answers without a fault; functions that are not here succeed and say nothing. */
  readonly #usual: Readonly<Record<string, (first: string, second: string) => Answer | Promise<Answer>>> = {
    nvmlSystemGetDriverVersion: () => ({ bytes: utf8('580.95.05\0') }),
    nvmlSystemGetConfComputeState: () => ({ bytes: u32s(...this.mode.slice(0, 3)) }),
    nvmlSystemGetConfComputeSettings: () => ({ bytes: u32s(...this.mode) }),
    nvmlSystemGetConfComputeGpusReadyState: () => ({ number: this.ready }),
    nvmlDeviceGetCount_v2: () => ({ number: this.gpus.length }),
    nvmlDeviceGetHandleByIndex_v2: (index) => ({ number: Number(index) }),
    nvmlDeviceGetArchitecture: () => ({ number: HOPPER }),
    nvmlDeviceGetUUID: (gpu) => ({ bytes: utf8(`${uuidOf(Number(gpu))}\0`) }),
    nvmlDeviceGetVbiosVersion: () => ({ bytes: utf8('96.00.9F.00.04\0') }),
    nvmlDeviceGetConfComputeGpuCertificate: (gpu) => sized(pemOf(this.#gpu(gpu).certificates)),
    nvmlDeviceGetConfComputeGpuAttestationReport: async (gpu, nonce) =>
      sized(await this.#gpu(gpu).report(fromHex(nonce))),
    observe: (path, nonce) => this.#observed(path, nonce),
    nscq_uuid_to_label: (uuid) => ({ bytes: utf8(`SWX-${uuid}\0`) }),
  };

  #gpu(place: string): DrivenDevice {
    const gpu = this.gpus[Number(place)];
    if (!gpu) throw new RangeError(`there is no GPU ${place}`);
    return gpu;
  }

  async #observed(path: string, nonce: string): Promise<Answer> {
    if (path.endsWith('/uuid')) return values(...this.switches.map((_, i) => switchUuid(i)));
    if (path.endsWith('/id/arch')) return values(...this.switches.map(() => Uint8Array.of(LS10)));
    const device = this.switches.find((_, i) => path.startsWith(`/SWX-${toHex(switchUuid(i))}/`));
    if (!device) return { code: -2 };
    if (path.endsWith('/pcie_mode')) return values(Uint8Array.of(LOCKED));
    const bytes = path.endsWith('/certificate')
      ? pemOf(device.certificates)
      : await device.report(fromHex(nonce));
    return values(sizedValue(bytes, bytes.length));
  }
}

/** Values that a path of NSCQ is observed with, each with result 0. */
export function values(...each: readonly Uint8Array[]): Answer {
  const [first = new Uint8Array(0)] = each;
  const bytes = concat(...each.map((value) => concat(Uint8Array.of(0), value)));
  return each.length === 0 ? {} : { number: first.length + 1, bytes };
}

/** Bytes of a structure that states their size, truly or not. */
export function sizedValue(bytes: Uint8Array, size: number): Uint8Array {
  return concat(u32s(size), bytes);
}

export function sized(bytes: Uint8Array): Answer {
  return { number: bytes.length, bytes };
}

export function uuidOf(place: number): string {
  return `GPU-00000000-0000-4000-8000-00000000000${place}`;
}

export function switchUuid(place: number): Uint8Array {
  return new Uint8Array(16).fill(0xa0 + place);
}

export function pemOf(certificates: readonly Uint8Array[]): Uint8Array {
  return utf8(
    certificates
      .map((der) => toBase64(der).replaceAll(/.{1,64}/g, '$&\n'))
      .map((body) => `-----BEGIN CERTIFICATE-----\n${body}-----END CERTIFICATE-----\n`)
      .join(''),
  );
}

export function u32s(...numbers: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(numbers).buffer);
}
