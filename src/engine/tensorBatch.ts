import type { Tensor, TensorData, TensorSpec } from './engine.ts';

/** Whether the first dimension of every input and output is free: a batch, by the custom of exporters. */
export function isBatchable({
  inputs,
  outputs,
}: {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}): boolean {
  const free = ({ shape }: TensorSpec): boolean => shape.length > 0 && shape[0] === -1;
  return inputs.length > 0 && outputs.length > 0 && [...inputs, ...outputs].every(free);
}

/** Rows that these inputs bring; undefined where they disagree, and the model is left to refuse them. */
export function rowsOf(inputs: readonly Tensor[]): number | undefined {
  const [rows] = inputs.map(({ shape }) => shape[0]);
  return rows !== undefined && rows > 0 && inputs.every(({ shape }) => shape[0] === rows) ? rows : undefined;
}

/** Whether two sets of inputs differ in nothing but rows and values. */
export function canShare(a: readonly Tensor[], b: readonly Tensor[]): boolean {
  const form = ({ name, datatype, shape }: Tensor): string => [name, datatype, ...shape.slice(1)].join();
  const forms = (inputs: readonly Tensor[]): string => inputs.map(form).sort().join(';');
  return forms(a) === forms(b);
}

/** Inputs one behind the other, by name. */
export function stack(all: readonly (readonly Tensor[])[]): readonly Tensor[] {
  const [first = []] = all;
  return first.map(({ name, datatype, shape }) => {
    const parts = all.map((inputs) => inputs.find((input) => input.name === name));
    const rows = parts.reduce((sum, part) => sum + (part?.shape[0] ?? 0), 0);
    return {
      name,
      datatype,
      shape: [rows, ...shape.slice(1)],
      data: concatenate(parts.map((part) => part?.data ?? [])),
    };
  });
}

/** Outputs of each request; undefined where an output does not have a row for each row that was given. */
export function split(
  outputs: readonly Tensor[],
  rows: readonly number[],
): readonly (readonly Tensor[])[] | undefined {
  const total = rows.reduce((sum, count) => sum + count, 0);
  if (!outputs.every(({ shape }) => shape[0] === total)) return undefined;
  let start = 0;
  return rows.map((count) => {
    const from = start;
    start += count;
    return outputs.map(({ name, datatype, shape, data }) => {
      const size = data.length / total;
      const part = data.slice(from * size, (from + count) * size) as TensorData;
      return { name, datatype, shape: [count, ...shape.slice(1)], data: part };
    });
  });
}

function concatenate(parts: readonly TensorData[]): TensorData {
  const [first] = parts;
  if (first === undefined || !ArrayBuffer.isView(first))
    return parts.flatMap((part) => [...(part as readonly string[])]);
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  // Each part has the constructor of the first: their datatypes are equal.
  const whole = new (first.constructor as new (length: number) => Float32Array)(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part as Float32Array, at);
    at += part.length;
  }
  return whole;
}
