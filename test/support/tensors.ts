import type { TestService } from './service.ts';

/** One input of a request in the binary tensor data extension. */
export interface RawInput {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
  /** What the JSON says instead of the length of `bytes`. */
  readonly size?: unknown;
  readonly data?: readonly unknown[];
}

export interface FramedRequest {
  readonly body: Buffer<ArrayBuffer>;
  readonly jsonLength: number;
}

/** JSON with the raw tensors after it. */
export function framed(
  inputs: readonly RawInput[],
  members: object = {},
  tail: Uint8Array = new Uint8Array(0),
): FramedRequest {
  const described = inputs.map(({ name, datatype, shape, bytes, size, data }) => {
    return { name, datatype, shape, data, parameters: { binary_data_size: size ?? bytes.length } };
  });
  const json = Buffer.from(JSON.stringify({ ...members, inputs: described }));
  const body = Buffer.concat([json, ...inputs.map(({ bytes }) => bytes), tail]);
  return { body: body, jsonLength: json.length };
}

/** Elements of BYTES with their lengths. */
export function texts(...elements: readonly string[]): Uint8Array {
  const parts = elements.map((element) => {
    const text = Buffer.from(element);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    return Buffer.concat([length, text]);
  });
  return new Uint8Array(Buffer.concat(parts));
}

export function sendRaw(
  service: TestService,
  path: string,
  { body, jsonLength }: FramedRequest,
): Promise<Response> {
  return fetch(service.url + path, {
    method: 'POST',
    headers: {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(jsonLength),
    },
    body,
  });
}

/** The JSON of an answer and the raw tensors after it. */
export function readFramed(
  answer: Response,
  body: Buffer,
): { readonly json: unknown; readonly tensors: Buffer } {
  const length = Number(answer.headers.get('inference-header-content-length'));
  return { json: JSON.parse(body.subarray(0, length).toString()), tensors: body.subarray(length) };
}
