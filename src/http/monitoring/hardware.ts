import { toHex } from '../../../attestation/bytes/bytes.ts';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import type { EvidenceHead } from '../../receipts/evidence.ts';
import { type Facts, readHardware } from '../../receipts/hardwareFacts.ts';

/** What evidence says of one part of the machine: names and values, byte strings in hex. */
export interface PartFacts {
  readonly facts: readonly (readonly [string, string])[];
}

export interface EvidenceHardware {
  readonly cpu: PartFacts & { readonly platform: string; readonly debug: boolean };
  /** In document order. */
  readonly devices: readonly (PartFacts & { readonly kind: 'gpu' | 'switch'; readonly serial: string })[];
}

/** A document is read once, however often it is asked about. */
const known = new WeakMap<EvidenceHead, EvidenceHardware>();

/** What the newest document says of CPU and devices. It is ours, and was judged before it was published. */
export function hardwareOfHead(head: EvidenceHead): EvidenceHardware {
  const found = known.get(head) ?? read(head);
  known.set(head, found);
  return found;
}

function read({ encoded, serials }: EvidenceHead): EvidenceHardware {
  const { cpu, devices } = parseDocument(encoded);
  const facts = readHardware(cpu, devices);
  const levels = Object.entries(facts.cpu.levels).map(([name, values]) => [name, values.join('.')] as const);
  return {
    cpu: {
      platform: facts.cpu.platform,
      debug: facts.cpu.debug,
      facts: [...Object.entries(facts.cpu.machine), ...Object.entries(facts.cpu.launched), ...levels],
    },
    devices: facts.devices.map(({ driver, firmware, mode }, i) => ({
      kind: devices[i]?.kind ?? 'gpu',
      serial: toHex(serials[i] ?? new Uint8Array(0)),
      facts: pairs(driver, firmware, mode),
    })),
  };
}

function pairs(...all: readonly Facts[]): readonly (readonly [string, string])[] {
  return all.flatMap((facts) => Object.entries(facts));
}
