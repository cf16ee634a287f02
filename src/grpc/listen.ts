import { setTimeout as delay } from 'node:timers/promises';
import {
  logVerbosity,
  Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  setLogVerbosity,
  type ServerInterceptor,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { maxConnections } from '../http/listen.ts';
import type { Service } from '../http/service.ts';
import { actionsOf } from './calls.ts';
import { CALLS, SERVICE } from './descriptor.ts';
import { grpcEndpoint } from './endpoint.ts';
import { CODE_NAME, LIBRARY_CODES } from './status.ts';
import { boundServer } from './streams.ts';

/** Calls of one connection at once. */
const MAX_STREAMS = 128;
/** Memory of one connection, above which it takes no new calls (MB). Node counts heads and what waits to be sent. */
const MAX_SESSION_MB = 64;
/** A connection without calls is closed after this time (ms). */
const IDLE_MS = 300_000;
/** A connection that does not answer is closed after these times (ms). */
const KEEPALIVE_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
/** How long a stop waits for answers that are on their way out. */
const FLUSH_MS = 2_000;

/** A gRPC server that listens. */
export interface GrpcListening {
  readonly port: number;
  /** Lets no call in any more, and ends what is left once `drained` says that all is answered. */
  readonly stop: (drained: Promise<void>) => Promise<void>;
}

/** Opens the gRPC door; undefined where none is configured. */
export async function listenGrpc(service: Service): Promise<GrpcListening | undefined> {
  const { host, port } = service.config.grpc;
  if (port === undefined) return undefined;
  // It writes to the console what we throw, or count.
  setLogVerbosity(logVerbosity.NONE);
  const { limits } = service.config;
  const server = new Server({
    'grpc.max_receive_message_length': limits.bodyBytes,
    'grpc.max_concurrent_streams': MAX_STREAMS,
    'grpc-node.max_session_memory': MAX_SESSION_MB,
    'grpc.max_connection_idle_ms': IDLE_MS,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    interceptors: [sayCode],
  });
  const actions = actionsOf(service);
  const handlers: UntypedServiceImplementation = {};
  for (const call of CALLS) handlers[call] = grpcEndpoint(service, `grpc ${call}`, actions[call]);
  server.addService(DEFINITION, handlers);
  const bound = await bind(server, `${host.includes(':') ? `[${host}]` : host}:${port}`);
  boundServer(server, { connections: maxConnections(limits), timeoutMs: limits.requestTimeoutMs });
  let stopped: Promise<void> | undefined;
  return { port: bound, stop: (drained) => (stopped ??= stop(service, server, drained)) };
}

const asIs = (bytes: Buffer): Buffer => bytes;

/**
 * The calls, with messages as the bytes that they are on the wire. A unary call looks there like a stream of one
 * message; taken as that, it is authenticated and admitted before its message is read.
 */
const DEFINITION: ServiceDefinition = Object.fromEntries(
  CALLS.map((call) => [
    call,
    {
      path: `/${SERVICE}/${call}`,
      requestStream: true,
      responseStream: false,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    },
  ]),
);

/** Adds our code to what grpc-js refuses by itself, such as a message that is too large. */
const sayCode: ServerInterceptor = (_method, call) => {
  const send = call.sendStatus.bind(call);
  call.sendStatus = (status) => {
    const metadata = status.metadata ?? new Metadata();
    const code = LIBRARY_CODES[status.code];
    if (code !== undefined && metadata.get(CODE_NAME).length === 0) metadata.set(CODE_NAME, code);
    send({ ...status, metadata });
  };
  return new ServerInterceptingCall(call);
};

/** Errors of the system keep their code, which grpc-js has in its text only. */
function bind(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (!error) resolve(port);
      else {
        const code = /\bE[A-Z]{4,}\b/.exec(error.message)?.[0];
        reject(Object.assign(new Error(`gRPC: ${error.message}`), code !== undefined && { code }));
      }
    });
  });
}

async function stop({ admission }: Service, server: Server, drained: Promise<void>): Promise<void> {
  admission.close();
  const closed = new Promise<void>((resolve) => {
    server.tryShutdown(() => {
      resolve();
    });
  });
  await drained;
  await Promise.race([closed, delay(FLUSH_MS, undefined, { ref: false })]);
  server.forceShutdown();
}
