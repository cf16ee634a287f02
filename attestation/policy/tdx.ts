import * as z from 'zod';
import { mask, platform, tdxTcb } from './dcap.ts';
import { orAny, protection, references, weakness } from './shapes.ts';

/** Bits of TDATTRIBUTES besides DEBUG. One that is not named here is refused. */
const attributes = z.strictObject({
  /** Bit 4: hardware-guided scheduling sees the TD. */
  hgsPlusProfiling: weakness,
  /** Bit 5: the host counts performance events of the TD. */
  perfProfiling: weakness,
  /** Bit 6: the host sees telemetry of the core while the TD runs. */
  pmtProfiling: weakness,
  /** Bit 16: defence against single-stepping by instruction count. */
  icssd: protection,
  /** Bit 17: the report has extended information on service TDs. */
  servtdExt: protection,
  /** Bit 27: linear address space separation. */
  lass: protection,
  /** Bit 28: a page that the host takes away ends the TD; it never raises an exception inside. */
  septVeDisable: protection,
  /** Bit 29: a migration TD may move the TD to another machine. */
  migratable: weakness,
  /** Bit 30: supervisor protection keys. */
  pks: protection,
  /** Bit 31: Key Locker. */
  keyLocker: weakness,
  /** Bit 62: the TD is a provisioning agent of TDX Connect. */
  tpa: weakness,
  /** Bit 63: the TD uses performance counters. */
  perfmon: weakness,
});

/** The TDX module below the TD. Its version is judged by Intel's TCB info, with `tcb`. */
const seam = {
  /** Measurement of the module (SHA-384). */
  mrSeam: orAny(references(48)),
  /** `zero`: the module is signed by Intel. */
  mrSignerSeam: z.union([z.literal('any'), z.literal('zero'), references(48)]),
  /** `zero`: a production module. */
  seamAttributes: z.enum(['any', 'zero']),
  /**
   * Service TDs bound to the TD, such as a migration TD, can reach into it. Only bodies of TD 1.5 state them: `zero`
   * and named values refuse others, `zero-when-present` takes them as they are.
   */
  mrServiceTd: z.union([z.literal('any'), z.literal('zero'), z.literal('zero-when-present'), references(48)]),
};

/** What was launched. An empty list gives «not judged», naming the value that was seen. */
const software = {
  /** Memory contents at launch: the virtual firmware. */
  mrTd: orAny(references(48)),
  /** Configuration of the virtual firmware. */
  rtmr0: orAny(references(48)),
  /** Boot loader and kernel. */
  rtmr1: orAny(references(48)),
  /** Command line, initial RAM disk and what the system measures. */
  rtmr2: orAny(references(48)),
  /** What the application measures. */
  rtmr3: orAny(references(48)),
  /** Chosen by whoever launches the TD; zero where unused. */
  mrConfigId: orAny(references(48)),
  mrOwner: orAny(references(48)),
  mrOwnerConfig: orAny(references(48)),
};

/** What a relying party accepts of an Intel TDX guest. */
export const tdxPolicySchema = z.strictObject({
  /** TDATTRIBUTES bit 0: the host may read and write the memory of the TD. */
  debug: weakness,
  attributes,
  /** Extended CPU features that the TD may use. */
  xfam: orAny(mask),
  ...seam,
  tcb: tdxTcb,
  platform,
  ...software,
});

export type TdxPolicy = z.infer<typeof tdxPolicySchema>;
