import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { EHBP_KEYS_PATH } from '../../attestation/channel/ehbp.ts';
import { withAciHeaders } from './aci.ts';
import { dialectOf, errorBody } from './dialect.ts';
import { type Action, endpoint, failureHead, json, type Route } from './endpoint.ts';
import { ServiceError } from './errors.ts';
import { INFERENCE_ROUTES } from './inferenceRoutes.ts';
import { OPENAPI } from './openapi.ts';
import { Outgoing } from './outgoing.ts';
import { type ReadRoute, readRoutes } from './readRoutes.ts';
import { PlainReply } from './reply.ts';
import { aciRoutes } from './routes/aci.ts';
import { keyset } from './routes/attestation.ts';
import { livez, readyz } from './routes/health.ts';
import { hpkeKeys } from './routes/hpkeKeys.ts';
import { inferenceEndpoint } from './routes/inference.ts';
import { metrics } from './routes/metrics.ts';
import { archiveRoutes } from './routes/archive.ts';
import { keyRoutes } from './routes/keys.ts';
import { consoleRoutes } from './routes/console.ts';
import { keyReleaseRoutes } from './routes/keyRelease.ts';
import { logRoutes } from './routes/log.ts';
import { live, modelMetadata, modelReady, ready, serverMetadata } from './routes/oip.ts';
import { obliviousRoutes } from './routes/oblivious.ts';
import { operatorRoutes } from './routes/operator.ts';
import { page } from './routes/pages.ts';
import { receiptInclusion, receiptStatement } from './routes/scittReceipts.ts';
import { repositoryRoutes } from './routes/repository.ts';
import { scittRoutes } from './routes/scitt.ts';
import type { Service } from './service.ts';

/** The HTTP API. Inference comes first: each route before it would cost every request. */
export function createApp(service: Service): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  const reads = readRoutes(service);
  const routes = [
    ...inferenceRoutes(service),
    ...otherRoutes(service, reads),
    ...repositoryRoutes(service),
    ...logRoutes(service),
    ...scittRoutes(service),
    ...operatorRoutes(service),
    ...keyRoutes(service),
    ...keyReleaseRoutes(service),
    ...archiveRoutes(service),
    ...aciRoutes(service),
    ...consoleRoutes(service),
    ...obliviousRoutes(service, reads),
  ];
  for (const { method, path, handler } of routes) {
    app[method](path, withAciHeaders(service.aci, path, handler));
  }
  for (const path of new Set(routes.map((route) => route.path))) {
    const methods = routes.filter((route) => route.path === path).map(({ method }) => method.toUpperCase());
    app.route(path).all(refuseMethod(methods));
  }
  app.use(((request) => {
    throw new ServiceError('NOT_FOUND', `nothing answers ${request.method} here`);
  }) satisfies RequestHandler);
  app.use(answerStray);
  return app;
}

function inferenceRoutes(service: Service): readonly Route[] {
  return INFERENCE_ROUTES.map(({ name, path, route }) => ({
    method: 'post',
    path,
    handler: inferenceEndpoint(service, name, route),
  }));
}

function otherRoutes(service: Service, reads: readonly ReadRoute[]): readonly Route[] {
  const get = (path: string, route: string, action: Action): Route => {
    const handler = endpoint(service, { route, dialect: dialectOf(path) }, action);
    return { method: 'get', path, handler };
  };
  const describe = modelMetadata(service);
  const isReady = modelReady(service);
  return [
    ...reads.map(({ path, name, action }) => get(path, name, action)),
    get('/v1/receipts/:id/statement', 'statement', receiptStatement(service)),
    get('/v1/receipts/:id/inclusion', 'inclusion', receiptInclusion(service)),
    get('/v1/keyset', 'keyset', keyset(service)),
    get(EHBP_KEYS_PATH, 'hpke keys', hpkeKeys(service)),
    get('/v2', 'server', serverMetadata(service)),
    get('/v2/health/live', 'live', live()),
    get('/v2/health/ready', 'ready', ready(service)),
    get('/v2/models/:model', 'model', describe),
    get('/v2/models/:model/versions/:version', 'model', describe),
    get('/v2/models/:model/ready', 'model ready', isReady),
    get('/v2/models/:model/versions/:version/ready', 'model ready', isReady),
    get('/livez', 'livez', livez()),
    get('/readyz', 'readyz', readyz(service)),
    get('/metrics', 'metrics', metrics(service)),
    get('/openapi.json', 'openapi', () => json(OPENAPI)),
    get('/verify', 'page', page('verify')),
    get('/console', 'page', page('console')),
  ];
}

function refuseMethod(methods: readonly string[]): RequestHandler {
  return (_request, response) => {
    response.setHeader('allow', methods.join(', '));
    throw new ServiceError('METHOD_NOT_ALLOWED', 'this path has other methods');
  };
}

/** Answers what no route took: unknown paths, other methods, paths that are no URI. */
const answerStray: ErrorRequestHandler = (error: unknown, request, response, next) => {
  if (response.headersSent) {
    next(error);
    return;
  }
  const failure =
    error instanceof ServiceError ? error : new ServiceError('PATH_INVALID', 'the path cannot be decoded');
  sendFailure(request, response, failure);
};

function sendFailure(request: IncomingMessage, response: ServerResponse, failure: ServiceError): void {
  response.setHeader('x-content-type-options', 'nosniff');
  const reply = new PlainReply(new Outgoing(response));
  const dialect = dialectOf(request.url ?? '');
  void reply.send(failureHead(failure, dialect), errorBody(dialect, failure));
}
