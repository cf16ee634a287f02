import { DeployError } from '../errors.ts';

/** How the container runs. All of it is in the digest of the image, and again in the policy of the guest. */
export interface ContainerRun {
  /** Program and arguments, without a shell. */
  readonly entrypoint: readonly string[];
  /** `NAME=value`. */
  readonly environment: readonly string[];
  /** TCP ports that the service listens on. */
  readonly ports: readonly number[];
}

/** Numbers: names would have to be looked up in the image. Evidence of the hardware is root's. */
export const CONTAINER_USER = { uid: 0, gid: 0 } as const;
export const CONTAINER_FOLDER = '/';
/** The epoch: an image says nothing of when it was built. */
const CREATED = '1970-01-01T00:00:00Z';

/** One layer by the digest of its tar archive, which is not compressed. */
export interface LayerFact {
  /** `sha256:` and lower-case hex. */
  readonly diffId: string;
  /** What is in it, for people. */
  readonly title: string;
}

/** The image configuration (OCI Image Format 1.1, `config.md`). Members come in one order, so that its digest is one. */
export function imageConfig(run: ContainerRun, layers: readonly LayerFact[]): object {
  requireRun(run);
  const ports = run.ports.map((port) => [`${port}/tcp`, {}] as const);
  return {
    created: CREATED,
    architecture: 'amd64',
    os: 'linux',
    config: {
      User: `${CONTAINER_USER.uid}:${CONTAINER_USER.gid}`,
      ExposedPorts: Object.fromEntries(ports),
      Env: run.environment,
      Entrypoint: run.entrypoint,
      WorkingDir: CONTAINER_FOLDER,
      StopSignal: 'SIGTERM',
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(({ title }) => ({ created: CREATED, created_by: 'vouchsafe image', comment: title })),
  };
}

function requireRun({ entrypoint, environment, ports }: ContainerRun): void {
  const [program] = entrypoint;
  if (program === undefined || !program.startsWith('/')) {
    throw new DeployError(
      'DEPLOY_OPTIONS_INVALID',
      'the entry point has to name a program by its whole path',
    );
  }
  if (environment.some((variable) => !/^[A-Za-z_]\w*=[^\0\n]*$/.test(variable))) {
    throw new DeployError('DEPLOY_OPTIONS_INVALID', 'a variable is not of the form NAME=value');
  }
  if ([...entrypoint].some((argument) => /[\0\n]/.test(argument))) {
    throw new DeployError('DEPLOY_OPTIONS_INVALID', 'an argument has a line end');
  }
  if (ports.some((port) => !Number.isInteger(port) || port < 1 || port > 65_535)) {
    throw new DeployError('DEPLOY_OPTIONS_INVALID', 'a port is 1 to 65535');
  }
}
