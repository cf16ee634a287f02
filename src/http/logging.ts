import { createLogger, format, type Logger, transports } from 'winston';
import type { Config } from '../config/schema.ts';

/**
 * The log of operations, on standard error. It never holds prompts, outputs, commitment keys or API keys: only codes,
 * routes, times and names of models.
 */
export function createServiceLog({ level, format: form }: Config['log']): Logger {
  const pretty = format.printf(({ timestamp, level: severity, message, ...fields }) => {
    const rest = Object.keys(fields).length > 0 ? ` ${JSON.stringify(fields)}` : '';
    return `${String(timestamp)} ${severity} ${String(message)}${rest}`;
  });
  return createLogger({
    level,
    format: format.combine(format.timestamp(), form === 'json' ? format.json() : pretty),
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston's own declarations
    transports: [new transports.Console({ stderrLevels: ['error', 'warn', 'info', 'debug'] })],
  });
}

/** Where an unforeseen failure arose. Its message is left out: it may quote a request. */
export function stackFrames(error: unknown): readonly string[] {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  return stack
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .map((line) => line.slice('    at '.length))
    .slice(0, 12);
}
