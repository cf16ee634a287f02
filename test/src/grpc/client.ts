import { afterEach } from '@jest/globals';
import { Client, credentials, Metadata, status, type CallOptions } from '@grpc/grpc-js';
import { fromJSON, type MessageTypeDefinition } from '@grpc/proto-loader';
import { DESCRIPTOR } from '../../../src/grpc/descriptor.ts';
import { type GrpcListening, listenGrpc } from '../../../src/grpc/listen.ts';
import type { ConfigOverrides } from '../../../src/config/load.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { TensorEngine } from '../../support/tensorEngine.ts';

export const PATH = '/inference.GRPCInferenceService/';

/** How a call ended, as the client sees it. */
export interface Answer {
  readonly code: string;
  readonly details: string;
  /** Undefined where there is no message. */
  readonly bytes: Buffer | undefined;
  readonly initial: Metadata;
  readonly trailing: Metadata;
}

export interface Sent {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly options?: CallOptions;
  /** Cancels the call when it resolves. */
  readonly cancel?: Promise<unknown>;
}

export interface GrpcService extends TestService {
  readonly grpc: GrpcListening;
  readonly engine: TensorEngine;
  readonly client: Client;
  call(name: string, bytes: Uint8Array, sent?: Sent): Promise<Answer>;
  infer(request: object, sent?: Sent): Promise<Answer>;
}

const open: { readonly grpc: GrpcListening; readonly client: Client }[] = [];
afterEach(async () => {
  for (const { grpc, client } of open.splice(0)) {
    client.close();
    await grpc.stop(Promise.resolve());
  }
});

/** A service with a gRPC door over a socket. */
export async function startGrpc(overrides: ConfigOverrides = {}): Promise<GrpcService> {
  const engine = new TensorEngine();
  const service = await startTestService({ grpc: { port: 0 }, ...overrides }, { engine });
  const grpc = (await listenGrpc(service.service))!;
  const client = new Client(`127.0.0.1:${grpc.port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.use_local_subchannel_pool': 1,
  });
  open.push({ grpc, client });
  const call = (name: string, bytes: Uint8Array, sent?: Sent) => callOf(client, name, bytes, sent);
  return {
    ...service,
    engine,
    grpc,
    client,
    call,
    infer: (request, sent) => call('ModelInfer', encode('ModelInferRequest', request), sent),
  };
}

const asIs = (bytes: Buffer): Buffer => bytes;

export function callOf(client: Client, name: string, bytes: Uint8Array, sent: Sent = {}): Promise<Answer> {
  return new Promise((resolve) => {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(sent.metadata ?? {})) metadata.set(key, value);
    let received: Buffer | undefined;
    let initial = new Metadata();
    const call = client.makeUnaryRequest(
      PATH + name,
      asIs,
      asIs,
      Buffer.from(bytes),
      metadata,
      sent.options ?? {},
      (_error, value) => (received = value),
    );
    call.on('metadata', (given: Metadata) => (initial = given));
    call.on('status', ({ code, details, metadata: trailing }) => {
      resolve({ code: status[code], details, bytes: received, initial, trailing });
    });
    void sent.cancel?.then(() => {
      call.cancel();
    });
  });
}

const DEFINITIONS = fromJSON(DESCRIPTOR, { longs: String, defaults: true, bytes: Buffer });

function typeNamed(message: string): MessageTypeDefinition<object, object> {
  return DEFINITIONS[`inference.${message}`] as MessageTypeDefinition<object, object>;
}

/** A message as the library writes it. */
export function encode(message: string, value: object): Buffer {
  return typeNamed(message).serialize(value);
}

export function decode(message: string, bytes: Uint8Array | undefined): Record<string, unknown> {
  return typeNamed(message).deserialize(Buffer.from(bytes!)) as Record<string, unknown>;
}

/** First value of a name. */
export function named(metadata: Metadata, name: string): string | undefined {
  return metadata.get(name)[0]?.toString();
}
