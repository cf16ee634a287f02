import koffi from 'koffi';
import { FREE_FUNCTIONS, STATUS_FUNCTIONS } from './table.ts';

/** An address in the runtime's memory; 0 is none. */
export type Pointer = bigint;

/** Version of the table: onnxruntime 1.29. */
const API_VERSION = 29;
const POINTER_BYTES = 8;

type StatusFunction = keyof typeof STATUS_FUNCTIONS;
type FreeFunction = keyof typeof FREE_FUNCTIONS;
type Argument = Pointer | number | string | ArrayBufferView | ArrayBuffer | null;
type Native = (...parameters: Argument[]) => Pointer | null;

/** A failure that the runtime stated. Its text may quote values of inputs. */
export class RuntimeFailure extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'RuntimeFailure';
  }
}

/** The C interface of the shared library that onnxruntime-node has loaded. Calls run on the calling thread. */
export class RuntimeLibrary {
  readonly #functions: ReadonlyMap<string, Native>;
  readonly #message: (status: Pointer) => string;
  readonly #environment: Pointer;

  /** Throws where the library lacks this version of the interface. */
  constructor(path: string) {
    const library = koffi.load(path);
    const base: unknown = library.func('OrtGetApiBase', 'void *', [])();
    const getApi = koffi.decode(base, 'void *') as Pointer;
    const table = koffi.call(getApi, koffi.proto('void *', ['uint32_t']), API_VERSION) as Pointer | null;
    if (table === null) throw new Error(`the runtime has no interface of version ${API_VERSION}`);
    const at = (place: number): Pointer => koffi.decode(table, place * POINTER_BYTES, 'void *') as Pointer;
    const functions = new Map<string, Native>();
    for (const [name, [place, types]] of Object.entries(STATUS_FUNCTIONS)) {
      functions.set(name, koffi.decode(at(place), koffi.proto('void *', [...types])) as Native);
    }
    for (const [name, place] of Object.entries(FREE_FUNCTIONS)) {
      functions.set(name, koffi.decode(at(place), koffi.proto('void', ['void *'])) as Native);
    }
    this.#functions = functions;
    this.#message = koffi.decode(at(2), koffi.proto('str', ['void *'])) as (status: Pointer) => string;
    // Severity 4 is fatal alone: the runtime's log quotes values of inputs.
    this.#environment = this.make('CreateEnv', 4, 'vouchsafe');
  }

  get environment(): Pointer {
    return this.#environment;
  }

  /** Calls a function; throws `RuntimeFailure`. */
  call(name: StatusFunction, ...parameters: Argument[]): void {
    const status = this.#function(name)(...parameters);
    if (status === null || status === 0n) return;
    const message = this.#message(status);
    this.free('ReleaseStatus', status);
    throw new RuntimeFailure(message);
  }

  /** Calls a function whose last parameter is filled with a pointer. */
  make(name: StatusFunction, ...parameters: Argument[]): Pointer {
    const made = new BigUint64Array(1);
    this.call(name, ...parameters, made);
    return made[0] ?? 0n;
  }

  free(name: FreeFunction, pointer: Pointer): void {
    this.#function(name)(pointer);
  }

  /** Calls a function whose last parameter is filled with a number. */
  count(name: StatusFunction, ...parameters: Argument[]): number {
    return Number(this.make(name, ...parameters));
  }

  /** Where the memory of an array lies: valid as long as the array. */
  address(array: ArrayBufferView): Pointer {
    return koffi.address(array);
  }

  /** Text at a pointer, up to its NUL. */
  text(pointer: Pointer): string {
    return koffi.decode(pointer, 'char', -1) as string;
  }

  /** The memory at a pointer, without a copy; valid as long as that memory. */
  view(pointer: Pointer, bytes: number): ArrayBuffer {
    return koffi.view(pointer, bytes);
  }

  #function(name: string): Native {
    const found = this.#functions.get(name);
    if (!found) throw new Error(`the runtime lacks ${name}`);
    return found;
  }
}
