import { z } from 'zod';
import type { Datatype, TensorData } from '../engine/engine.ts';
import { fromHalf, RUNTIME_TYPES } from '../engine/tensors.ts';
import { ServiceError } from '../http/errors.ts';
import { readBinaryTensor } from '../http/tensorBinary.ts';
import { compareByteRuns, compareSequences, type Difference } from './difference.ts';

/** JSON of an answer with the raw tensors behind it. */
export interface FramedAnswer {
  readonly json: unknown;
  readonly tensors: Uint8Array;
}

const HEAD = z.object({
  outputs: z.array(
    z.object({
      name: z.string(),
      datatype: z.string(),
      shape: z.array(z.int().min(0)),
      parameters: z.object({ binary_data_size: z.int().min(0).optional() }).optional(),
    }),
  ),
});

interface RawTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Where the raw tensors of two answers differ: element by element where both say the same of a tensor. */
export function compareRawTensors(recorded: FramedAnswer, replayed: FramedAnswer): readonly Difference[] {
  const [before, now] = [tensorsOf(recorded), tensorsOf(replayed)];
  if (!before || !now || before.size !== now.size) {
    return found(compareByteRuns('raw tensors', recorded.tensors, replayed.tensors));
  }
  return [...before].flatMap(([place, tensor]) => {
    const other = now.get(place);
    return other ? found(compareTensors(`${place} (${tensor.name})`, tensor, other)) : [];
  });
}

function compareTensors(where: string, recorded: RawTensor, replayed: RawTensor): Difference | undefined {
  const [before, now] = [valuesOf(recorded), valuesOf(replayed)];
  const elements = before && now && compareSequences(where, 'element', before, now);
  return elements ?? compareByteRuns(where, recorded.bytes, replayed.bytes);
}

/** Raw tensors by their place in the JSON; undefined where the JSON does not say how the bytes part. */
function tensorsOf({ json, tensors }: FramedAnswer): ReadonlyMap<string, RawTensor> | undefined {
  const head = HEAD.safeParse(json);
  if (!head.success) return undefined;
  const found = new Map<string, RawTensor>();
  let offset = 0;
  for (const [i, { name, datatype, shape, parameters }] of head.data.outputs.entries()) {
    const size = parameters?.binary_data_size;
    if (size === undefined) continue;
    const bytes = tensors.subarray(offset, offset + size);
    if (bytes.length !== size) return undefined;
    found.set(`outputs[${i}]`, { name, datatype, shape, bytes });
    offset += size;
  }
  return offset === tensors.length ? found : undefined;
}

/** The numbers or texts of a tensor; undefined where its bytes do not fit what is said of it. */
function valuesOf({ name, datatype, shape, bytes }: RawTensor): ArrayLike<unknown> | undefined {
  if (!Object.hasOwn(RUNTIME_TYPES, datatype)) return undefined;
  let data: TensorData;
  try {
    data = readBinaryTensor(name, datatype as Datatype, shape, bytes);
  } catch (error) {
    if (error instanceof ServiceError) return undefined;
    throw error;
  }
  return datatype === 'FP16' ? Array.from(data as Uint16Array, fromHalf) : data;
}

function found(difference: Difference | undefined): readonly Difference[] {
  return difference ? [difference] : [];
}
