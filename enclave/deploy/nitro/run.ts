/** What `init` of the enclave starts, and with which variables. Both are in PCR2. Threads are for the bridge. */
export const ENCLAVE_RUN = {
  command: ['/usr/bin/node', '--disable-sigusr1', '/app/dist/enclave/deploy/nitro/main.js'],
  environment: ['PATH=/usr/bin', 'HOME=/data', 'NODE_ENV=production', 'UV_THREADPOOL_SIZE=256'],
} as const;
