// npm start: makes the clone ready, then serves in this process, so signals reach the server directly.
// Arguments go to `vouchsafe serve`, as in `npm start -- --port 9000`.
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { bootstrap, ROOT, runMain } from './bootstrap.mjs';

await runMain(async () => {
  await bootstrap();
  const program = join(ROOT, 'dist', 'src', 'cli', 'main.js');
  process.argv = [process.execPath, program, 'serve', ...process.argv.slice(2)];
  await import(pathToFileURL(program).href);
});
