import type { LoadedModel } from '../../engine/engine.ts';
import { json, type ReadAction } from '../endpoint.ts';
import { requireModel } from '../inference.ts';
import type { Service } from '../service.ts';

/** `GET /v1/models` of OpenAI's API. */
export function listModels(service: Service): ReadAction {
  return ({ request }) => {
    service.gate.tenantOf(request);
    const data = [...service.engine.models.values()].map((model) => toModel(service, model));
    return json({ object: 'list', data });
  };
}

/** `GET /v1/models/{model}` of OpenAI's API. */
export function retrieveModel(service: Service): ReadAction {
  return ({ request }) => {
    service.gate.tenantOf(request);
    const model = requireModel(service.engine, request.params['model'], 'the path');
    return json({ ...toModel(service, model), manifest: Buffer.from(model.manifest).toString('base64url') });
  };
}

/** What OpenAI's API says of a model, and what receipts say of it. */
function toModel({ startedAt, software }: Service, model: LoadedModel): object {
  return {
    id: model.id,
    object: 'model',
    created: startedAt,
    owned_by: software.name,
    tasks: model.tasks,
    manifest_digest: Buffer.from(model.manifestDigest).toString('hex'),
  };
}
