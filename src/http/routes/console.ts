import { CACHE } from '../caching.ts';
import { type Action, type Answer, type Context, endpoint, json, type Route } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';
import { MOST_ENTRIES, readFeed } from '../monitoring/feed.ts';
import { SAMPLE_SECONDS } from '../monitoring/monitor.ts';
import { consoleStatus } from '../monitoring/status.ts';
import type { Service } from '../service.ts';

/** A count below 2^53. */
const COUNT = /^(?:0|[1-9]\d{0,14})$/;

/**
 * What the console of operators shows, for the admin key alone: how the service stands, the samples of the last hour,
 * and the log as a feed without content. Nothing is changed, so no act is logged.
 */
export function consoleRoutes(service: Service): readonly Route[] {
  const get = (path: string, act: (context: Context) => Promise<Answer> | Answer): Route => {
    const guarded: Action = async (context) => {
      context.response.setHeader('cache-control', CACHE.never);
      service.gate.requireAdminRole(context.request);
      return act(context);
    };
    return {
      method: 'get',
      path,
      handler: endpoint(service, { route: 'console', dialect: 'ours' }, guarded),
    };
  };
  return [
    get('/v1/console/status', () => json(consoleStatus(service))),
    get('/v1/console/series', (context) => json(series(service, context))),
    get('/v1/console/receipts', async (context) => json(await feed(service, context))),
  ];
}

/** `GET /v1/console/series?from=`: samples from a number on, and the number to ask with next. */
function series({ monitor }: Service, context: Context): object {
  const { first, samples } = monitor.page(count(context, 'from') ?? 0);
  return {
    format: 'vouchsafe/console-series/1',
    sample_seconds: SAMPLE_SECONDS,
    first,
    next: first + samples.length,
    samples: samples.map((sample) => ({
      time: sample.at / 1000,
      requests: sample.requests,
      failures: sample.failures,
      p50_ms: sample.p50,
      p99_ms: sample.p99,
      receipts: sample.receipts,
      prompt_tokens: sample.promptTokens,
      completion_tokens: sample.completionTokens,
      inside: sample.inside,
      waiting: sample.waiting,
      pending: sample.pending,
      uncovered: sample.uncovered,
    })),
  };
}

/** `GET /v1/console/receipts?after=&before=&limit=`: the newest entries after an index, or before one. */
async function feed({ vouching }: Service, context: Context): Promise<object> {
  const [after, before] = [count(context, 'after'), count(context, 'before')];
  const limit = count(context, 'limit') ?? MOST_ENTRIES;
  if (limit < 1 || limit > MOST_ENTRIES) {
    throw new ServiceError('INVALID_INPUT', `limit is 1 to ${MOST_ENTRIES}`, 'limit');
  }
  const page = await readFeed(vouching.log, { after, before, limit });
  return { format: 'vouchsafe/console-receipts/1', ...page };
}

/** A parameter of the query that counts something; undefined where it is not there. */
function count({ request }: Context, name: string): number | undefined {
  const value = request.query[name];
  if (value === undefined) return undefined;
  if (typeof value === 'string' && COUNT.test(value)) return Number(value);
  throw new ServiceError('INVALID_INPUT', `${name} is a whole number`, name);
}
