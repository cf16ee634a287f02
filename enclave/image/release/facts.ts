import type { StubRelease } from '../../predict/boot/uki.ts';
import type { Tree } from '../tree.ts';
import type { LaunchProfile } from './profiles.ts';

/** Parts of an image that an input goes into. `tool`: it only helps to build. */
export type Use = 'root' | 'initrd' | 'kernel' | 'stub' | 'models' | 'tool';

/** One thing that the image was made of, as it was pinned. */
export interface InputFact {
  readonly kind: 'debian' | 'npm' | 'source' | 'configuration' | 'model' | 'firmware';
  readonly name: string;
  /** Empty where it has none, as a configuration. */
  readonly version: string;
  /** Path in its pool, registry or source tree; never one of the build machine. */
  readonly path: string;
  readonly bytes: number;
  /** Lower-case hex, of the file as it was fetched; of a folder, the digest of its sorted list of files. */
  readonly sha256: string;
  /** SRI of npm's lock file, such as `sha512-…`; of npm packages only. */
  readonly integrity?: string | undefined;
  /** SPDX expression where it is known. */
  readonly licence?: string | undefined;
  readonly uses: readonly Use[];
}

/** A file of the output folder, by its name there. */
export interface OutputNames {
  readonly disk: string;
  readonly uki: string;
  readonly kernel: string;
  readonly initrd: string;
  /** Text of the command line, for whoever passes kernel and initrd. */
  readonly cmdline?: string | undefined;
  readonly root: string;
  readonly rootTree: string;
  readonly models?: string | undefined;
  readonly modelsTree?: string | undefined;
}

/** What dm-verity was set up with. Lower-case hex. */
export interface VerityFact {
  readonly rootHash: string;
  readonly dataBlocks: number;
  readonly salt: string;
}

export interface ModelFact {
  /** Folder below the models folder. */
  readonly name: string;
  /**
   * Digest of the model's manifest, as receipts name it, where it is known: runtime and settings of the service are in
   * it as well as files. Lower-case hex.
   */
  readonly manifest?: string | undefined;
}

/** What the builder knows of an image that it has just made; `writeManifest` reads everything else from the files. */
export interface ImageFacts {
  /** Name of the release, which its values carry in policies, such as `vouchsafe-0.1.0`. */
  readonly name: string;
  /** Version of this package. */
  readonly version: string;
  /** Commit where one is known, 40 or 64 hex digits; digest of the sources that were built, SHA-256. */
  readonly source: { readonly commit?: string | undefined; readonly tree: string };
  readonly stub: StubRelease;
  /** Output of `uname -r` that the image states. */
  readonly uname: string;
  /** What was chosen beside the inputs: UUIDs, GUIDs, salts, compression, times. Names and values, both text. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly inputs: readonly InputFact[];
  readonly outputs: OutputNames;
  readonly root: VerityFact;
  readonly models?: (VerityFact & { readonly models: readonly ModelFact[] }) | undefined;
  /** Content of each layer, for the list of files beside the manifest. */
  readonly trees: {
    readonly root: Tree;
    readonly initrd: Tree;
    readonly models?: Tree | undefined;
  };
  /** Launches to predict; `DEFAULT_PROFILES` where nothing is said. */
  readonly profiles?: readonly LaunchProfile[] | undefined;
}
