import { toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { CONTAINER_PORT, CONTAINER_RUN } from '../container/run.ts';
import { CONTAINER_FOLDER, CONTAINER_USER } from '../oci/imageConfig.ts';
import { agentPolicy } from './agentPolicy.ts';
import { expectInitData, initDataPolicyPart, type InitDataPolicyPart } from './expected.ts';
import { attestationAgentConfig, dataHubConfig, type KeyBroker } from './guestConfiguration.ts';
import { encodeInitData, digestInitData, type InitDataAlgorithm } from './initData.ts';
import { podManifest } from './pod.ts';

export interface ConfidentialContainerOptions {
  /** Name that the values carry in policies. */
  readonly name: string;
  /** `registry/name`, without a tag. */
  readonly repository: string;
  /** Of the manifest, `sha256:…`. */
  readonly digest: string;
  readonly runtimeClass: string;
  readonly memory: string;
  readonly algorithm: InitDataAlgorithm;
  readonly broker?: KeyBroker | undefined;
}

export interface ConfidentialContainer {
  /** TOML: the digest is over these bytes. */
  readonly initData: Uint8Array;
  /** Lower-case hex. */
  readonly digest: string;
  readonly policy: InitDataPolicyPart;
  /** YAML. */
  readonly pod: string;
}

/** Everything that a guest of Confidential Containers is told for one image, and what its evidence will say of that. */
export function confidentialContainer(options: ConfidentialContainerOptions): ConfidentialContainer {
  const { name, repository, runtimeClass, memory, algorithm, broker } = options;
  const image = `${repository}@${options.digest}`;
  const policy = agentPolicy({
    image,
    args: CONTAINER_RUN.entrypoint,
    environment: CONTAINER_RUN.environment,
    workingFolder: CONTAINER_FOLDER,
    ...CONTAINER_USER,
  });
  const initData = encodeInitData({
    algorithm,
    data: {
      'aa.toml': attestationAgentConfig(broker),
      'cdh.toml': dataHubConfig(broker),
      'policy.rego': policy,
    },
  });
  const digest = digestInitData(algorithm, initData, nodeCrypto);
  const pod = { name: 'vouchsafe', image, runtimeClass, memory, port: CONTAINER_PORT };
  return {
    initData,
    digest: toHex(digest),
    policy: initDataPolicyPart(expectInitData(digest, nodeCrypto), name),
    pod: podManifest(pod, initData),
  };
}
