// npm run build: everything that a run from a clone needs.
import { bootstrap, runMain } from './bootstrap.mjs';

await runMain(bootstrap);
