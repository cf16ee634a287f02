import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeTar } from '../image/inputs/tarWriter.ts';
import { Tree } from '../image/tree.ts';
import { sha256Of, contentOf } from './content.ts';
import { CONTAINER_RUN } from './container/run.ts';
import { confidentialContainer, type ConfidentialContainerOptions } from './initData/deployment.ts';
import type { InitDataPolicyPart } from './initData/expected.ts';
import { layoutTree, writeLayout, type Layer } from './oci/layout.ts';

/** Folder of the models, as the measured configuration names it. */
const MODELS_FOLDER = 'models';

export interface ContainerBuild extends Omit<ConfidentialContainerOptions, 'digest'> {
  /** An empty folder, or one that is made. */
  readonly folder: string;
  readonly version: string;
  /** The root of the VM image. */
  readonly root: Tree;
  /** Paths from the folder of the models. */
  readonly models?: Tree | undefined;
}

/** What was written, for the manifest of a release. Digests are lower-case hex. */
export interface ContainerFacts {
  /** Of the OCI manifest, `sha256:…`. */
  readonly digest: string;
  readonly diffIds: readonly string[];
  readonly initDataDigest: string;
  /** Parts of a policy, below `cpu`. */
  readonly policy: InitDataPolicyPart;
  readonly files: readonly { readonly path: string; readonly sha256: string }[];
}

const FILES = { archive: 'container.oci.tar', initData: 'init-data.toml', pod: 'pod.yaml' } as const;

/**
 * The container of the service: an OCI layout (`oci/`), the same as one file, the init-data for its guest and a pod that
 * has both. The same trees and options give the same bytes.
 */
export async function buildContainer(options: ContainerBuild): Promise<ContainerFacts> {
  const { folder, name, version } = options;
  const layout = join(folder, 'oci');
  await mkdir(folder, { recursive: true });
  const layers = await writeLayers(options);
  const image = { name, version, run: CONTAINER_RUN, layers };
  const { digest, diffIds } = await writeLayout(layout, image);
  for (const { tar } of layers) await rm(tar);
  await writeTar(await layoutTree(layout), join(folder, FILES.archive));
  const guest = confidentialContainer({ ...options, digest });
  await writeFile(join(folder, FILES.initData), guest.initData);
  await writeFile(join(folder, FILES.pod), guest.pod);
  const files = Object.values(FILES).map(async (path) => ({
    path,
    sha256: await sha256Of(await contentOf(join(folder, path))),
  }));
  return {
    digest,
    diffIds,
    initDataDigest: guest.digest,
    policy: guest.policy,
    files: await Promise.all(files),
  };
}

/** The models come last: an image with other models shares all else with this one. */
async function writeLayers({ folder, root, models }: ContainerBuild): Promise<readonly Layer[]> {
  const service = { tar: join(folder, 'service.tar'), title: 'the service' };
  await writeTar(root, service.tar);
  if (!models) return [service];
  const tree = new Tree();
  for (const [path, entry] of models.entries()) tree.add(`${MODELS_FOLDER}/${path}`, entry);
  const layer = { tar: join(folder, 'models.tar'), title: 'models' };
  await writeTar(tree, layer.tar);
  return [service, layer];
}
