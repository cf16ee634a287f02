import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ConfigOverrides } from '../../src/config/load.ts';
import { checkArchive } from './archiveCheck.ts';
import { type Acknowledged, ArchivedService, type Readiness } from './archivedService.ts';
import { type ArchiveOutage, fullDiskOutage, objectStoreOutages, postgresOutages } from './archiveOutages.ts';
import { killMoments } from './crash.ts';
import { canMount, mountSmall, unmount } from './fullDisk.ts';
import { startObjectStoreServer } from './objectStoreServer.ts';
import { type PostgresServer, startPostgresServer } from './postgresServer.ts';
import { findAcknowledged } from './service.ts';

/** Bytes: above what the blobs of one run take. */
const DISK_SIZE = '512m';
const LONGEST_LIFE_MS = 1500;
/** Well above a pass of the archive and the repetitions of an object store. */
const NAMED_LIMIT_MS = 60_000;
const CAUGHT_UP_LIMIT_MS = 120_000;
/** Answers that show that the service goes on. */
const MORE = 20;

/** When the service is killed. */
const KILLS = ['meanwhile', 'caught up', 'catching up'] as const;

/** Runs one attempt and says whether it went well. */
export type Attempt = (name: string, crash: () => Promise<string>) => Promise<boolean>;

/** One archive through many lives of a service. */
interface World {
  readonly name: string;
  readonly data: string;
  readonly settings: ConfigOverrides;
  /** Undefined: nothing goes away but the service. */
  readonly outages: readonly (ArchiveOutage | undefined)[];
  readonly acknowledged: Acknowledged[];
  former: string | undefined;
}

interface Life {
  readonly outage: ArchiveOutage | undefined;
  readonly killed: (typeof KILLS)[number];
  readonly content: boolean;
  readonly ms: number;
}

/** Attempts of so many kills: each world of blobs is compared with its logs at the end. */
export function archiveAttempts(kills: number): number {
  return kills + Math.min(kills, 2);
}

/** Kills of a service with its archive in PostgreSQL, half with blobs on a disk, half with blobs in an object store. */
export async function crashArchives(
  folder: string,
  kills: number,
  seed: number,
  attempt: Attempt,
): Promise<number> {
  if (kills === 0) return 0;
  await mkdir(folder);
  const postgres = await startPostgresServer();
  try {
    const onDisk = await crashOnDisk(folder, postgres, { kills: Math.ceil(kills / 2), seed, attempt });
    const half = { kills: Math.floor(kills / 2), seed: seed + 1, attempt };
    return onDisk + (half.kills === 0 ? 0 : await crashInObjects(folder, postgres, half));
  } finally {
    await postgres.remove();
  }
}

interface Share {
  readonly kills: number;
  readonly seed: number;
  readonly attempt: Attempt;
}

async function crashOnDisk(folder: string, postgres: PostgresServer, share: Share): Promise<number> {
  const directory = join(folder, 'blobs');
  await mkdir(directory);
  const mounted = canMount();
  if (mounted) mountSmall(directory, DISK_SIZE);
  try {
    const outages = [
      ...postgresOutages(postgres),
      ...(mounted ? [fullDiskOutage(directory)] : []),
      undefined,
    ];
    const settings = { archive: await archiveSettings(postgres, { blobs: 'disk', directory }) };
    return await crashWorld(worldOf('blobs on disk', join(folder, 'on-disk'), settings, outages), share);
  } finally {
    if (mounted) unmount(directory);
  }
}

async function crashInObjects(folder: string, postgres: PostgresServer, share: Share): Promise<number> {
  const directory = join(folder, 'objects');
  await mkdir(directory);
  const objects = await startObjectStoreServer(directory, { conditional: true, forgetful: true });
  try {
    const { endpoint, region, bucket, prefix, accessKeyId, secretAccessKey, pathStyle } = objects.settings;
    const settings = {
      archive: await archiveSettings(postgres, { blobs: 'object-store' }),
      objectStore: { endpoint, region, bucket, prefix, accessKeyId, secretAccessKey, pathStyle },
    };
    const [killed, ...others] = postgresOutages(postgres);
    const outages = [killed, ...objectStoreOutages(objects), ...others, undefined];
    const data = join(folder, 'in-objects');
    return await crashWorld(worldOf('blobs in an object store', data, settings, outages), share);
  } finally {
    await objects.close();
  }
}

async function archiveSettings(
  postgres: PostgresServer,
  blobs: NonNullable<ConfigOverrides['archive']>,
): Promise<NonNullable<ConfigOverrides['archive']>> {
  const contentKey = randomBytes(32).toString('hex');
  return { ...blobs, enabled: true, postgresql: await postgres.database(), contentKey };
}

function worldOf(name: string, data: string, settings: ConfigOverrides, outages: World['outages']): World {
  const kept = { ...settings, data: { directory: data } };
  return { name, data, settings: kept, outages, acknowledged: [], former: undefined };
}

async function crashWorld(world: World, { kills, seed, attempt }: Share): Promise<number> {
  let good = 0;
  for (const [i, { acknowledged: ms }] of killMoments(seed, kills, LONGEST_LIFE_MS).entries()) {
    const outage = world.outages[i % world.outages.length];
    const killed = KILLS[i % KILLS.length] ?? 'meanwhile';
    const content = (i >> 1) % 2 === 1;
    const name = `archive, ${world.name} ${i + 1} of ${kills}`;
    if (await attempt(name, () => crashArchive(world, { outage, killed, content, ms }))) good++;
  }
  if (await attempt(`archive, ${world.name}, caught up`, () => catchUp(world))) good++;
  return good;
}

/** One life: load, an outage, a named state meanwhile, a kill; then a look at the log. */
async function crashArchive(world: World, life: Life): Promise<string> {
  const { outage, killed, content } = life;
  const { acknowledged, unexpected, refusals } = await liveUntilKilled(world, life);
  // Refusals are the archive's own, and only where content is kept.
  const others = [...unexpected, ...(content ? [] : refusals)];
  if (others.length > 0) throw new Error(`${others.length} answers were refused, first ${others[0] ?? ''}`);
  const ids = acknowledged.map(({ id }) => id);
  const { predecessor, origin, size } = await findAcknowledged(world.data, ids);
  const { former } = world;
  world.former = origin;
  if (predecessor !== former) throw new Error('the open record names another predecessor');
  const how = outage ? `${outage.name}, killed ${killed}` : 'nothing but killed';
  const named = refusals.size > 0 ? `, refused with ${[...refusals].join(' and ')}` : '';
  return `${ids.length} acknowledged, ${size} entries found; ${content ? 'content kept, ' : ''}${how}${named}`;
}

async function liveUntilKilled({ settings, acknowledged }: World, life: Life): Promise<ArchivedService> {
  const { outage, content } = life;
  if (outage?.atStart) await outage.begin();
  try {
    const service = await ArchivedService.start(withContent(settings, content));
    try {
      await live(service, life);
    } finally {
      await service.kill('SIGKILL');
      acknowledged.push(...service.acknowledged);
    }
    return service;
  } finally {
    await outage?.end();
  }
}

async function live(service: ArchivedService, { outage, killed, content, ms }: Life): Promise<void> {
  service.load();
  if (!outage?.atStart) await service.answers(1, NAMED_LIMIT_MS);
  await delay(ms);
  if (!outage) return;
  if (!outage.atStart) await outage.begin();
  const { code } = outage;
  await service.until(
    `name ${outage.name}`,
    ({ archive, obstacles }) =>
      archive.state === 'unavailable' &&
      archive.code === code &&
      // Where content is to be kept nothing is answered meanwhile; else the archive is in nobody's way.
      obstacles.some(({ component }) => component === 'archive') === content,
    NAMED_LIMIT_MS,
  );
  if (!content) await service.answers(MORE, NAMED_LIMIT_MS);
  if (killed === 'meanwhile') return;
  await outage.end();
  if (killed === 'caught up') {
    const isReady = ({ status, archive }: Readiness): boolean =>
      status === 'ready' && archive.state === 'ready';
    await service.until('catch up', isReady, CAUGHT_UP_LIMIT_MS);
    await service.answers(MORE, NAMED_LIMIT_MS);
  }
  await delay(ms % 200);
}

function withContent(settings: ConfigOverrides, content: boolean): ConfigOverrides {
  return { ...settings, archive: { ...settings.archive, content } };
}

/** A last life without load, which ends in peace: then archive and logs must agree in everything. */
async function catchUp({ settings, data, acknowledged }: World): Promise<string> {
  const service = await ArchivedService.start(settings);
  await service.until(
    'catch up',
    ({ archive: { state, former } }) => state === 'ready' && former === 0,
    CAUGHT_UP_LIMIT_MS,
  );
  await service.kill('SIGTERM');
  const { instances, entries, contents } = await checkArchive(settings, data, acknowledged);
  const answers = `${acknowledged.length} acknowledged receipts, ${contents} with content`;
  return `${answers}, once each among ${entries} entries of ${instances} instances in one line`;
}
