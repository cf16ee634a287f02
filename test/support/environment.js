import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { ModernFakeTimers } from '@jest/fake-timers';
import { ModuleMocker } from 'jest-mock';

// onnxruntime's environment is made once for a process: a second one aborts it. So it is made here, before any file.
process.env['ORT_DISABLE_TELEMETRY'] = '1';
const require = createRequire(import.meta.url);
const { binding, initOrt } = require(join(dirname(require.resolve('onnxruntime-node')), 'binding.js'));
initOrt();
binding.initOrtOnce = () => undefined;

/**
 * Tests run in the global scope of Node itself, as the service does. In a context of its own, as jest makes it for each
 * file, every use of a global goes through a proxy, and all code is compiled again: half of the time of the tests. What
 * jest and a file put in the place of globals is taken back after the file.
 */
export default class Environment {
  global = globalThis;
  moduleMocker = new ModuleMocker(globalThis);
  /** Those of older versions of jest: no test uses them. */
  fakeTimers = null;
  fakeTimersModern;
  #before = { console: globalThis.console, exit: process.exit, environment: { ...process.env } };

  constructor({ projectConfig }) {
    this.fakeTimersModern = new ModernFakeTimers({ config: projectConfig, global: globalThis });
  }

  async setup() {}

  async teardown() {
    const { console, exit, environment } = this.#before;
    this.fakeTimersModern.dispose();
    this.moduleMocker.restoreAllMocks();
    globalThis.console = console;
    process.exit = exit;
    for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name];
    Object.assign(process.env, environment);
  }

  exportConditions() {
    return ['node', 'node-addons'];
  }

  getVmContext() {
    return globalThis;
  }
}
