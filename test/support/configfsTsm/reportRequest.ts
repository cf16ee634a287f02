import { randomBytes } from 'node:crypto';
import { FuseError, type Errno } from './fuseWire.ts';
import type { MachineState, MadeReport, WantedReport } from './messages.ts';

// The rules of drivers/virt/coco/guest/report.c and of binary attributes in fs/configfs/file.c, Linux 6.12.

const MAX_INBLOB = 64;
const MAX_OUTBLOB = 32 * 1024;
const MAX_PRIVLEVEL = 3;

/** The driver and its host. */
export type Driver = (wanted: WantedReport) => Promise<MadeReport | Errno>;

export interface Machine {
  state: MachineState;
  readonly driver: Driver;
  /** Reports are made one after the other, of whatever request. */
  lock: Promise<unknown>;
  /** How often the driver was asked. */
  reports: number;
}

export type BlobName = 'outblob' | 'auxblob' | 'manifestblob';

/** One folder below `report`. */
export class ReportRequest {
  readonly #machine: Machine;
  #writeGeneration = 0;
  #readGeneration = 0;
  #inblob = new Uint8Array();
  #privlevel = 0;
  #serviceProvider: string | null = null;
  #made: MadeReport | undefined;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  showGeneration(): string {
    return `${this.#machine.state.freezesGeneration ? 0 : this.#writeGeneration}\n`;
  }

  showProvider(): string {
    const { provider, shownProvider } = this.#machine.state;
    if (provider === null) throw new FuseError('ENXIO');
    return `${shownProvider ?? provider}\n`;
  }

  showPrivlevelFloor(): string {
    return `${this.#machine.state.privlevelFloor}\n`;
  }

  storePrivlevel(text: string): void {
    const value = /^(?:0|[1-9]\d*)\n?$/.test(text) ? Number(text) : NaN;
    if (!(value >= this.#machine.state.privlevelFloor && value <= MAX_PRIVLEVEL))
      throw new FuseError('EINVAL');
    this.#writeGeneration++;
    this.#privlevel = value;
  }

  storeServiceProvider(text: string): void {
    this.#writeGeneration++;
    this.#serviceProvider = text.replace(/\n$/, '');
  }

  /** What a closed file had collected. Whether it was taken is told to nobody. */
  commitInblob(bytes: Uint8Array): void {
    if (this.#machine.state.losesWrites) return;
    this.#writeGeneration++;
    this.#inblob = bytes.slice();
  }

  /** The bytes that a file gets at its first read. */
  async fill(name: BlobName): Promise<Uint8Array> {
    if (this.#machine.state.otherWriter === 'before-report' && name === 'outblob') {
      this.commitInblob(randomBytes(MAX_INBLOB));
    }
    this.#checkInblob();
    const turn = this.#machine.lock.then(() => this.#makeIfStale());
    this.#machine.lock = turn.catch(() => undefined);
    const made = await turn;
    if (this.#machine.state.otherWriter === 'after-report' && name === 'outblob') {
      this.commitInblob(randomBytes(MAX_INBLOB));
    }
    const blob = made[name] ?? new Uint8Array();
    if (blob.length > MAX_OUTBLOB) throw new FuseError('EFBIG');
    return blob;
  }

  #checkInblob(): void {
    if (this.#inblob.length === 0) throw new FuseError('EINVAL');
  }

  async #makeIfStale(): Promise<MadeReport> {
    if (this.#machine.state.provider === null) throw new FuseError('ENXIO');
    this.#checkInblob();
    if (this.#made && this.#readGeneration === this.#writeGeneration) return this.#made;
    this.#made = undefined;
    const made = await this.#askDriver();
    if (typeof made === 'string') throw new FuseError(made);
    this.#made = made;
    this.#readGeneration = this.#writeGeneration;
    return made;
  }

  async #askDriver(): Promise<MadeReport | Errno> {
    const machine = this.#machine;
    machine.reports++;
    const [error, ...rest] = machine.state.reportErrors;
    if (error) {
      machine.state = { ...machine.state, reportErrors: rest };
      return error;
    }
    if (this.#inblob.length !== MAX_INBLOB) return 'EINVAL';
    return machine.driver({
      inblob: this.#inblob,
      privlevel: this.#privlevel,
      serviceProvider: this.#serviceProvider,
    });
  }
}

/** A file open on a binary attribute that is written: bytes are collected and committed when it is closed. */
export class InblobFile {
  readonly #request: ReportRequest;
  #collected = Buffer.alloc(0);
  #isWritten = false;

  constructor(request: ReportRequest) {
    this.#request = request;
  }

  write(bytes: Buffer, offset: number): void {
    this.#isWritten = true;
    if (offset + bytes.length > MAX_INBLOB) throw new FuseError('EFBIG');
    const grown = Buffer.alloc(Math.max(this.#collected.length, offset + bytes.length));
    this.#collected.copy(grown);
    bytes.copy(grown, offset);
    this.#collected = grown;
  }

  close(): void {
    if (!this.#isWritten) return;
    this.#isWritten = false;
    this.#request.commitInblob(this.#collected);
  }
}
