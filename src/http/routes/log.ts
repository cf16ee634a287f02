import { createHash } from 'node:crypto';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { CACHE, cacheable } from '../caching.ts';
import { type Action, type Answer, type Context, endpoint, json, type Route } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';
import { type FoundLog, logVkey } from '../servedLog.ts';
import type { Service } from '../service.ts';
import { actFile, anchorList, attachedFile, evidenceFile } from './logFiles.ts';
import { consistencyProof, consistencyReceipt, inclusionProof, inclusionReceipt } from './logProofs.ts';
import { serveTile } from './logTiles.ts';

/** The log that a request is about, by its path. */
type Find = (context: Context) => Promise<FoundLog>;
type LogAction = (found: FoundLog, context: Context) => Promise<Answer> | Answer;
type Get = (path: string, route: string, action: Action) => Route;

/**
 * The log as C2SP tlog-tiles: of the running instance below `/log`, of each instance below `/log/instances/<hex>`.
 * Checkpoints, hashes and consistency are public; entries are for auditors, as some are receipts of tenants.
 */
export function logRoutes(service: Service): readonly Route[] {
  const get: Get = (path, route, action) => ({
    method: 'get',
    path,
    handler: endpoint(service, { route, dialect: 'ours' }, uncached(action)),
  });
  const find = findInstance(service);
  const vkey = logVkey(service.keyset);
  return [
    get('/log', 'log', describeOwn(service, vkey)),
    get('/log/vkey', 'log key', ({ request }) => cacheable(request, text(utf8(`${vkey}\n`)), CACHE.shortly)),
    get('/log/receipt/inclusion', 'log receipt', inclusionReceipt(service)),
    get('/log/receipt/consistency', 'log receipt', consistencyReceipt(service)),
    get('/log/instances', 'log instances', listInstances(service)),
    get('/log/instances/:instance', 'log instance', withLog(find, describe)),
    ...treeRoutes(service, '/log', () => Promise.resolve(ownLog(service)), get),
    ...treeRoutes(service, '/log/instances/:instance', find, get),
    ...fileRoutes(service, find, get),
  ];
}

/** What lies beside the entries of an instance, by the names of its folder: for auditors, who have the entries. */
function fileRoutes({ gate, archive }: Service, find: Find, get: Get): readonly Route[] {
  const forAuditors: Find = (context) => {
    gate.requireAuditor(context.request);
    return find(context);
  };
  const route = (path: string, action: LogAction): Route =>
    get(`/log/instances/:instance/${path}`, 'log files', withLog(forAuditors, action));
  return [
    route('evidence/:file', evidenceFile),
    route('collateral/:file', attachedFile),
    route('anchors', anchorList),
    route('anchors/:file', attachedFile),
    route('acts/:file', (_, context) => actFile(archive, context)),
  ];
}

function treeRoutes({ gate }: Service, prefix: string, find: Find, get: Get): readonly Route[] {
  const forAuditors: Find = (context) => {
    gate.requireAuditor(context.request);
    return find(context);
  };
  return [
    get(`${prefix}/checkpoint`, 'checkpoint', withLog(find, checkpoint)),
    get(
      `${prefix}/tile/*tile`,
      'tile',
      withLog(find, (found, context) => serveTile(gate, found, context)),
    ),
    get(`${prefix}/proof/inclusion`, 'inclusion proof', withLog(forAuditors, inclusionProof)),
    get(`${prefix}/proof/consistency`, 'consistency proof', withLog(find, consistencyProof)),
  ];
}

/** Refusals are not kept: the log may have grown by the next request. */
function uncached(action: Action): Action {
  return (context) => {
    context.response.setHeader('cache-control', CACHE.never);
    return action(context);
  };
}

function withLog(find: Find, action: LogAction): Action {
  return async (context) => action(await find(context), context);
}

function ownLog({ logs: { own } }: Service): FoundLog {
  return { log: own, entries: own.publishedSize };
}

/** The running instance is found by its name, too, so that addresses outlive it. */
function findInstance(service: Service): Find {
  const own = toHex(service.keyset.instance);
  return async ({ request }) => {
    const { instance } = request.params;
    if (instance === own) return ownLog(service);
    const log = typeof instance === 'string' ? await service.logs.former.open(instance) : undefined;
    if (!log) throw new ServiceError('LOG_NOT_FOUND', 'no log of such an instance is here');
    return { log, entries: log.size };
  };
}

/** `.../checkpoint`: the newest signed note. */
function checkpoint({ log }: FoundLog, { request }: Context): Answer {
  const { checkpoint: note } = log;
  if (!note) throw new ServiceError('LOG_RANGE', 'no checkpoint has been published');
  return cacheable(request, text(note), CACHE.shortly);
}

/** `GET /log`. Nothing here is authenticated: the key of the log is in the keyset of verified evidence. */
function describeOwn({ keyset, logs }: Service, vkey: string): Action {
  const fixed = {
    format: 'vouchsafe/log/1',
    instance: toHex(keyset.instance),
    origin: keyset.origin,
    vkey,
    // The key id of C2SP signed-note, not cut to four bytes.
    log_id: createHash('sha256').update(`${keyset.origin}\n\u0001`).update(keyset.log.x).digest('hex'),
  };
  return ({ request }) => cacheable(request, json({ ...fixed, size: logs.own.publishedSize }), CACHE.shortly);
}

/** `GET /log/instances/<hex>`. */
function describe({ log, entries }: FoundLog, { request }: Context): Answer {
  const { origin, publishedSize } = log;
  return cacheable(request, json({ origin, size: publishedSize, entries }), CACHE.shortly);
}

/** `GET /log/instances`: oldest first, the running one last. */
function listInstances({ keyset, logs }: Service): Action {
  const own = { instance: toHex(keyset.instance), state: 'running' };
  return ({ request }) => {
    const former = logs.former.logs.map(({ instance, state, size }) => ({ instance, state, entries: size }));
    const instances = [...former, { ...own, entries: logs.own.publishedSize }];
    return cacheable(request, json({ instances }), CACHE.shortly);
  };
}

function text(body: Uint8Array): Answer {
  return { status: 200, contentType: 'text/plain; charset=utf-8', body };
}
