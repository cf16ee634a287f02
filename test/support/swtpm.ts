import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, test } from '@jest/globals';
import { concat, fromHex } from '../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../attestation/bytes/reader.ts';
import {
  CC,
  EMPTY_2B,
  encodeCommand,
  RH,
  tpm2b,
  u16be,
  u32be,
  type TpmCommand,
} from '../../enclave/collect/tpm/command.ts';
import { Deadline } from '../../enclave/collect/tpm/deadline.ts';
import { parseResponse, type TpmResponse } from '../../enclave/collect/tpm/response.ts';
import { TpmSession } from '../../enclave/collect/tpm/session.ts';
import type { TpmAddress } from '../../enclave/collect/tpm/transport.ts';
import { freePort } from '../../scripts/freePort.ts';

// A real software TPM, and a door in front of it at which tests change what goes through.

/** Where the binary is; undefined where it is not installed. */
export const SWTPM: string | undefined = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'swtpm'))
  .find((path) => existsSync(path));

/** A suite over a real swtpm; without the binary, one test says so. */
export function describeSwtpm(name: string, suite: () => void): void {
  if (SWTPM !== undefined) describe(name, suite);
  else describe(name, () => test.skip('skipped: no swtpm', () => undefined));
}

export type Send = (command: Uint8Array) => Promise<Uint8Array>;

/** Answers a command instead of the TPM, `hang` for no answer at all, `hang up` for the end of the connection. */
export type AtTheDoor = (command: Uint8Array, send: Send) => Promise<Uint8Array | 'hang' | 'hang up'>;

export interface Swtpm {
  /** Of the door. */
  readonly address: TpmAddress & { readonly kind: 'socket' };
  /** Sends bytes past the door. */
  readonly send: Send;
  /** Sends a command past the door. */
  readonly run: (command: TpmCommand) => Promise<TpmResponse>;
  /** Past the door, with the commands of the collectors. */
  readonly session: TpmSession;
  /** Keeps a key made under the owner at a persistent handle; its modulus where it is RSA. */
  readonly persist: (handle: number, template: Uint8Array) => Promise<Uint8Array>;
  /** Ends with the keys that a collector left which will not come back: the TPM holds three. */
  readonly forgetKeys: () => Promise<void>;
  /** Commands that came to the door, by their code. */
  readonly seen: number[];
  /** Passes all on where it is not set. */
  atTheDoor: AtTheDoor | undefined;
  stop(): Promise<void>;
}

/** Milliseconds: longer than any test. */
const FOREVER = 1_000_000_000;
const STARTUP = fromHex('80010000000c000001440000');

export async function startSwtpm(): Promise<Swtpm> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-swtpm-'));
  const [port, control] = [await freePort(), await freePort()];
  const at = (chosen: number) => `type=tcp,port=${chosen},bindaddr=127.0.0.1`;
  const flags = ['--flags', 'not-need-init', '--tpmstate', `dir=${folder}`];
  const servers = ['--server', at(port), '--ctrl', at(control)];
  const child = spawn(SWTPM!, ['socket', '--tpm2', ...servers, ...flags], { stdio: 'ignore' });
  const upstream = await connectWhenUp(port);
  const send = serialized(upstream);
  await send(STARTUP);
  const door = await openDoor(send);
  return Object.assign(door, {
    send,
    run: async (command: TpmCommand) => parseResponse(await send(encodeCommand(command)), command),
    session: sessionOver(send),
    persist: (handle: number, template: Uint8Array) => persist(send, handle, template),
    forgetKeys: async () => {
      for (let handle = 0; handle < 3; handle++) {
        await send(fromHex(`80010000000e000001658000000${handle}`));
      }
    },
    stop: async () => {
      upstream.destroy();
      await door.close();
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill();
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  });
}

/** TPMT_PUBLIC of an attestation key, RSA-2048, RSASSA with SHA-256: as Azure and Google have them. */
export const RSA_AK: Uint8Array = concat(
  u16be(0x0001),
  u16be(0x000b),
  u32be(0x00050072),
  EMPTY_2B,
  u16be(0x0010),
  concat(u16be(0x0014), u16be(0x000b)),
  u16be(2048),
  u32be(0),
  EMPTY_2B,
);

function sessionOver(send: Send): TpmSession {
  const nothing = () => Promise.resolve();
  return new TpmSession({ open: nothing, exchange: send, close: nothing }, new Deadline(FOREVER), new Set());
}

async function persist(send: Send, handle: number, template: Uint8Array): Promise<Uint8Array> {
  const run = async (command: Omit<TpmCommand, 'name'>) =>
    parseResponse(await send(encodeCommand({ ...command, name: 'Test' })), { ...command, name: 'Test' });
  const parameters = concat(tpm2b(concat(EMPTY_2B, EMPTY_2B)), tpm2b(template), EMPTY_2B, u32be(0));
  const owner = { handles: [RH.owner], authorizations: 1, responseHandles: 0 } as const;
  const made = await run({ ...owner, code: CC.createPrimary, parameters, responseHandles: 1 });
  const [key = 0] = made.handles;
  await run({ ...owner, code: EVICT_CONTROL, handles: [RH.owner, key], parameters: u32be(handle) });
  const flush = { code: CC.flushContext, handles: [], authorizations: 0, responseHandles: 0 } as const;
  await run({ ...flush, parameters: u32be(key) });
  const area = new ByteReader(made.parameters, 'created key');
  const size = area.u16be();
  return area.take(size).subarray(-256);
}

const EVICT_CONTROL = 0x120;

async function connectWhenUp(port: number): Promise<Socket> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const socket = await new Promise<Socket | undefined>((resolve) => {
      const tried = connect({ host: '127.0.0.1', port, noDelay: true });
      tried.once('connect', () => resolve(tried));
      tried.once('error', () => resolve(undefined));
    });
    if (socket) return socket.on('error', () => undefined);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('swtpm did not come up');
}

/** One command at a time over the one connection that swtpm serves. */
function serialized(socket: Socket): Send {
  let last: Promise<unknown> = Promise.resolve();
  return (command) => {
    const answer = last.then(() => exchange(socket, command));
    last = answer.catch(() => undefined);
    return answer;
  };
}

function exchange(socket: Socket, command: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve) => {
    let received: Uint8Array = new Uint8Array();
    const take = (chunk: Uint8Array) => {
      received = concat(received, chunk);
      const [frame] = frames(received);
      if (!frame) return;
      socket.off('data', take);
      resolve(frame);
    };
    socket.on('data', take);
    socket.write(command);
  });
}

/** Whole commands or responses at the start of the bytes. */
function frames(bytes: Uint8Array): readonly Uint8Array[] {
  if (bytes.length < 10) return [];
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(2);
  return bytes.length < size ? [] : [bytes.subarray(0, size), ...frames(bytes.subarray(size))];
}

interface Door {
  readonly address: Swtpm['address'];
  readonly seen: number[];
  atTheDoor: AtTheDoor | undefined;
  close(): Promise<void>;
}

/** A server that hands commands to `send`, or to whoever stands at the door. */
export async function openDoor(send: Send, atTheDoor?: AtTheDoor): Promise<Door> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    socket.on('data', (command: Uint8Array) => {
      door.seen.push(codeOf(command));
      void answer(socket, command);
    });
  });
  const answer = async (socket: Socket, command: Uint8Array) => {
    const response = await (door.atTheDoor ?? ((bytes: Uint8Array) => send(bytes)))(command, send);
    if (response === 'hang up') socket.destroy();
    else if (response !== 'hang') socket.write(response);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const listening = server.address();
  const port = typeof listening === 'object' && listening ? listening.port : 0;
  const door: Door = {
    address: { kind: 'socket', host: '127.0.0.1', port },
    seen: [],
    atTheDoor,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return door;
}

export function codeOf(command: Uint8Array): number {
  return new DataView(command.buffer, command.byteOffset).getUint32(6);
}

/** A response of success to a command without sessions, or of an error. */
export function response(code: number, body: Uint8Array = new Uint8Array(), tag = 0x8001): Uint8Array {
  const bytes = concat(new Uint8Array(10), body);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, tag);
  view.setUint32(2, bytes.length);
  view.setUint32(6, code);
  return bytes;
}
