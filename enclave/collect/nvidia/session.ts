import { CollectError } from '../errors.ts';
import type { CallLane } from './callLane.ts';
import type { StatedMode } from './mode.ts';
import { type Argument, loadFunctions, type NativeFunctions, type Prototype } from './native.ts';
import { NOT_SUPPORTED, nvmlFailure } from './returnCodes.ts';
import {
  CERTIFICATE_BYTES,
  readCertificateChain,
  readReport,
  readSettings,
  readState,
  readText,
  reportRequest,
  settingsRequest,
  STATE_BYTES,
  type SystemSettings,
  type SystemState,
} from './structures.ts';

/** Every function of NVML that is used. `void *` is a structure, a text or a number to be filled, or a device. */
const FUNCTIONS = {
  nvmlInit_v2: ['int'],
  nvmlShutdown: ['int'],
  nvmlSystemGetDriverVersion: ['int', 'void *', 'unsigned int'],
  nvmlSystemGetConfComputeState: ['int', 'void *'],
  nvmlSystemGetConfComputeSettings: ['int', 'void *'],
  nvmlSystemGetConfComputeGpusReadyState: ['int', 'void *'],
  nvmlSystemSetConfComputeGpusReadyState: ['int', 'unsigned int'],
  nvmlDeviceGetCount_v2: ['int', 'void *'],
  nvmlDeviceGetHandleByIndex_v2: ['int', 'unsigned int', 'void *'],
  nvmlDeviceGetArchitecture: ['int', 'void *', 'void *'],
  nvmlDeviceGetUUID: ['int', 'void *', 'void *', 'unsigned int'],
  nvmlDeviceGetVbiosVersion: ['int', 'void *', 'void *', 'unsigned int'],
  nvmlDeviceGetConfComputeGpuCertificate: ['int', 'void *', 'void *'],
  nvmlDeviceGetConfComputeGpuAttestationReport: ['int', 'void *', 'void *'],
} as const satisfies Readonly<Record<string, Prototype>>;

type FunctionName = keyof typeof FUNCTIONS;
/** In headers since CUDA 12.4; drivers without it are older than the one mode that it alone tells. */
const SETTINGS: FunctionName = 'nvmlSystemGetConfComputeSettings';
/** Buffer sizes of nvml.h: NVML_SYSTEM_DRIVER_VERSION, NVML_DEVICE_UUID_V2 and NVML_DEVICE_VBIOS_VERSION. */
const DRIVER_VERSION_BYTES = 80;
const UUID_BYTES = 96;
const VBIOS_BYTES = 32;
/** More GPUs than any machine has: a count beyond it is a lie. */
const MAX_GPUS = 64;
const POINTER_BYTES = 8;
const U32_BYTES = 4;

/** Milliseconds that calls may take. */
export interface NvmlDeadlines {
  /** nvmlInit_v2: without the persistence daemon it starts the GPUs, which takes seconds for each. */
  readonly initialise: number;
  readonly attest: number;
  /** Every other call. */
  readonly ask: number;
}

export interface Gpu {
  readonly index: number;
  /** nvmlDevice_t, an address in the driver's memory that is passed back and never looked into. */
  readonly handle: bigint;
  readonly uuid: string;
}

/** NVML, opened. Its answers are what driver and host make of them: only reports carry signatures. */
export class NvmlSession {
  readonly #functions: NativeFunctions;
  readonly #lane: CallLane;
  readonly #deadlines: NvmlDeadlines;

  private constructor(functions: NativeFunctions, lane: CallLane, deadlines: NvmlDeadlines) {
    this.#functions = functions;
    this.#lane = lane;
    this.#deadlines = deadlines;
  }

  /** Loads and initialises the library at `path`. */
  static async open(path: string, lane: CallLane, deadlines: NvmlDeadlines): Promise<NvmlSession> {
    const functions = loadFunctions(path, FUNCTIONS);
    const absent = Object.keys(FUNCTIONS).filter((name) => name !== SETTINGS && !functions.has(name));
    if (absent.length > 0) throw new CollectError('LIBRARY_TOO_OLD', `${path} has no ${absent.join(', ')}`);
    const session = new NvmlSession(functions, lane, deadlines);
    await session.#call('nvmlInit_v2', deadlines.initialise);
    return session;
  }

  driverVersion(): Promise<string> {
    return this.#text('nvmlSystemGetDriverVersion', DRIVER_VERSION_BYTES);
  }

  async mode(): Promise<StatedMode> {
    return { state: await this.#state(), settings: await this.#settings() };
  }

  /** GPUs in the order of the driver, which is that of the PCI bus. */
  async gpus(): Promise<readonly Gpu[]> {
    const count = await this.#number('nvmlDeviceGetCount_v2');
    if (count > MAX_GPUS) throw new CollectError('EVIDENCE_MALFORMED', `the driver counts ${count} GPUs`);
    const gpus: Gpu[] = [];
    for (let index = 0; index < count; index++) {
      const bytes = await this.#filled('nvmlDeviceGetHandleByIndex_v2', POINTER_BYTES, index);
      const handle = new DataView(bytes.buffer).getBigUint64(0, true);
      const uuid = await this.#text('nvmlDeviceGetUUID', UUID_BYTES, handle);
      gpus.push({ index, handle, uuid });
    }
    return gpus;
  }

  /** Value of nvmlDeviceArchitecture_t. */
  architecture({ handle }: Gpu): Promise<number> {
    return this.#number('nvmlDeviceGetArchitecture', handle);
  }

  vbiosVersion({ handle }: Gpu): Promise<string> {
    return this.#text('nvmlDeviceGetVbiosVersion', VBIOS_BYTES, handle);
  }

  /** PEM text. */
  async certificateChain({ handle }: Gpu): Promise<Uint8Array> {
    const bytes = new Uint8Array(CERTIFICATE_BYTES);
    await this.#call('nvmlDeviceGetConfComputeGpuCertificate', this.#deadlines.attest, handle, bytes);
    return readCertificateChain(bytes);
  }

  async attestationReport({ handle }: Gpu, nonce: Uint8Array): Promise<Uint8Array> {
    const bytes = reportRequest(nonce);
    await this.#call('nvmlDeviceGetConfComputeGpuAttestationReport', this.#deadlines.attest, handle, bytes);
    return readReport(bytes);
  }

  /** 1: the GPUs take work. */
  readyState(): Promise<number> {
    return this.#number('nvmlSystemGetConfComputeGpusReadyState');
  }

  /** For root alone. */
  setReadyState(state: number): Promise<void> {
    return this.#call('nvmlSystemSetConfComputeGpusReadyState', this.#deadlines.ask, state);
  }

  close(): Promise<void> {
    return this.#call('nvmlShutdown', this.#deadlines.initialise);
  }

  async #state(): Promise<SystemState> {
    const name = 'nvmlSystemGetConfComputeState';
    const bytes = new Uint8Array(STATE_BYTES);
    const code = await this.#code(name, this.#deadlines.ask, bytes);
    if (code === NOT_SUPPORTED) {
      const reason = 'the driver does not support confidential computing on this machine';
      throw new CollectError('CONFIDENTIAL_COMPUTING_OFF', reason);
    }
    if (code !== 0) throw nvmlFailure(name, code);
    return readState(bytes);
  }

  /** A driver that has the function and does not answer it is not an old one: nothing is assumed in its place. */
  async #settings(): Promise<SystemSettings | undefined> {
    if (!this.#functions.has(SETTINGS)) return undefined;
    const bytes = settingsRequest();
    await this.#call(SETTINGS, this.#deadlines.ask, bytes);
    return readSettings(bytes);
  }

  async #text(name: FunctionName, size: number, ...before: Argument[]): Promise<string> {
    const bytes = new Uint8Array(size);
    await this.#call(name, this.#deadlines.ask, ...before, bytes, size);
    return readText(bytes, `answer of ${name}`);
  }

  async #number(name: FunctionName, ...before: Argument[]): Promise<number> {
    const bytes = await this.#filled(name, U32_BYTES, ...before);
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  /** Calls a function whose last parameter is filled. */
  async #filled(name: FunctionName, size: number, ...before: Argument[]) {
    const bytes = new Uint8Array(size);
    await this.#call(name, this.#deadlines.ask, ...before, bytes);
    return bytes;
  }

  async #call(name: FunctionName, deadline: number, ...parameters: Argument[]): Promise<void> {
    const code = await this.#code(name, deadline, ...parameters);
    if (code !== 0) throw nvmlFailure(name, code);
  }

  #code(name: FunctionName, deadline: number, ...parameters: Argument[]): Promise<number> {
    return this.#lane.run(name, deadline, () => this.#functions.call(name, ...parameters) as Promise<number>);
  }
}
