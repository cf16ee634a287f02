import { afterAll } from '@jest/globals';
import { type PostgresServer, startPostgresServer } from '../../scripts/crash/postgresServer.ts';

export { hasPostgres } from '../../scripts/crash/postgresServer.ts';

/** A real PostgreSQL in a folder of its own, on a free port of loopback. */
export type TestPostgres = Omit<PostgresServer, 'remove'>;

const running: PostgresServer[] = [];
afterAll(async () => {
  for (const server of running.splice(0)) await server.remove();
});

/** Makes a cluster and starts it. Stopped and removed after the tests of the file. */
export async function startPostgres(): Promise<TestPostgres> {
  const server = await startPostgresServer();
  running.push(server);
  return server;
}
