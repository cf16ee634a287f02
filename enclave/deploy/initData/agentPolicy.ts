import { DeployError } from '../errors.ts';
import { AGENT_RULES } from './agentRules.ts';

/** What the agent of the guest is to start, and nothing else. */
export interface AllowedContainer {
  /** `registry/name@sha256:…`: the guest pulls it itself and compares the digest. */
  readonly image: string;
  /** Program and arguments. */
  readonly args: readonly string[];
  /** `NAME=value`: all of them have to be there, beside those that Kubernetes adds. */
  readonly environment: readonly string[];
  readonly workingFolder: string;
  readonly uid: number;
  readonly gid: number;
}

/** A registry by its host, a name, and the digest that decides. */
const IMAGE = /^[a-z0-9.-]+(?::\d{1,5})?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+@sha256:[0-9a-f]{64}$/;

/**
 * The policy of Kata's agent (`policy.rego`): one image by its digest with one command, the pause container of the
 * guest, no other process, no file but those of the name service, no input and no output of the container.
 */
export function agentPolicy(container: AllowedContainer): string {
  if (!IMAGE.test(container.image)) {
    throw new DeployError(
      'DEPLOY_OPTIONS_INVALID',
      `${container.image} is not an image of a registry with its digest, such as registry.example/name@sha256:…`,
    );
  }
  const { image, args, environment, workingFolder, uid, gid } = container;
  const data = { image, args, environment, working_folder: workingFolder, uid, gid };
  return `${AGENT_RULES}\npolicy_data := ${JSON.stringify(data, null, 2)}\n`;
}
