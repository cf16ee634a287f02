import koffi, { type TypeObject } from 'koffi';
import { CollectError, type CollectErrorCode } from '../errors.ts';
import type { CallLane } from './callLane.ts';
import { type Argument, loadFunctions, type NativeFunctions, type Prototype } from './native.ts';
import type { NvmlDeadlines } from './session.ts';
import { ATTESTATION_CHAIN_BYTES, filled, MAX_REPORT_BYTES, readText } from './structures.ts';

/*
 * NSCQ, the library of NVSwitch queries, as nscq_attestation.h of NVIDIA/nvtrust declares it (API 2.0). Result codes are
 * int8_t: 0 success, above it warnings, below it errors. A value is not returned: the library calls a function of the
 * caller for each device that a path stands for, on the thread of the call and before the call returns. koffi runs it on
 * the event loop while that thread waits.
 */

const UUID_BYTES = 16;
const LABEL_BYTES = 64;
const MOUNT_DEVICES = 1;
const NO_FLAGS = 0;
/** NSCQ_RC_ERROR_UNSPECIFIED. */
const UNSPECIFIED = -128;
/** More values than any machine has switches. */
const MAX_VALUES = 64;

const RESULT = koffi.struct({ rc: 'int8_t', session: 'void *' });
const UUID = koffi.array('uint8_t', UUID_BYTES, 'Typed');

const FUNCTIONS = {
  nscq_session_create: [RESULT, 'uint32_t'],
  nscq_session_destroy: ['void', 'void *'],
  nscq_session_set_input: ['int8_t', 'void *', 'uint32_t', 'void *', 'uint32_t'],
  nscq_session_path_observe: ['int8_t', 'void *', 'str', 'void *', 'void *', 'uint32_t'],
  nscq_uuid_to_label: ['int8_t', 'void *', 'void *', 'uint32_t'],
} as const satisfies Readonly<Record<string, Prototype>>;

/** What codes mean to an operator; every other one but 0 is a refusal. */
const MEANINGS: Readonly<Record<number, CollectErrorCode>> = {
  [-1]: 'LIBRARY_TOO_OLD',
  [-3]: 'DEVICE_LOST',
  [-6]: 'DRIVER_NOT_LOADED',
  [-8]: 'DEVICE_TIMEOUT',
};

/** A kind of value: the function that the library calls with it, and how it is read. */
export interface ValueKind<T> {
  readonly observer: TypeObject;
  /** Copies what it returns: memory of the library ends with the call. */
  readonly read: (value: unknown) => T;
}

function valueKind<T>(type: string | TypeObject, read: (value: unknown) => T): ValueKind<T> {
  const observer = koffi.pointer(koffi.proto('void', ['void *', 'int8_t', type, 'void *']));
  return { observer, read };
}

/** nscq_uuid_t, by address. */
export const UUID_VALUE = valueKind('void *', (address) => {
  if (address === null) throw new CollectError('EVIDENCE_MALFORMED', 'the library names a switch by no UUID');
  return Uint8Array.from(koffi.decode(address, UUID) as Uint8Array);
});

/** nscq_arch_t and nscq_tnvl_status_t. */
export const SMALL_VALUE = valueKind('int8_t', Number);

/** nscq_attestation_certificate_t, by value; size and data lie in the other order than in the report. */
export const CERTIFICATE_VALUE = valueKind(
  koffi.struct({ chain: koffi.array('uint8_t', ATTESTATION_CHAIN_BYTES, 'Typed'), size: 'uint32_t' }),
  (value) => {
    const { chain, size } = value as { chain: Uint8Array; size: number };
    return filled(chain, size, 'certificate chain of a switch');
  },
);

/** nscq_attestation_report_t, by value. */
export const REPORT_VALUE = valueKind(
  koffi.struct({ size: 'uint32_t', report: koffi.array('uint8_t', MAX_REPORT_BYTES, 'Typed') }),
  (value) => {
    const { report, size } = value as { report: Uint8Array; size: number };
    return filled(report, size, 'report of a switch');
  },
);

/** A session of NSCQ with all switches mounted. */
export class NscqSession {
  readonly #functions: NativeFunctions;
  readonly #session: bigint;
  readonly #lane: CallLane;
  readonly #deadlines: NvmlDeadlines;

  private constructor(functions: NativeFunctions, session: bigint, lane: CallLane, deadlines: NvmlDeadlines) {
    this.#functions = functions;
    this.#session = session;
    this.#lane = lane;
    this.#deadlines = deadlines;
  }

  static async open(path: string, lane: CallLane, deadlines: NvmlDeadlines): Promise<NscqSession> {
    const functions = loadFunctions(path, FUNCTIONS);
    const absent = Object.keys(FUNCTIONS).filter((name) => !functions.has(name));
    if (absent.length > 0) throw new CollectError('LIBRARY_TOO_OLD', `${path} has no ${absent.join(', ')}`);
    const create = 'nscq_session_create';
    const created = await lane.run(create, deadlines.initialise, () => functions.call(create, MOUNT_DEVICES));
    const { rc, session } = created as { rc: number; session: bigint | null };
    if (rc !== 0 || session === null) throw failure(create, rc === 0 ? UNSPECIFIED : rc);
    return new NscqSession(functions, session, lane, deadlines);
  }

  /** Values of a path, one for each device that it stands for. */
  async values<T>(path: string, { observer, read }: ValueKind<T>): Promise<readonly T[]> {
    const values: T[] = [];
    const refusals: unknown[] = [];
    const onValue = (_device: unknown, rc: number, value: unknown): void => {
      try {
        if (rc !== 0) throw failure(path, rc);
        if (values.length === MAX_VALUES) {
          throw new CollectError('EVIDENCE_MALFORMED', `${path} has more than ${MAX_VALUES} values`);
        }
        values.push(read(value));
      } catch (error) {
        if (refusals.length === 0) refusals.push(error);
      }
    };
    const observe = 'nscq_session_path_observe';
    const rc = await this.#lane.run(`${observe} of ${path}`, this.#deadlines.attest, () => {
      const called = koffi.register(onValue, observer);
      return (
        this.#functions
          .call(observe, this.#session, path, called, null, NO_FLAGS)
          // Not at the deadline: until the library returns, it may call the function.
          .finally(() => koffi.unregister(called))
      );
    });
    if (refusals.length > 0) throw refusals[0];
    this.#checkCode(`${observe} of ${path}`, rc);
    return values;
  }

  /** The value of a path that stands for one device. */
  async value<T>(path: string, kind: ValueKind<T>): Promise<T> {
    const [value, ...more] = await this.values(path, kind);
    if (value === undefined || more.length > 0) {
      throw new CollectError(
        'EVIDENCE_MALFORMED',
        `${path} has ${more.length > 0 ? 'several values' : 'no value'}`,
      );
    }
    return value;
  }

  /** The name that stands for a switch in paths. */
  async label(uuid: Uint8Array): Promise<string> {
    const bytes = new Uint8Array(LABEL_BYTES);
    await this.#call('nscq_uuid_to_label', uuid, bytes, NO_FLAGS);
    return readText(bytes, 'label of a switch');
  }

  /** Nonce of all reports that this session asks for from now on. */
  setNonce(nonce: Uint8Array): Promise<void> {
    return this.#call(
      'nscq_session_set_input',
      this.#session,
      NO_FLAGS,
      Uint8Array.from(nonce),
      nonce.length,
    );
  }

  async close(): Promise<void> {
    const destroy = 'nscq_session_destroy';
    await this.#lane.run(destroy, this.#deadlines.ask, () => this.#functions.call(destroy, this.#session));
  }

  async #call(
    name: 'nscq_uuid_to_label' | 'nscq_session_set_input',
    ...parameters: Argument[]
  ): Promise<void> {
    const call = () => this.#functions.call(name, ...parameters);
    this.#checkCode(name, await this.#lane.run(name, this.#deadlines.ask, call));
  }

  #checkCode(what: string, rc: unknown): void {
    if (rc !== 0) throw failure(what, Number(rc));
  }
}

function failure(what: string, rc: number): CollectError {
  return new CollectError(MEANINGS[rc] ?? 'DEVICE_REFUSED', `${what} returned ${rc}`);
}
