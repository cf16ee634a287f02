// A process in which a call hangs as in a driver: opening a FIFO that nobody writes to keeps a thread of libuv's pool.
import { open } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';

const [main, fifo] = process.argv.slice(2);
const { stopOnSignal } = await import(main);
const stop = () => setImmediate();
const stopped = stopOnSignal({ stop: process.env['HANGS'] ? () => new Promise(() => undefined) : stop });
if (fifo) void open(fifo, 'r');
process.send('started');
process.once('SIGTERM', () => process.send('asked'));
process.once('message', () => process.disconnect());
await stopped;
