import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { TestEnvironment } from 'jest-environment-node';

// onnxruntime's environment is made once for a process: a second one aborts it, and each test file has its own module
// registry. So it is made here, before any file, and every file runs in this environment.
const require = createRequire(import.meta.url);
const { binding, initOrt } = require(join(dirname(require.resolve('onnxruntime-node')), 'binding.js'));
initOrt();
binding.initOrtOnce = () => undefined;

/**
 * Jest's environment with Node's own typed arrays: onnxruntime-node makes its outputs of those, and its JavaScript half
 * compares constructors.
 */
export default class Environment extends TestEnvironment {
  constructor(config, context) {
    super(config, context);
    Object.assign(this.global, {
      Float32Array,
      Float64Array,
      Int8Array,
      Uint16Array,
      Int16Array,
      Uint32Array,
      Int32Array,
      BigUint64Array,
      BigInt64Array,
    });
  }
}
