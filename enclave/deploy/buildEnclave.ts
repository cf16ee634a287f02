import { join } from 'node:path';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { buildCpio } from '../image/boot/cpio.ts';
import { Tree, type FileContent } from '../image/tree.ts';
import { nitroPolicyPart, type NitroMeasurement } from '../predict/nitro/pcrs.ts';
import { sha256Of } from './content.ts';
import { ENCLAVE_RUN } from './nitro/run.ts';
import { applicationRamdisk, bootRamdisk, type EnclaveBoot } from './nitro/ramdisks.ts';
import type { EnclaveSigner } from './nitro/signature.ts';
import { writeEif } from './nitro/writeEif.ts';

const MODELS_FOLDER = 'models';

export interface EnclaveBuild extends EnclaveBoot {
  /** A folder that is there. */
  readonly folder: string;
  /** Name that the values carry in policies. */
  readonly name: string;
  readonly version: string;
  /** Kernel of enclaves and its command line, as `nitro-cli` installs them (`blobs/x86_64`). */
  readonly kernel: FileContent;
  readonly cmdline: string;
  readonly kernelVersion: string;
  /** The root of the VM image. */
  readonly root: Tree;
  readonly models?: Tree | undefined;
  readonly signer?: EnclaveSigner | undefined;
}

/** What was written, for the manifest of a release. Digests are lower-case hex. */
export interface EnclaveFacts {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** By register. */
  readonly pcrs: Readonly<Record<string, string>>;
  /** The part of a policy below `cpu`. */
  readonly policy: { readonly nitro: { readonly measurements: readonly NitroMeasurement[] } };
  /** SHA-256 of the parts that are AWS's, which no pin of this project names. */
  readonly parts: Readonly<Record<'kernel' | 'cmdline' | 'init' | 'nsm', string | undefined>>;
}

const FILE = 'enclave.eif';

/** An enclave image of the same root as the VM image and the container. The same inputs give the same registers. */
export async function buildEnclave(build: EnclaveBuild): Promise<EnclaveFacts> {
  const { folder, name, version, kernel, kernelVersion, init, nsm, root, signer } = build;
  const cmdline = build.cmdline.trim();
  const ramdisks = [await buildCpio(bootRamdisk({ init, nsm })), await buildCpio(applicationOf(root))];
  if (build.models) ramdisks.push(await buildCpio(modelsOf(build.models)));
  const path = join(folder, FILE);
  const metadata = { name, version, kernelVersion };
  const written = await writeEif(path, {
    architecture: 'x86_64',
    kernel,
    cmdline,
    ramdisks,
    metadata,
    signer,
  });
  return {
    path: FILE,
    bytes: written.bytes,
    sha256: written.sha256,
    pcrs: Object.fromEntries(Object.entries(written.pcrs).map(([index, value]) => [index, toHex(value)])),
    policy: { nitro: nitroPolicyPart(name, written.pcrs) },
    parts: {
      kernel: await sha256Of(kernel),
      cmdline: await sha256Of(Buffer.from(cmdline)),
      init: await sha256Of(init),
      nsm: nsm && (await sha256Of(nsm)),
    },
  };
}

function applicationOf(root: Tree): Tree {
  return applicationRamdisk({ root, command: ENCLAVE_RUN.command, environment: ENCLAVE_RUN.environment });
}

/** A RAM disk of its own: the whole lies in memory of the enclave, so models have to be small. */
function modelsOf(models: Tree): Tree {
  const tree = new Tree();
  for (const [path, entry] of models.entries()) tree.add(`rootfs/${MODELS_FOLDER}/${path}`, entry);
  return tree;
}
