import { EngineError, type EngineErrorCode } from '../engine/engine.ts';
import { type ServiceErrorCode, ServiceError, toServiceError } from '../http/errors.ts';

/** An error between two processes. The engine's stay what they are: routes put them into words of their own. */
export type WireError =
  | { readonly kind: 'engine'; readonly code: EngineErrorCode; readonly message: string }
  | { readonly kind: 'service'; readonly code: ServiceErrorCode; readonly message: string }
  /** Of the operating system, such as `EADDRINUSE`. */
  | { readonly kind: 'system'; readonly code: string; readonly message: string };

export function toWire(error: unknown): WireError {
  if (error instanceof EngineError) return { kind: 'engine', code: error.code, message: error.message };
  if (isSystemError(error)) return { kind: 'system', code: error.code, message: error.message };
  const { code, message } = toServiceError(error);
  return { kind: 'service', code, message };
}

export function fromWire({ kind, code, message }: WireError): Error {
  switch (kind) {
    case 'engine':
      return new EngineError(code, message);
    case 'service':
      return new ServiceError(code, message);
    case 'system':
      return Object.assign(new Error(message), { code });
  }
}

function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string';
}
