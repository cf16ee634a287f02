import { Tensor } from 'onnxruntime-node';
import type { TensorSpec } from '../engine.ts';
import type { RuntimeLibrary } from '../ort/library.ts';
import { NativeSession } from '../ort/session.ts';
import type { SessionFiles, SessionSettings, TensorSession } from '../session.ts';
import { halfBits } from '../tensors.ts';
import { places } from './feeds.ts';
import { EXTENT, growInPlace, PLACES } from './inPlaceGraph.ts';
import { presentOf } from './plan.ts';

/** Opens a model with caches that grow in place, if it can be had so, or as its file has it. Throws `RuntimeFailure`. */
export function openDecoderSession(
  library: RuntimeLibrary,
  { weights, external }: Pick<SessionFiles, 'weights' | 'external'>,
  operators: ReadonlySet<string>,
  settings: SessionSettings,
): NativeSession {
  const edited = growInPlace(weights, operators);
  try {
    if (edited) return new NativeSession(library, { weights: edited, external }, settings);
  } catch {
    // The runtime says of the file itself what it has against it.
  }
  return new NativeSession(library, { weights, external }, settings);
}

/** Whether the session runs a graph whose caches grow in place. */
export function growsInPlace({ inputs }: Pick<NativeSession, 'inputs'>): boolean {
  return inputs.some(({ name }) => name === PLACES);
}

/** The session as the file declares its model. */
export function declaredSession(session: NativeSession): NativeSession | DeclaredSession {
  return growsInPlace(session) ? new DeclaredSession(session) : session;
}

/** A session whose caches grow in place, as its file declares the model: with the past as it is, and no other inputs. */
export class DeclaredSession implements TensorSession {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly #session: NativeSession;

  constructor(session: NativeSession) {
    this.#session = session;
    this.inputs = session.inputs.filter(({ name }) => name !== PLACES && name !== EXTENT);
    this.outputs = session.outputs;
  }

  async run(
    feeds: Readonly<Record<string, Tensor>>,
    names: readonly string[],
  ): Promise<Record<string, Tensor>> {
    const [rows, tokens] = feeds['input_ids']?.dims ?? [];
    const caches = this.inputs.filter(({ name }) => presentOf(name) !== undefined);
    const [, heads, length, width] = feeds[caches[0]?.name ?? '']?.dims ?? [];
    if (
      rows === undefined ||
      tokens === undefined ||
      heads === undefined ||
      length === undefined ||
      width === undefined
    )
      throw new Error('invalid dimensions');
    const wide = caches.map(({ name, shape }) => {
      const past = feeds[name];
      const wanted = [rows, heads, length, shape[3]];
      // Room is made for what was declared alone: dimensions of nothing may be of any size.
      if (
        !past ||
        shape[1] !== heads ||
        past.dims.length !== 4 ||
        !past.dims.every((size, i) => size === wanted[i])
      )
        throw new Error('invalid dimensions of a cache');
      return [name, widen(past, tokens)] as const;
    });
    return this.#session.run(
      {
        ...feeds,
        ...Object.fromEntries(wide),
        [PLACES]: new Tensor('int64', places(rows, heads, length, tokens), [rows, heads, tokens, 3]),
        [EXTENT]: new Tensor('uint8', new Uint8Array(rows * heads * length * width), [
          rows,
          heads,
          length,
          width,
        ]),
      },
      names,
    );
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

/** A cache with room for so many more columns. */
function widen(past: Tensor, tokens: number): Tensor {
  const [rows = 0, heads = 0, length = 0, width = 0] = past.dims;
  const data = past.data instanceof Float32Array ? past.data : halfBits(past.data as Uint16Array);
  const [former, larger] = [length * width, (length + tokens) * width];
  const elements = rows * heads * larger;
  const wide = data instanceof Float32Array ? new Float32Array(elements) : new Uint16Array(elements);
  for (let line = 0; line < rows * heads; line++) {
    wide.set(data.subarray(line * former, (line + 1) * former), line * larger);
  }
  // The overloads of the constructor want each pair of type and array by itself.
  return new Tensor(past.type as 'float32', wide as Float32Array, [rows, heads, length + tokens, width]);
}
