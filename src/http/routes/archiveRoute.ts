import type { Archive } from '../../archive/archive.ts';
import { ArchiveError } from '../../archive/errors.ts';
import type { Asker } from '../auth.ts';
import { CACHE } from '../caching.ts';
import { type Action, type Answer, type Context, endpoint, type Route } from '../endpoint.ts';
import type { Service } from '../service.ts';

/** What a route of the archive is given: who asks, and the archive, which is on. */
export interface Asked {
  readonly context: Context;
  readonly asker: Asker;
  readonly archive: Archive;
}

/** Who may ask: tenants see their own, auditors see all, admins change it. */
export type Admits = (service: Service, context: Context) => Asker;

/** Makes routes for those that `admits` lets in; the archive must be on. */
export function makeRoute(service: Service, admits: Admits) {
  return (method: Route['method'], path: string, act: (asked: Asked) => Promise<Answer> | Answer): Route => {
    const action: Action = (context) => {
      // What is erased here must not be left in a cache.
      context.response.setHeader('cache-control', CACHE.never);
      const asker = admits(service, context);
      const { archive } = service;
      if (!archive) throw new ArchiveError('OFF', 'this service keeps no archive');
      return act({ context, asker, archive });
    };
    return { method, path, handler: endpoint(service, { route: 'archive', dialect: 'ours' }, action) };
  };
}
