import { mediaParameter, mediaType, requireJson } from './body.ts';
import { ServiceError } from './errors.ts';

/** Triton's binary tensor data extension: bytes of JSON at the start of a body, after which raw tensors lie. */
export const JSON_LENGTH_HEADER = 'inference-header-content-length';
const LENGTH = /^(?:0|[1-9]\d{0,9})$/;

const invalid = (message: string): ServiceError => new ServiceError('FRAMING_INVALID', message);

/**
 * How long the JSON of a body is; undefined where all of it is JSON. The header says it, or a parameter of its name in
 * the content type, which is where a sealed request has it.
 */
export function readFraming(
  contentType: string | undefined,
  header: string | readonly string[] | undefined,
): number | undefined {
  const type = mediaType(contentType);
  const stated = [header, mediaParameter(contentType, JSON_LENGTH_HEADER)].filter(
    (text) => text !== undefined,
  );
  const [length] = stated;
  if (length === undefined) {
    if (type === 'application/octet-stream') throw invalid('Inference-Header-Content-Length is missing');
    requireJson(contentType);
    return undefined;
  }
  // The header alone is no simple request of a browser: a type that is not stated needs no suspicion.
  if (type !== '' && type !== 'application/octet-stream') requireJson(contentType);
  if (typeof length !== 'string' || !LENGTH.test(length)) {
    throw invalid('Inference-Header-Content-Length is no count of bytes');
  }
  if (stated.some((text) => text !== length)) {
    throw invalid('Inference-Header-Content-Length is given twice and differs');
  }
  return Number(length);
}

/** A content type that says where the JSON ends. */
export function framedType(contentType: string, jsonLength: number | undefined): string {
  return jsonLength === undefined ? contentType : `${contentType}; ${JSON_LENGTH_HEADER}=${jsonLength}`;
}

/** JSON and what follows it. */
export function splitBody(
  bytes: Uint8Array,
  jsonLength: number | undefined,
): { readonly json: Uint8Array; readonly tensors: Uint8Array } {
  const length = jsonLength ?? bytes.length;
  if (length > bytes.length) {
    throw invalid(`the JSON has ${length} bytes, the body ${bytes.length}`);
  }
  return { json: bytes.subarray(0, length), tensors: bytes.subarray(length) };
}

/** Hands out raw tensors in the order of the inputs. */
export class TensorBytes {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  take(name: string, size: number): Uint8Array {
    const left = this.#bytes.length - this.#offset;
    if (size > left) throw invalid(`input ${name}: binary_data_size is ${size}, ${left} bytes are left`);
    this.#offset += size;
    return this.#bytes.subarray(this.#offset - size, this.#offset);
  }

  /** Refuses bytes that no input takes. */
  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left > 0) throw invalid(`${left} bytes follow that are of no input`);
  }
}
