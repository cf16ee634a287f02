import { Refusal } from '../../../attestation/errors.ts';
import { parseTilePath, TILE_WIDTH, type Tile } from '../../../attestation/log/tiles.ts';
import type { Gate } from '../auth.ts';
import { CACHE, cacheable } from '../caching.ts';
import type { Answer, Context } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';
import type { FoundLog } from '../servedLog.ts';

/**
 * `.../tile/<L>/<N>[.p/<W>]` and `.../tile/entries/<N>[.p/<W>]` of C2SP tlog-tiles. What a path names never changes.
 * Nothing beyond the published checkpoint is served, but to auditors the tail of a log that ended.
 */
export async function serveTile(
  gate: Gate,
  { log, entries }: FoundLog,
  { request }: Context,
): Promise<Answer> {
  const path = tilePathOf(request.path);
  const tile = parsePath(path);
  const isBundle = tile.level === 'entries';
  // Before the range: who may not read entries learns nothing of how many there are.
  if (isBundle) gate.requireAuditor(request);
  const reach = isBundle ? entries : log.publishedSize;
  const body = endOf(tile) <= reach ? await log.tile(path) : undefined;
  if (!body) throw new ServiceError('LOG_RANGE', 'the published log does not reach that far');
  const answer = { status: 200, contentType: 'application/octet-stream', body };
  return cacheable(request, answer, isBundle ? CACHE.privately : CACHE.immutable);
}

/** The raw path from `tile/` on: an encoded one is another path than C2SP has. */
function tilePathOf(path: string): string {
  return path.slice(path.indexOf('/tile/') + 1);
}

function parsePath(path: string): Tile {
  try {
    return parseTilePath(path);
  } catch (error) {
    if (error instanceof Refusal) throw new ServiceError('NOT_FOUND', 'the path is of no tile');
    throw error;
  }
}

/** Entries that a log has at least where it has the tile. */
function endOf({ level, index, width }: Tile): number {
  return (index * TILE_WIDTH + width) * (level === 'entries' ? 1 : TILE_WIDTH ** level);
}
