import cluster from 'node:cluster';
import express, { type ErrorRequestHandler, type Express } from 'express';
import { Admission } from '../http/admission.ts';
import { Gate } from '../http/auth.ts';
import { INFERENCE_ROUTES } from '../http/inferenceRoutes.ts';
import { type Listening, listenWith } from '../http/listen.ts';
import { createServiceLog, stackFrames } from '../http/logging.ts';
import { isSealed, plainEndpoint, type PlainService } from '../http/routes/inference.ts';
import { Vouched } from '../http/vouched.ts';
import type { Begin, Counted, SignerState } from './calls.ts';
import { Channel } from './channel.ts';
import { forbidCoreDumps } from './coreDumps.ts';
import { Handing } from './handing.ts';
import { passTo } from './pass.ts';
import { portOfParent } from './port.ts';

/**
 * Entry of a process that serves HTTP beside others: it reads, checks and answers plain inference requests, and hands
 * models and receipts to the process that signs. It has no key: what is sealed, and every other path, goes on as it is.
 */
let handing: Handing | undefined;
let listening: Listening | undefined;
// The process that signs has warned where this fails.
forbidCoreDumps();

const channel = new Channel(portOfParent(), {
  calls: {
    begin: async (input) => begin(input as Begin),
    drain: async (timeoutMs) => listening?.drain(timeoutMs as number),
  },
  told: (_name, state) => {
    handing?.update(state as SignerState);
  },
});

async function begin({ config, socket, state }: Begin): Promise<void> {
  handing = new Handing(channel, state);
  const service = plainService(config, handing);
  listening = await listenWith(service, createApp(service, socket));
}

function plainService(config: Begin['config'], handing: Handing): PlainService {
  const { engine, vouching } = handing;
  const log = createServiceLog(config.log);
  const share = (count: number): number => Math.ceil(count / config.server.processes);
  const { concurrency, queue } = config.limits;
  const admission = new Admission(share(concurrency), share(queue), config.keys.apiKeys.length);
  const vouched = new Vouched({
    engine,
    vouching,
    archive: config.archive.enabled && config.archive.content ? handing.archive : undefined,
    admission,
    receipts: config.receipts.enabled,
    onUnexpected: (error) => {
      log.error('a request failed unexpectedly', { frames: stackFrames(error) });
    },
    // The process that issues counts.
    onIssued: () => undefined,
  });
  const countRequest = (route: string, status: number, seconds: number): void => {
    channel.tell('counted', { route, status, seconds } satisfies Counted);
  };
  return {
    config,
    gate: new Gate(config),
    admission,
    vouched,
    lifetimes: new Set(),
    metrics: { countRequest },
    log,
    logsRequests: log.isDebugEnabled(),
  };
}

function createApp(service: PlainService, socket: string): Express {
  const app = express();
  const pass = passTo(socket);
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use((request, response, next) => {
    if (isSealed(request)) pass(request, response);
    else next();
  });
  for (const { name, path, route } of INFERENCE_ROUTES) app.post(path, plainEndpoint(service, name, route));
  app.use((request, response) => {
    pass(request, response);
  });
  // A path that cannot be decoded: the signing process refuses it as it does for others.
  const passStray: ErrorRequestHandler = (error: unknown, request, response, next) => {
    if (response.headersSent) next(error);
    else pass(request, response);
  };
  app.use(passStray);
  return app;
}

// What comes before this file has loaded is heard by nobody.
channel.tell('ready', undefined);
if (!cluster.isWorker) throw new Error('this file is the entry of a process of the service');
// A terminal's interrupt reaches the whole group: the signing process decides when the others end.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit(0));
