import { readElf, X86_64 } from './elf.ts';

/** Texts that a licence asks for go with the package, whatever else is left out. */
const LICENCE = /(?:^|\/)(?:licen[cs]e|copying|notice|copyright|patents|third.?party)[^/]*$/i;

interface Rule {
  readonly why: string;
  readonly leavesOut: (path: string, content: Uint8Array) => boolean;
}

/** What a package of npm carries and Node never reads at run time on Linux. Paths are those within the package. */
const RULES: readonly Rule[] = [
  {
    why: 'types and TypeScript: Node does not load them from packages',
    leavesOut: ending('ts', 'mts', 'cts', 'tsx', 'flow', 'tsbuildinfo'),
  },
  { why: 'source maps', leavesOut: ending('map') },
  { why: 'documentation', leavesOut: ending('md', 'markdown', 'jsdoc', 'html', 'css') },
  {
    why: 'sources of native code',
    leavesOut: ending(
      'c',
      'cc',
      'cpp',
      'h',
      'hh',
      'hpp',
      'inc',
      'S',
      's',
      'asm',
      'def',
      'gyp',
      'gypi',
      'cmake',
      'bnf',
    ),
  },
  { why: 'libraries of other systems', leavesOut: ending('dll', 'dylib', 'lib', 'pdb', 'exe') },
  {
    why: 'settings of development tools',
    leavesOut: (path) =>
      /(?:^|\/)(?:\.[^/]+|Makefile|CMakeLists\.txt|(?:tsconfig|tslint|bower|rollup\.config)[^/]*)$/.test(
        path,
      ),
  },
  {
    why: 'tests, examples and benchmarks',
    leavesOut: (path) =>
      /^(?:tests?|__tests__|spec|docs?|examples?|bench|benchmarks?|coverage|\.[^/]+)\//.test(path),
  },
  { why: 'native code for another machine or C library', leavesOut: isForeign },
];

/** Why a file of a package is left out of the image; undefined where it goes in. */
export function reasonToLeaveOut(path: string, content: Uint8Array): string | undefined {
  if (LICENCE.test(path) || path === 'package.json') return undefined;
  return RULES.find(({ leavesOut }) => leavesOut(path, content))?.why;
}

function ending(...endings: readonly string[]): (path: string) => boolean {
  const pattern = new RegExp(`\\.(?:${endings.join('|')})$`);
  return (path) => pattern.test(path);
}

/** What is linked to musl names its C library `libc.musl-x86_64.so.1`, or `libc.so`; glibc's is `libc.so.6`. */
function isForeign(path: string, content: Uint8Array): boolean {
  if (!/\.node$|\.so(?:\.[0-9.]+)?$/.test(path)) return false;
  const elf = readElf(content);
  if (elf?.machine !== X86_64) return true;
  return elf.needed.some((name) => name === 'libc.so' || name.startsWith('libc.musl'));
}
