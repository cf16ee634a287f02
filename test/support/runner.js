import asyncHooks from 'node:async_hooks';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { compileFunction, SyntheticModule } from 'node:vm';
import circus from 'jest-circus/runner';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');
const PACKAGES = `${sep}node_modules${sep}`;
/** Compiled into `dist`; of `src`, pages are not. */
const SOURCES = new Set(['attestation', 'enclave', 'src']);
/** Where jest-circus keeps who hears of tests, and the tests themselves. */
const CIRCUS = new Set(['EVENT_HANDLERS', 'JEST_STATE_SYMBOL']);

/** By path: modules that Node itself has loaded, as modules of jest. */
const loaded = new Map();

/**
 * Runs one test file with jest-circus. The sources, compiled, and packages are loaded by Node itself, once for a
 * process: files share their state. The file and what lies in `test` and `scripts` are loaded anew for each file.
 */
export default async function run(globalConfig, config, environment, runtime, ...rest) {
  loadInGlobalScope(runtime);
  loadOnce(runtime.esmLoader);
  const storages = [];
  const { requireInternalModule } = runtime;
  runtime.requireInternalModule = (from, to) =>
    to === undefined ? requireAnew(from, storages) : requireInternalModule.call(runtime, from, to);
  try {
    return await circus.default(globalConfig, config, environment, runtime, ...rest);
  } finally {
    for (const storage of storages) storage.disable();
  }
}

function loadInGlobalScope({ esmLoader, executor }) {
  esmLoader.getContext = () => undefined;
  executor.compile = (source, filename) =>
    compileFunction(source, executor.injectedModuleParameters, {
      filename,
      importModuleDynamically: (specifier, _function, attributes) =>
        executor.dynamicImport(specifier, filename, undefined, attributes),
    });
}

function loadOnce(loader) {
  const { loadEsmModule, loadCjsAsEsm } = loader;
  loader.loadEsmModule = (path, suffix = '') =>
    loadedOf(path, suffix) ?? loadEsmModule.call(loader, path, suffix);
  loader.loadCjsAsEsm = (from, path, suffix, context) =>
    loadedOf(path, suffix) ?? loadCjsAsEsm.call(loader, from, path, suffix, context);
}

/** Undefined for what is loaded anew for each file. */
function loadedOf(path, suffix) {
  const file = suffix === '' ? sharedFile(path) : undefined;
  if (file === undefined) return undefined;
  if (!loaded.has(file)) loaded.set(file, load(file));
  return loaded.get(file);
}

function sharedFile(path) {
  if (path.includes(PACKAGES)) return path;
  const within = relative(ROOT, path);
  const [room, next] = within.split(sep);
  if (!SOURCES.has(room) || (room === 'src' && next === 'page') || !within.endsWith('.ts')) return undefined;
  const compiled = join(ROOT, 'dist', within.replace(/\.ts$/, '.js'));
  if (!existsSync(compiled)) throw new Error(`${compiled} is missing: run \`npm run build\` first`);
  return compiled;
}

async function load(file) {
  const namespace = await import(pathToFileURL(file).href);
  const names = Object.keys(namespace);
  const module = new SyntheticModule(
    names,
    () => {
      for (const name of names) module.setExport(name, namespace[name]);
    },
    { identifier: file },
  );
  await module.link(() => undefined);
  await module.evaluate();
  return module;
}

/**
 * The state of jest-circus is that of one file. Its storage is put into `storages`: as long as one is enabled, Node does
 * work for each promise, and one of each file would add up.
 */
function requireAnew(path, storages) {
  for (const symbol of Object.getOwnPropertySymbols(globalThis)) {
    if (CIRCUS.has(symbol.description)) delete globalThis[symbol];
  }
  // Of this file only: one for all would keep what each of them has required.
  const require = createRequire(import.meta.url);
  delete require.cache[path];
  const { AsyncLocalStorage } = asyncHooks;
  asyncHooks.AsyncLocalStorage = class extends AsyncLocalStorage {
    constructor() {
      super();
      storages.push(this);
    }
  };
  try {
    return require(path);
  } finally {
    asyncHooks.AsyncLocalStorage = AsyncLocalStorage;
  }
}
