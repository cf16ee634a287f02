import type { Archive } from '../../archive/archive.ts';
import { CACHE, cacheable } from '../caching.ts';
import { type Answer, type Context, json } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';
import type { FoundLog } from '../servedLog.ts';

const NUMBER = '(?:0|[1-9][0-9]{0,14})';
const DOCUMENT = new RegExp(`^evidence/(${NUMBER})\\.cbor$`);
const ANCHOR = new RegExp(`^anchors/(${NUMBER})\\.cbor$`);
const ACT = /^acts\/([0-9a-f]{64})\.cbor$/;
const NAMED = new RegExp(
  `^(?:evidence/${NUMBER}\\.collateral|collateral/[0-9a-f]{64}\\.cbor|anchors/${NUMBER}\\.cbor)$`,
);

/** `.../evidence/<seq>.cbor`, and `.../evidence/<seq>.collateral`: which collateral was known when it was made. */
export async function evidenceFile(found: FoundLog, context: Context): Promise<Answer> {
  const [, seq] = DOCUMENT.exec(pathOf(context)) ?? [];
  if (seq === undefined) return attachedFile(found, context);
  return octets(context, await found.log.readEvidence(Number(seq)), CACHE.privately);
}

/** `.../collateral/<sha256>.cbor` and `.../anchors/<size>.cbor`; an anchor changes while outsiders still answer. */
export async function attachedFile({ log }: FoundLog, context: Context): Promise<Answer> {
  const path = pathOf(context);
  const body = NAMED.test(path) ? await log.readExtra(path) : undefined;
  if (!body) throw absent();
  return octets(context, body, ANCHOR.test(path) ? CACHE.privatelyShortly : CACHE.privately);
}

/** `.../anchors`: the sizes that outsiders saw, ascending. */
export async function anchorList({ log }: FoundLog, { request }: Context): Promise<Answer> {
  const sizes = (await log.extras()).flatMap((path) => {
    const [, size] = ANCHOR.exec(path) ?? [];
    return size === undefined ? [] : [Number(size)];
  });
  return cacheable(request, json({ sizes: sizes.sort((a, b) => a - b) }), CACHE.privatelyShortly);
}

/** `.../acts/<subject>.cbor`: what an act that this log holds is about, where the archive has it. */
export async function actFile(archive: Archive | undefined, context: Context): Promise<Answer> {
  const [, subject] = ACT.exec(pathOf(context)) ?? [];
  const { instance } = context.request.params;
  if (!archive || subject === undefined || typeof instance !== 'string') throw absent();
  const body = await archive.reading.actIds(instance, subject);
  if (!body) throw absent();
  return octets(context, body, CACHE.privately);
}

/** Below the instance, raw: an encoded path is another one than the log has. */
function pathOf({ request }: Context): string {
  return request.path.split('/').slice(4).join('/');
}

function octets({ request }: Context, body: Uint8Array, control: Parameters<typeof cacheable>[2]): Answer {
  return cacheable(request, { status: 200, contentType: 'application/octet-stream', body }, control);
}

function absent(): ServiceError {
  return new ServiceError('NOT_FOUND', 'the log has no such file');
}
