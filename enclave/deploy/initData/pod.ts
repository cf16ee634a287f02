import { toBase64 } from '../../../attestation/bytes/bytes.ts';
import { DeployError } from '../errors.ts';
import { storedGzip } from './gzip.ts';

/** A pod that runs the service in a guest of Confidential Containers. */
export interface PodOptions {
  readonly name: string;
  /** `registry/name@sha256:…`, the same as in the policy. */
  readonly image: string;
  /** Such as `kata-qemu-snp` or `kata-qemu-tdx`. */
  readonly runtimeClass: string;
  readonly port: number;
  /** Such as `4Gi`. The image is unpacked into memory of the guest as well. */
  readonly memory: string;
}

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * The manifest, YAML. None of it is trusted: where it says something else than the policy in the init-data, the agent
 * refuses to start the container.
 */
export function podManifest(
  { name, image, runtimeClass, port, memory }: PodOptions,
  initData: Uint8Array,
): string {
  if (!LABEL.test(name) || !LABEL.test(runtimeClass) || !/^\d+[KMGT]i$/.test(memory)) {
    throw new DeployError(
      'DEPLOY_OPTIONS_INVALID',
      'name, runtime class or memory of the pod cannot be used',
    );
  }
  return `apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  annotations:
    io.katacontainers.config.hypervisor.cc_init_data: ${toBase64(storedGzip(initData))}
spec:
  runtimeClassName: ${runtimeClass}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 90
  containers:
    - name: ${name}
      image: ${image}
      ports:
        - containerPort: ${port}
      resources:
        limits:
          memory: ${memory}
      securityContext:
        readOnlyRootFilesystem: true
        runAsUser: 0
        runAsGroup: 0
        capabilities:
          add: [SYS_ADMIN]
`;
}
