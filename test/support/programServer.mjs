// Runs the compiled program again and again in one process: `main.js` is evaluated anew for each run, what it imports is
// not. A run is a message `{ args, environment }`, its answer `{ code, stdout, stderr }`; one at a time.
import { Buffer } from 'node:buffer';
import process from 'node:process';

const [program] = process.argv.slice(2);
let runs = 0;

/** Keeps what is written to a stream until it is asked for. */
function capture(stream) {
  const chunks = [];
  stream.write = (chunk, encoding, done) => {
    chunks.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    const callback = typeof encoding === 'function' ? encoding : done;
    if (callback) process.nextTick(callback);
    return true;
  };
  return () => Buffer.concat(chunks.splice(0)).toString('utf8');
}

const taken = { stdout: capture(process.stdout), stderr: capture(process.stderr) };

async function run({ args, environment }) {
  Object.assign(process.env, environment);
  process.argv.splice(1, process.argv.length, program, ...args);
  try {
    await import(`${program}?run=${runs++}`);
    const code = process.exitCode ?? 0;
    return { code, stdout: taken.stdout(), stderr: taken.stderr() };
  } finally {
    process.exitCode = undefined;
    for (const name of Object.keys(environment)) delete process.env[name];
    for (const event of ['SIGINT', 'SIGTERM']) process.removeAllListeners(event);
    process.stdout.removeAllListeners('error');
  }
}

process.on('message', async (message) => {
  process.send(await run(message));
});
