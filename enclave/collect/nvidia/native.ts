import koffi, { type TypeObject } from 'koffi';
import { CollectError } from '../errors.ts';
import { widenNativeStack } from '../nativeStack.ts';

type Type = string | TypeObject;
export type Argument = bigint | number | string | Uint8Array | null;
/** Types in C of the result and of each parameter. */
export type Prototype = readonly [result: Type, ...parameters: Type[]];

interface Native {
  async(...parameters: [...Argument[], (error: unknown, result: unknown) => void]): void;
}

/**
 * Functions of a shared library, called on worker threads of libuv so that the event loop goes on. A call that never
 * returns keeps one of those threads, four by default: `CallLane` lets no more than one out.
 */
export class NativeFunctions {
  readonly #functions: ReadonlyMap<string, Native>;
  /** Arguments of calls that are out: a library writes into their memory until it returns, deadline or not. */
  readonly #lent = new Set<readonly Argument[]>();

  constructor(functions: ReadonlyMap<string, Native>) {
    this.#functions = functions;
  }

  has(name: string): boolean {
    return this.#functions.has(name);
  }

  /** Arrays among the arguments are filled in place; they must not be looked at before the promise is settled. */
  call(name: string, ...parameters: Argument[]): Promise<unknown> {
    const native = this.#functions.get(name);
    if (!native) return Promise.reject(new CollectError('LIBRARY_TOO_OLD', `the driver has no ${name}`));
    this.#lent.add(parameters);
    const called = new Promise((resolve, reject) => {
      native.async(...parameters, (error, result) => {
        if (error) reject(new CollectError('DEVICE_REFUSED', `${name} failed`, { cause: error }));
        else resolve(result);
      });
    });
    return called.finally(() => this.#lent.delete(parameters));
  }
}

/** Loads a library by path or by the name that the dynamic loader looks for. Functions may be absent. */
export function loadFunctions(
  path: string,
  prototypes: Readonly<Record<string, Prototype>>,
): NativeFunctions {
  widenNativeStack(koffi);
  const loaded = load(path);
  const functions = new Map<string, Native>();
  for (const [name, [result, ...parameters]] of Object.entries(prototypes)) {
    try {
      functions.set(name, loaded.func(name, result, parameters));
    } catch {
      // Absent: whoever needs the function says so, with what follows from it.
    }
  }
  return new NativeFunctions(functions);
}

function load(path: string) {
  try {
    return koffi.load(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CollectError('LIBRARY_MISSING', `${path} cannot be loaded: ${reason}`, { cause: error });
  }
}
