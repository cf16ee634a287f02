import { z } from 'zod';
import type { Engine } from '../../engine/engine.ts';
import { readStore } from '../../models/store.ts';
import { readBody } from '../body.ts';
import { type Action, type Answer, type Context, endpoint, json, type Route } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';
import { parseObject } from '../inference.ts';
import type { Service } from '../service.ts';
import { refuseIssue } from '../tensorRequest.ts';
import { VERSION } from './oip.ts';

/** Largest body: names of parameters and their values. */
const MAX_BODY_BYTES = 0x1_0000;

const INDEX = z.strictObject({ ready: z.boolean().optional() });
const LOAD = z.strictObject({ parameters: z.strictObject({}).optional() });
const UNLOAD = z.strictObject({
  // No model depends on another here, so there is nothing else to unload.
  parameters: z.strictObject({ unload_dependents: z.boolean().optional() }).optional(),
});

/** One model of the store, as Triton's index has it. */
interface Entry {
  readonly name: string;
  readonly version?: string;
  readonly state: 'READY' | 'UNAVAILABLE' | 'LOADING' | 'UNLOADING';
  readonly reason: string;
}

/** Routes of Triton's model repository extension: the admin key alone changes what is served. */
export function repositoryRoutes(service: Service): readonly Route[] {
  const post = (path: string, route: string, act: (context: Context) => Promise<Answer>): Route => {
    const guarded: Action = async (context) => {
      service.gate.requireAdminKey(context.request);
      return act(context);
    };
    return { method: 'post', path, handler: endpoint(service, { route, dialect: 'oip' }, guarded) };
  };
  return [
    post('/v2/repository/index', 'repository index', (context) => index(service, context)),
    post('/v2/repository/models/:model/load', 'model load', (context) => load(service, context)),
    post('/v2/repository/models/:model/unload', 'model unload', (context) => unload(service, context)),
  ];
}

async function index({ engine, config }: Service, context: Context): Promise<Answer> {
  const { ready = false } = await readRequest(context, INDEX);
  const { models, refused } = await readStore(config.models.directory, config.models.signing);
  const names = new Set([...models.map(({ id }) => id), ...engine.models.keys(), ...engine.changing.keys()]);
  const broken = refused.map(({ model, code, message, advice }): Entry => ({
    name: model,
    state: 'UNAVAILABLE',
    reason: `${code}: ${message}. ${advice}`,
  }));
  const entries = [
    ...[...names].map((name) => entryOf(engine, name)),
    ...broken.filter(({ name }) => !names.has(name)),
  ];
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  return json(ready ? entries.filter(({ state }) => state === 'READY') : entries);
}

function entryOf(engine: Engine, name: string): Entry {
  const changing = engine.changing.get(name);
  const { state, refused } = engine.health();
  const refusal = refused.find(({ model }) => model === name);
  if (!engine.models.has(name)) {
    return { name, state: changing ?? 'UNAVAILABLE', reason: changing ? '' : 'not loaded' };
  }
  if (refusal)
    return { name, version: VERSION, state: 'UNAVAILABLE', reason: `${refusal.code}: ${refusal.message}` };
  if (state !== 'ready') {
    return { name, version: VERSION, state: 'UNAVAILABLE', reason: `the engine is ${state}` };
  }
  // While it is loaded anew the former is served.
  return { name, version: VERSION, state: 'READY', reason: changing === 'LOADING' ? 'is loaded anew' : '' };
}

async function load(service: Service, context: Context): Promise<Answer> {
  await readRequest(context, LOAD);
  const name = modelName(context);
  const { models, refused } = await readStore(service.config.models.directory, service.config.models.signing);
  const refusal = refused.find(({ model }) => model === name);
  if (refusal) throw refusal;
  const source = models.find(({ id }) => id === name);
  if (!source) throw new ServiceError('MODEL_NOT_FOUND', 'the path names no model of the store', 'the path');
  const { manifestDigest } = await service.engine.load(source);
  const digest = Buffer.from(manifestDigest).toString('hex');
  service.log.info('model loaded', { model: name, manifestDigest: digest });
  return json({ name, version: VERSION, manifest_digest: digest });
}

async function unload(service: Service, context: Context): Promise<Answer> {
  await readRequest(context, UNLOAD);
  const name = modelName(context);
  await service.engine.unload(name);
  service.log.info('model unloaded', { model: name });
  return json({ name });
}

function modelName({ request }: Context): string {
  const name = request.params['model'];
  return typeof name === 'string' ? name : '';
}

/** The body may be empty. */
async function readRequest<T>({ request }: Context, schema: z.ZodType<T>): Promise<T> {
  const bytes = await readBody(request, MAX_BODY_BYTES);
  const parsed = schema.safeParse(bytes.length === 0 ? {} : parseObject(bytes));
  if (parsed.success) return parsed.data;
  throw refuseIssue(parsed.error.issues[0]);
}
