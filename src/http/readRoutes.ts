import type { ReadAction } from './endpoint.ts';
import { attestation } from './routes/attestation.ts';
import { listModels, retrieveModel } from './routes/models.ts';
import { bundle, receipt } from './routes/receipts.ts';
import type { Service } from './service.ts';

/** A GET that callers who hide who they are may send, too. */
export interface ReadRoute {
  /** In logs and metrics. */
  readonly name: string;
  /** As express writes it. */
  readonly path: string;
  readonly action: ReadAction;
}

/** Everything that a client needs besides inference: evidence, models, and the receipts of its own requests. */
export function readRoutes(service: Service): readonly ReadRoute[] {
  return [
    { name: 'attestation', path: '/v1/attestation', action: attestation(service) },
    { name: 'receipt', path: '/v1/receipts/:id', action: receipt(service) },
    { name: 'bundle', path: '/v1/receipts/:id/bundle', action: bundle(service) },
    { name: 'models', path: '/v1/models', action: listModels(service) },
    { name: 'model', path: '/v1/models/:model', action: retrieveModel(service) },
  ];
}
