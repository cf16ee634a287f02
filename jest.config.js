/** @type {import('jest').Config} */
export default {
  testEnvironment: './test/support/environment.js',
  testRunner: './test/support/runner.js',
  injectGlobals: false,
  // Two noisy cores: real keys are made and real processes started.
  testTimeout: 30_000,
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2023' } }],
  },
};
