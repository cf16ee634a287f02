import type { LoadedModel } from '../engine/engine.ts';
import { requireModel } from '../http/inference.ts';
import { isModelReady, readiness } from '../http/readiness.ts';
import { headerNonce, wantsFresh } from '../http/request.ts';
import { VERSION } from '../http/routes/oip.ts';
import type { Service } from '../http/service.ts';
import { type CallName, SERVICE } from './descriptor.ts';
import { type Action, type Context, readMessage } from './endpoint.ts';
import { type ModelRequest, readModelRequest, writeMessage } from './messages.ts';
import { MODEL_INFER, requireNamedVersion } from './modelInfer.ts';

/** What each call does. */
export function actionsOf(service: Service): Readonly<Record<CallName, Action>> {
  return {
    // Open, as over HTTP. What their request says is nothing, and is not read.
    ServerLive: () => writeMessage('ServerLiveResponse', { live: true }),
    ServerReady: () => writeMessage('ServerReadyResponse', { ready: readiness(service).isReady }),
    ServerMetadata: ({ headed }) => {
      service.gate.tenantOf(headed);
      // The extensions that the REST door names are of REST.
      return writeMessage('ServerMetadataResponse', { ...service.software, extensions: [] });
    },
    ModelReady: withMessage(service, (bytes) => {
      const { id } = findModel(service, readModelRequest('ModelReadyRequest', bytes));
      return writeMessage('ModelReadyResponse', { ready: isModelReady(service.engine, id) });
    }),
    ModelMetadata: withMessage(service, (bytes) => {
      const { id, inputs, outputs } = findModel(service, readModelRequest('ModelMetadataRequest', bytes));
      const platform = 'onnxruntime_onnx';
      return writeMessage('ModelMetadataResponse', {
        name: id,
        versions: [VERSION],
        platform,
        inputs,
        outputs,
      });
    }),
    ModelInfer: withMessage(service, async (bytes, tenant, { headed, reply, lifetime, facts }) => {
      const request = {
        // What HTTP/2 says of every call of gRPC.
        method: 'POST',
        path: `/${SERVICE}/ModelInfer`,
        params: {},
        bytes,
        jsonLength: undefined,
        nonce: headerNonce(headed),
        fresh: wantsFresh(headed),
        channel: 'plain',
        tenant,
      } as const;
      Object.assign(facts, await service.vouched.serve(MODEL_INFER, request, reply, lifetime));
      return undefined;
    }),
  };
}

/** Authenticates and takes a place before the message is read: that bounds the messages in memory. */
function withMessage(
  service: Service,
  answer: (
    bytes: Uint8Array,
    tenant: string | undefined,
    context: Context,
  ) => Promise<Uint8Array | undefined> | Uint8Array,
): Action {
  return async (context) => {
    const tenant = service.gate.tenantOf(context.headed);
    service.admission.enter(tenant);
    try {
      return await answer(await readMessage(context), tenant, context);
    } finally {
      service.admission.leave(tenant);
    }
  };
}

function findModel({ engine }: Service, { name, version }: ModelRequest): LoadedModel {
  requireNamedVersion(version);
  return requireModel(engine, name, 'name');
}
