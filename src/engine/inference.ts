import { Tensor as RuntimeTensor } from 'onnxruntime-node';
import { EngineError, type Tensor, type TensorSpec } from './engine.ts';
import type { TensorSession } from './session.ts';
import { halfBits, requireOutputs, RUNTIME_TYPES } from './tensors.ts';

/** Failures that the values or free dimensions of the inputs cause, as onnxruntime words them. */
const INPUT_FAULT =
  /invalid rank|invalid dimensions|out of (data )?bounds|broadcast|dimension|shape|INVALID_ARGUMENT/i;

/** One run over inputs that fit the declaration. */
export async function infer(
  session: TensorSession,
  outputs: readonly TensorSpec[],
  inputs: readonly Tensor[],
): Promise<readonly Tensor[]> {
  const feeds: Record<string, RuntimeTensor> = {};
  for (const input of inputs) feeds[input.name] = toRuntime(input);
  const results = await runInputs(session, feeds, outputs);
  const tensors = outputs.map((spec) => fromRuntime(spec, results[spec.name]));
  requireOutputs(tensors);
  return tensors;
}

async function runInputs(
  session: TensorSession,
  feeds: Record<string, RuntimeTensor>,
  outputs: readonly TensorSpec[],
): Promise<Readonly<Record<string, RuntimeTensor | undefined>>> {
  try {
    return await session.run(
      feeds,
      outputs.map((spec) => spec.name),
    );
  } catch (error) {
    // The runtime's message quotes values of the inputs: only its kind is told.
    if (error instanceof Error && INPUT_FAULT.test(error.message)) {
      throw new EngineError('INVALID_INPUT', 'the model does not accept these shapes or values together');
    }
    throw error;
  }
}

function toRuntime({ datatype, data, shape }: Tensor): RuntimeTensor {
  // The parent has compared data and datatype; the constructor's overloads want each pair by itself.
  return new RuntimeTensor(RUNTIME_TYPES[datatype] as 'float32', data as Float32Array, shape);
}

function fromRuntime({ name, datatype }: TensorSpec, value: RuntimeTensor | undefined): Tensor {
  if (value?.type !== RUNTIME_TYPES[datatype]) throw new Error('an output has another type than declared');
  const raw = value.data;
  const data = datatype === 'FP16' && ArrayBuffer.isView(raw) ? halfBits(raw) : raw;
  return { name, datatype, shape: [...value.dims], data };
}
