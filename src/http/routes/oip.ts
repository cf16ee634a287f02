import type { LoadedModel } from '../../engine/engine.ts';
import { type Action, json } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';
import { requireModel } from '../inference.ts';
import { isModelReady, readiness } from '../readiness.ts';
import type { Service } from '../service.ts';

/** Models have one version: their identity is the manifest. */
export const VERSION = '1';

export function requireVersion(version: unknown): void {
  if (version !== undefined && version !== VERSION) {
    throw new ServiceError('VERSION_NOT_FOUND', `models have the version ${VERSION} only`);
  }
}

/** Triton's names. */
const EXTENSIONS = [
  'binary_tensor_data',
  'generate',
  'model_repository',
  'model_repository(unload_dependents)',
];

/** `GET /v2` */
export function serverMetadata({ software, gate }: Service): Action {
  return ({ request }) => {
    gate.tenantOf(request);
    return json({ name: software.name, version: software.version, extensions: EXTENSIONS });
  };
}

/** `GET /v2/health/live` */
export function live(): Action {
  return () => json({ live: true });
}

/** `GET /v2/health/ready` */
export function ready(service: Service): Action {
  return () => {
    const { isReady } = readiness(service);
    return json({ ready: isReady, live: true }, isReady ? 200 : 503);
  };
}

/** `GET /v2/models/{model}` */
export function modelMetadata(service: Service): Action {
  return ({ request }) => {
    service.gate.tenantOf(request);
    const { id, inputs, outputs } = findModel(service, request.params);
    return json({ name: id, versions: [VERSION], platform: 'onnxruntime_onnx', inputs, outputs });
  };
}

/** `GET /v2/models/{model}/ready` */
export function modelReady(service: Service): Action {
  return ({ request }) => {
    service.gate.tenantOf(request);
    const { id } = findModel(service, request.params);
    const isReady = isModelReady(service.engine, id);
    return json({ name: id, ready: isReady }, isReady ? 200 : 503);
  };
}

function findModel({ engine }: Service, params: Readonly<Record<string, unknown>>): LoadedModel {
  requireVersion(params['version']);
  return requireModel(engine, params['model'], 'the path');
}
