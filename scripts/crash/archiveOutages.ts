import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fill } from './fullDisk.ts';
import type { Mood, ObjectStoreServer } from './objectStoreServer.ts';
import type { PostgresServer } from './postgresServer.ts';

/** Something that the archive needs, and how it goes away and comes back. */
export interface ArchiveOutage {
  readonly name: string;
  /** Of the archive's state meanwhile. */
  readonly code: 'STORE_UNAVAILABLE' | 'BLOBS_UNAVAILABLE';
  /** It is away before the service starts. */
  readonly atStart: boolean;
  begin(): Promise<void>;
  end(): Promise<void>;
}

export function postgresOutages(server: PostgresServer): readonly ArchiveOutage[] {
  const common = { code: 'STORE_UNAVAILABLE', end: () => server.start() } as const;
  return [
    { ...common, name: 'PostgreSQL killed', atStart: false, begin: () => server.stop('immediate') },
    { ...common, name: 'PostgreSQL away at the start', atStart: true, begin: () => server.stop('fast') },
    { ...common, name: 'PostgreSQL stopped', atStart: false, begin: () => server.stop('fast') },
  ];
}

export function objectStoreOutages(server: ObjectStoreServer): readonly ArchiveOutage[] {
  const turn = (mood: Mood): Promise<void> => {
    server.mood = mood;
    return Promise.resolve();
  };
  const moods = ['refuses', 'hangs up', 'forgets', 'denies'] as const;
  return moods.map((mood) => ({
    name: `object store that ${mood}`,
    code: 'BLOBS_UNAVAILABLE',
    atStart: false,
    begin: () => turn(mood),
    end: () => turn('serves'),
  }));
}

/** The disk of the archive alone: that of the log has room. */
export function fullDiskOutage(folder: string): ArchiveOutage {
  const ballast = join(folder, 'ballast');
  return {
    name: 'full disk of blobs',
    code: 'BLOBS_UNAVAILABLE',
    atStart: false,
    begin: () => {
      fill(ballast);
      return Promise.resolve();
    },
    end: () => {
      rmSync(ballast, { force: true });
      return Promise.resolve();
    },
  };
}
