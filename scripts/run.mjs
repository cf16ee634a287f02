// node scripts/run.mjs FILE [ARGUMENT …]: makes the clone ready, then runs one TypeScript script in this process.
import { resolve } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { bootstrap, runMain } from './bootstrap.mjs';
import { SetupError } from './setupError.mjs';

await runMain(async () => {
  const [file, ...rest] = process.argv.slice(2);
  if (file === undefined) throw new SetupError('Usage: node scripts/run.mjs FILE [ARGUMENT …]');
  await bootstrap();
  // Benches and examples load onnxruntime themselves: it reports nothing to anyone from here either.
  process.env['ORT_DISABLE_TELEMETRY'] = '1';
  const { register } = await import('tsx/esm/api');
  register();
  const script = resolve(file);
  process.argv = [process.execPath, script, ...rest];
  await import(pathToFileURL(script).href);
});
