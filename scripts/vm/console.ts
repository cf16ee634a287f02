/** What stopped a machine, as its console says. */
export interface Refusal {
  readonly layer: 'firmware' | 'init' | 'verity' | 'kernel' | 'guest';
  readonly line: string;
}

/** In the order in which they are looked for: a panic of dm-verity is also one of the kernel. */
const PATTERNS: readonly (readonly [Refusal['layer'], RegExp])[] = [
  ['init', /^init: INIT_\w+: .*$/m],
  ['verity', /^.*device-mapper: verity: .*(?:corrupted|failed|error).*$/im],
  ['verity', /^.*(?:panic|verity).*dm-verity.*$/m],
  ['guest', /^guest: GUEST_\w+: .*$/m],
  ['kernel', /^.*Kernel panic - not syncing.*$/m],
  ['firmware', /^.*(?:BdsDxe: failed to|Security Violation).*$/m],
];

/** Slow emulation loses the interrupts by which kernels of this age look whether a timer works. */
const EMULATION_FAULT = /MP-BIOS bug: 8254 timer|IO-APIC \+ timer doesn't work/;
const MAX_LINE = 200;

export function refusalIn(text: string): Refusal | undefined {
  const console = plainText(text);
  for (const [layer, pattern] of PATTERNS) {
    const found = pattern.exec(console);
    if (found) return { layer, line: found[0].trim().slice(0, MAX_LINE) };
  }
  return undefined;
}

export function isEmulationFault(text: string): boolean {
  return EMULATION_FAULT.test(text);
}

/** Without the commands by which firmware clears a terminal. */
export function plainText(text: string): string {
  // eslint-disable-next-line no-control-regex -- those commands begin with ESC
  return text.replaceAll(/\u001b\[[0-9;?=]*[A-Za-z]/g, '').replaceAll('\r', '');
}
