import { spawnSync } from 'node:child_process';
import { open, type FileHandle } from 'node:fs/promises';
import { writeSync } from 'node:fs';
import {
  encodeAttributesReply,
  encodeEntries,
  encodeEntry,
  encodeInit,
  encodeOpen,
  encodeReply,
  encodeStatfs,
  encodeWritten,
  FuseError,
  MAX_WRITE,
  OPCODE,
  readFlags,
  readHandle,
  readName,
  readRequest,
  readSize,
  readWritten,
  UNANSWERED,
  type Errno,
  type FuseRequest,
} from './fuseWire.ts';
import type { OpenFile, ReportTree } from './reportTree.ts';

/** The kernel refuses to hand a request to a smaller buffer. */
const BUFFER_BYTES = MAX_WRITE + 8192;

interface Handle {
  readonly file: OpenFile;
  /** What the first read got; further ones go on in it. */
  blob: Promise<Uint8Array> | undefined;
}

type Operation = (request: FuseRequest) => Buffer | Promise<Buffer>;

/** Answers the kernel's requests for one mounted tree. */
export class FuseServer {
  readonly #tree: ReportTree;
  readonly #handles = new Map<number, Handle>();
  readonly #waiting = new Map<bigint, () => void>();
  #nextHandle = 1;
  readonly #operations: ReadonlyMap<number, Operation>;

  constructor(tree: ReportTree) {
    this.#tree = tree;
    this.#operations = this.#listOperations();
  }

  /** Mounts the tree and returns at once; requests are answered until it is unmounted. */
  async mount(folder: string): Promise<void> {
    const device = await open('/dev/fuse', 'r+');
    const options = 'fd=3,rootmode=40000,user_id=0,group_id=0';
    const mounted = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'configfs', folder], {
      stdio: ['ignore', 'ignore', 'pipe', device.fd],
    });
    if (mounted.status !== 0) {
      await device.close();
      throw new Error(`mount: ${mounted.error?.message ?? mounted.stderr.toString()}`);
    }
    void this.#serve(device);
  }

  async #serve(device: FileHandle): Promise<void> {
    const buffer = Buffer.alloc(BUFFER_BYTES);
    for (;;) {
      const length = await device.read(buffer, 0, buffer.length, null).then(
        ({ bytesRead }) => bytesRead,
        (error: unknown) => ((error as NodeJS.ErrnoException).code === 'ENODEV' ? 0 : -1),
      );
      // ENODEV: unmounted. Other errors are of requests that were withdrawn before they were read.
      if (length === 0) break;
      if (length > 0) this.#take(device.fd, readRequest(Buffer.from(buffer.subarray(0, length))));
    }
    await device.close();
  }

  #take(device: number, request: FuseRequest): void {
    if (request.opcode === OPCODE.interrupt) this.#waiting.get(request.body.readBigUInt64LE(0))?.();
    if (UNANSWERED.has(request.opcode)) return;
    void this.#answer(request).then((reply) => {
      try {
        writeSync(device, encodeReply(request.unique, reply));
      } catch (error) {
        // ENOENT: whoever asked is gone. ENODEV: unmounted meanwhile.
        const code = (error as NodeJS.ErrnoException).code ?? '';
        if (!['ENOENT', 'ENODEV'].includes(code)) throw error;
      }
    });
  }

  async #answer(request: FuseRequest): Promise<Buffer | Errno> {
    const operation = this.#operations.get(request.opcode);
    if (!operation) return 'ENOSYS';
    try {
      const interrupted = new Promise<never>((_resolve, reject) => {
        this.#waiting.set(request.unique, () => reject(new FuseError('EINTR')));
      });
      return await Promise.race([operation(request), interrupted]);
    } catch (error) {
      if (error instanceof FuseError) return error.errno;
      throw error;
    } finally {
      this.#waiting.delete(request.unique);
    }
  }

  #listOperations(): ReadonlyMap<number, Operation> {
    const tree = this.#tree;
    const refuse = () => {
      throw new FuseError('EPERM');
    };
    return new Map<number, Operation>([
      [OPCODE.init, encodeInit],
      [OPCODE.statfs, encodeStatfs],
      [OPCODE.lookup, ({ node, body }) => encodeEntry(tree.lookup(node, readName(body, 0)))],
      [OPCODE.getattr, ({ node }) => encodeAttributesReply(tree.attributesOf(node))],
      [OPCODE.setattr, ({ node }) => encodeAttributesReply(tree.attributesOf(node))],
      [OPCODE.mkdir, ({ node, body }) => encodeEntry(tree.mkdir(node, readName(body, 8)))],
      [OPCODE.rmdir, ({ node, body }) => (tree.rmdir(node, readName(body, 0)), Buffer.alloc(0))],
      [OPCODE.open, ({ node, body }) => this.#open(tree.open(node, readFlags(body)))],
      [OPCODE.read, ({ body }) => this.#read(body)],
      [OPCODE.write, ({ body }) => this.#write(body)],
      [OPCODE.flush, ({ body }) => (this.#handle(body).file.close?.(), Buffer.alloc(0))],
      [OPCODE.release, ({ body }) => (this.#handles.delete(readHandle(body).handle), Buffer.alloc(0))],
      [OPCODE.opendir, () => encodeOpen(0)],
      [
        OPCODE.readdir,
        ({ node, body }) => encodeEntries(tree.entries(node), readHandle(body).offset, readSize(body)),
      ],
      [OPCODE.releasedir, () => Buffer.alloc(0)],
      [OPCODE.create, refuse],
      [OPCODE.unlink, refuse],
    ]);
  }

  #open(file: OpenFile): Buffer {
    const handle = this.#nextHandle++;
    this.#handles.set(handle, { file, blob: undefined });
    return encodeOpen(handle);
  }

  #handle(body: Buffer): Handle {
    const handle = this.#handles.get(readHandle(body).handle);
    if (!handle) throw new FuseError('EBADF');
    return handle;
  }

  async #read(body: Buffer): Promise<Buffer> {
    const handle = this.#handle(body);
    if (!handle.file.read) throw new FuseError('EBADF');
    handle.blob ??= Promise.resolve(handle.file.read());
    const { offset } = readHandle(body);
    try {
      return Buffer.from((await handle.blob).subarray(offset, offset + readSize(body)));
    } catch (error) {
      handle.blob = undefined;
      throw error;
    }
  }

  #write(body: Buffer): Buffer {
    const { file } = this.#handle(body);
    if (!file.write) throw new FuseError('EBADF');
    const bytes = readWritten(body);
    file.write(bytes, readHandle(body).offset);
    return encodeWritten(bytes.length);
  }
}
