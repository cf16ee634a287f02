import { fromJSON, type MessageTypeDefinition } from '@grpc/proto-loader';
import { ServiceError } from '../http/errors.ts';
import { DESCRIPTOR } from './descriptor.ts';

const DEFINITIONS = fromJSON(DESCRIPTOR, { longs: Number, defaults: true });

/** The requests of `ModelReady` and `ModelMetadata`. */
export interface ModelRequest {
  readonly name: string;
  readonly version: string;
}

/** Reads a small request; `ModelInfer` has its own reader. */
export function readModelRequest(
  message: 'ModelReadyRequest' | 'ModelMetadataRequest',
  bytes: Uint8Array,
): ModelRequest {
  try {
    return typeNamed(message).deserialize(Buffer.from(bytes)) as ModelRequest;
  } catch {
    throw new ServiceError('BODY_INVALID', `${message}: cannot be read`);
  }
}

export function writeMessage(message: string, value: object): Uint8Array {
  return typeNamed(message).serialize(value);
}

function typeNamed(message: string): MessageTypeDefinition<object, object> {
  return DEFINITIONS[`inference.${message}`] as MessageTypeDefinition<object, object>;
}
