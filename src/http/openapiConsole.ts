import { answer, failure, KEYED } from './openapiParts.ts';

const NUMBER = { type: 'integer', minimum: 0 };

function query(name: string, description: string): object {
  return { name, in: 'query', description, schema: NUMBER };
}

/** What the admin key alone reads. */
function admin(summary: string, ok: string, parameters: readonly object[] = []): object {
  const responses = {
    200: answer(ok),
    400: failure('A parameter is no number'),
    401: failure('The admin key is needed'),
    403: failure('A key of another role'),
  };
  return { summary, security: KEYED, parameters, responses };
}

/** What the console of operators asks. */
export const CONSOLE_PATHS = {
  '/v1/console/status': { get: admin('How the service stands', 'State, alarms, devices, models') },
  '/v1/console/series': {
    get: admin('Throughput, latency and queue of the last hour', 'Samples, and the number to ask with next', [
      query('from', 'Number of the first sample'),
    ]),
  },
  '/v1/console/receipts': {
    get: admin(
      'Entries of the log without content, the newest of the asked part',
      'Entries by rising index',
      [
        query('after', 'Entries after this index'),
        query('before', 'Entries before this index'),
        query('limit', 'At most so many, 1 to 100'),
      ],
    ),
  },
} as const;
