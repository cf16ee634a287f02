import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, test } from '@jest/globals';
import { concat } from '../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../attestation/bytes/reader.ts';

const SOURCE = fileURLToPath(new URL('ioctlShim.c', import.meta.url));
const HAS_GCC = spawnSync('gcc', ['--version']).status === 0;

/** A suite that builds a C library; without a compiler, one test says so. */
export function describeIoctl(name: string, suite: () => void): void {
  if (HAS_GCC) describe(name, suite);
  else describe(name, () => test.skip('skipped: no gcc', () => undefined));
}

/** Memory of one ioctl: its argument, then what that points to. A driver writes into it. */
export interface IoctlCall {
  readonly request: number;
  readonly blocks: readonly Uint8Array[];
}

export type Errno = keyof typeof constants.errno;
/** Nothing is success. */
export type Driver = (call: IoctlCall) => Errno | undefined | Promise<Errno | undefined>;
/** What a service behind a stream does with what came first. */
export type Service = (socket: Socket, request: Uint8Array) => void | Promise<void>;

/**
 * Drivers and vsock services of a guest that are simulated in this process, behind a C library: whoever calls it waits
 * on a thread, and would wait for ever on the event loop.
 */
export class GuestKernel {
  /** Path of the C library. */
  readonly cLibrary: string;
  /** A device to open; which driver answers is decided by the request. */
  readonly device: string;
  /** Calls in the order in which they came, as they came. */
  readonly calls: IoctlCall[] = [];
  driver: Driver = () => 'ENOTTY';
  service: Service = (socket) => void socket.destroy();
  readonly #folder: string;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  private constructor(folder: string) {
    this.#folder = folder;
    this.cLibrary = join(folder, 'kernel.so');
    this.device = join(folder, 'device');
  }

  static async boot(): Promise<GuestKernel> {
    const kernel = new GuestKernel(await mkdtemp(join(tmpdir(), 'guest-')));
    await writeFile(kernel.device, '');
    const flags = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', `-DFOLDER="${kernel.#folder}"`];
    const { status, stderr } = spawnSync('gcc', [...flags, '-o', kernel.cLibrary, SOURCE]);
    if (status !== 0) throw new Error(`gcc failed: ${String(stderr)}`);
    await kernel.#listen('ioctl', (socket) => kernel.#serveCall(socket));
    return kernel;
  }

  /** Path of a file that is not there, in the folder of the kernel. */
  path(name: string): string {
    return join(this.#folder, name);
  }

  /** A service of the host behind vsock, or behind a Unix socket of that name. */
  async offer(at: { readonly cid: number; readonly port: number } | string): Promise<string> {
    const name = typeof at === 'string' ? at : `vsock-${at.cid}-${at.port}`;
    await this.#listen(name, (socket) => socket.once('data', (data) => void this.service(socket, data)));
    return this.path(name);
  }

  /** Forgets the calls that came. */
  forget(): void {
    this.calls.length = 0;
  }

  async halt(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(
      this.#servers.map((server) => new Promise<void>((resolve) => void server.close(() => resolve()))),
    );
    await rm(this.#folder, { recursive: true });
  }

  async #listen(name: string, serve: (socket: Socket) => void): Promise<void> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => undefined);
      serve(socket);
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(this.path(name), resolve));
  }

  #serveCall(socket: Socket): void {
    let received = new Uint8Array();
    let answered = false;
    socket.on('data', (data) => {
      received = concat(received, data) as Uint8Array<ArrayBuffer>;
      const call = answered ? undefined : readCall(received);
      if (!call) return;
      answered = true;
      this.calls.push({ ...call, blocks: call.blocks.map((block) => block.slice()) });
      void this.#answer(socket, call);
    });
  }

  async #answer(socket: Socket, call: IoctlCall): Promise<void> {
    const failure = await this.driver(call);
    const result = new Uint8Array(4);
    new DataView(result.buffer).setUint32(0, failure ? constants.errno[failure] : 0, true);
    if (!socket.destroyed) socket.end(concat(result, ...call.blocks));
  }
}

/** Undefined until all of it is there. */
function readCall(bytes: Uint8Array): IoctlCall | undefined {
  const reader = new ByteReader(bytes, 'ioctl');
  if (reader.remaining < 8) return undefined;
  const request = reader.u32le();
  const count = reader.u32le();
  const blocks: Uint8Array[] = [];
  while (blocks.length < count) {
    if (reader.remaining < 4) return undefined;
    const length = reader.u32le();
    if (reader.remaining < length) return undefined;
    blocks.push(reader.take(length).slice());
  }
  return { request, blocks };
}

// Drivers, after those of Linux.

const PAGE = 4096;

/** A chip and its host, as /dev/sev-guest has them. */
export interface SevGuest {
  report(reportData: Uint8Array, vmpl: number): Uint8Array | Promise<Uint8Array>;
  /** Certificate table of the host. */
  readonly table: Uint8Array;
  /** Answers in place of the firmware, or lets it answer (undefined). The argument's last 8 bytes are `exitinfo2`. */
  fault?: (call: IoctlCall, count: number) => Errno | undefined | Promise<Errno | undefined>;
}

/** `exitinfo2`: firmware error in the low half, host error in the high one. */
export function setExitInfo(call: IoctlCall, firmware: number, vmm: number): void {
  const view = viewOf(call.blocks[0]!);
  view.setUint32(24, firmware, true);
  view.setUint32(28, vmm, true);
}

/** drivers/virt/coco/sev-guest/sev-guest.c. */
export function sevGuestDriver(guest: SevGuest): Driver {
  let count = 0;
  return async (call) => {
    const [argument, ask, response, certificates] = call.blocks;
    setExitInfo(call, 0xff, 0);
    if (argument![0] === 0) return 'EINVAL';
    if (call.request !== 0xc0205300 && call.request !== 0xc0205302) return 'ENOTTY';
    if (certificates && (certificates.length % PAGE !== 0 || certificates.length > 4 * PAGE)) return 'EINVAL';
    const failure = await guest.fault?.(call, count++);
    if (failure) return failure;
    if (certificates && guest.table.length > certificates.length) {
      setExitInfo(call, 0, 1);
      viewOf(ask!).setUint32(104, Math.ceil(guest.table.length / PAGE) * PAGE, true);
      return 'EIO';
    }
    setExitInfo(call, 0, 0);
    const report = await guest.report(ask!.subarray(0, 64), viewOf(ask!).getUint32(64, true));
    response!.fill(0);
    viewOf(response!).setUint32(4, report.length, true);
    response!.set(report, 32);
    certificates?.set(guest.table);
    return undefined;
  };
}

/** A TDREPORT of the TD whose quote has this body, over other report data. */
export function tdReportOf(body: Uint8Array, reportData: Uint8Array): Uint8Array {
  const report = new Uint8Array(1024);
  report[0] = 0x81;
  report.set(reportData, 128);
  report.set(body.subarray(120, 520), 512);
  return report;
}

/** drivers/virt/coco/tdx-guest/tdx-guest.c, with a TD of this body. */
export function tdxGuestDriver(body: Uint8Array): Driver {
  return (call) => {
    if (call.request !== 0xc4405401) return 'ENOTTY';
    const [argument] = call.blocks;
    argument!.set(tdReportOf(body, argument!.slice(0, 64)), 64);
    return undefined;
  };
}

/** What a module answers to the bytes of a request. */
export type Module = (request: Uint8Array) => Uint8Array | Promise<Uint8Array>;

/** drivers/misc/nsm.c: answers beyond the room are cut off. */
export function nsmDriver(answer: Module): Driver {
  return async (call) => {
    if (call.request !== 0xc0200a00) return 'EINVAL';
    const [argument, request, room] = call.blocks;
    if (request!.length > 0x1000) return 'EMSGSIZE';
    const bytes = await answer(request!);
    const length = Math.min(bytes.length, room!.length);
    room!.set(bytes.subarray(0, length));
    viewOf(argument!).setBigUint64(24, BigInt(length), true);
    return undefined;
  };
}

// Intel's quoting service.

/** The message in a response, with a quote or an error code; its length goes before it on the wire. */
export function quoteResponse(quote: Uint8Array, error = 0, selectedId = new Uint8Array()): Uint8Array {
  const message = new Uint8Array(24 + selectedId.length + quote.length);
  const view = viewOf(message);
  view.setUint16(0, 1, true);
  view.setUint16(2, 1, true);
  view.setUint32(4, 1, true);
  view.setUint32(8, message.length, true);
  view.setUint32(12, error, true);
  view.setUint32(16, selectedId.length, true);
  view.setUint32(20, quote.length, true);
  message.set(selectedId, 24);
  message.set(quote, 24 + selectedId.length);
  return message;
}

export function withLength(message: Uint8Array): Uint8Array {
  const prefix = new Uint8Array(4);
  viewOf(prefix).setUint32(0, message.length, false);
  return concat(prefix, message);
}

/** The TDREPORT in a request of the form that qgs_server.cpp and qgs_msg_lib take; undefined for another. */
export function readQuoteRequest(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length !== 4 + 24 + 1024) return undefined;
  const view = viewOf(bytes);
  const words = [4, 6].map((at) => view.getUint16(at, true));
  const fields = [8, 12, 16, 20, 24].map((at) => view.getUint32(at, true));
  const wanted = [0, 1048, 0, 1024, 0];
  if (view.getUint32(0, false) !== 1048 || words[0] !== 1) return undefined;
  return fields.every((field, i) => field === wanted[i]) ? bytes.subarray(28) : undefined;
}

/** qgsd: a quote of the TDREPORT that came, then the end of the connection. */
export function quotingService(quote: (reportData: Uint8Array) => Promise<Uint8Array>): Service {
  return async (socket, request) => {
    const tdReport = readQuoteRequest(request);
    if (!tdReport) return void socket.destroy();
    socket.end(withLength(quoteResponse(await quote(tdReport.slice(128, 192)))));
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
