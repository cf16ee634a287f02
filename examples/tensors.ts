import type { Answer, Session } from '../src/client/index.ts';

/** A tensor of the Open Inference Protocol. The bytes of its data travel as they lie in memory: little-endian. */
export type Tensor =
  | { readonly name: string; readonly datatype: 'FP32'; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly name: string; readonly datatype: 'INT64'; readonly shape: readonly number[]; readonly data: BigInt64Array }; // prettier-ignore

/** An output of 32-bit floats. */
export interface Output {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

export interface Inference {
  readonly outputs: ReadonlyMap<string, Output>;
  /** For `session.verify`. */
  readonly answer: Answer;
}

/** Length of the JSON at the start of a body. Under a seal it is a parameter of the content type, both ways. */
const JSON_LENGTH = 'inference-header-content-length';

interface InferResponse {
  readonly outputs: readonly {
    readonly name: string;
    readonly datatype: string;
    readonly shape: readonly number[];
    readonly parameters: { readonly binary_data_size: number };
  }[];
}

/** One inference with binary tensors both ways. */
export async function infer(session: Session, model: string, inputs: readonly Tensor[]): Promise<Inference> {
  const head = {
    inputs: inputs.map(({ name, datatype, shape, data }) => {
      return { name, datatype, shape, parameters: { binary_data_size: data.byteLength } };
    }),
    parameters: { binary_data_output: true },
  };
  const json = Buffer.from(JSON.stringify(head));
  const answer = await session.send({
    path: `/v2/models/${model}/infer`,
    contentType: `application/octet-stream; ${JSON_LENGTH}=${json.length}`,
    body: Buffer.concat([json, ...inputs.map(({ data }) => bytesOf(data))]),
  });
  if (answer.status !== 200) throw new Error(`${model}: ${Buffer.from(answer.body).toString()}`);
  return { outputs: readOutputs(answer), answer };
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function readOutputs({ contentType, body }: Answer): ReadonlyMap<string, Output> {
  const length = new RegExp(`${JSON_LENGTH}=(\\d+)`).exec(contentType)?.[1];
  if (length === undefined) throw new Error('the answer has no binary tensors');
  let offset = Number(length);
  const { outputs } = JSON.parse(Buffer.from(body.subarray(0, offset)).toString()) as InferResponse;
  return new Map(
    outputs.map(({ name, shape, parameters }) => {
      const start = offset;
      offset += parameters.binary_data_size;
      // A copy: floats need an offset that is a multiple of four.
      return [name, { shape, data: new Float32Array(Uint8Array.from(body.subarray(start, offset)).buffer) }];
    }),
  );
}

/** The output of a model that has one. */
export function onlyOutput({ outputs }: Inference): Output {
  const [output] = outputs.values();
  if (!output) throw new Error('the model gave no output');
  return output;
}

export function outputOf({ outputs }: Inference, name: string): Output {
  const output = outputs.get(name);
  if (!output) throw new Error(`the model gave no ${name}`);
  return output;
}
