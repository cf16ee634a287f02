import type { ContainerRun } from '../oci/imageConfig.ts';

/** TCP, as the measured configuration has it. */
export const CONTAINER_PORT = 8080;

/**
 * What the image starts: a whole path, no shell, no argument that anybody could add. Without `--disable-sigusr1` a
 * signal would open the debugger.
 */
export const CONTAINER_RUN: ContainerRun = {
  entrypoint: ['/usr/bin/node', '--disable-sigusr1', '/app/dist/enclave/deploy/container/main.js'],
  environment: ['PATH=/usr/bin', 'HOME=/data', 'NODE_ENV=production'],
  ports: [CONTAINER_PORT],
};
