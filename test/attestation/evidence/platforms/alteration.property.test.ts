import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeCpu } from '../../../../attestation/evidence/cpuEncoding.ts';
import { parseDocument } from '../../../../attestation/evidence/document.ts';
import { PLATFORMS, type CpuEvidence, type Platform } from '../../../../attestation/evidence/evidence.ts';
import type { Verdict } from '../../../../attestation/verdict/verdict.ts';
import { judgeDocument, mintDocument } from '../../../support/evidenceDocument.ts';
import { machineOn } from '../../../support/platforms.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

// No flip of a bit in the CPU member of a document gives an accepted verdict. Two formats have bytes that nobody signs
// and nobody reads; there a flip gives the very verdict of the untouched document.

/** Offset and length of the CPU member in a document. */
function memberOf(
  document: Uint8Array,
  cpu: CpuEvidence,
): { readonly start: number; readonly length: number } {
  const member = encodeCpu(cpu);
  return { start: Buffer.from(document).indexOf(member), length: member.length };
}

/** Line ends of PEM, and the NUL that quoting libraries put behind it. */
const PEM_SPACE: readonly (number | undefined)[] = [0x0a, 0x00];

/** White space around PEM; of a TDREPORT all but its report data, for only the quote made of it counts. */
function isUnread(document: Uint8Array, cpu: CpuEvidence, position: number): boolean {
  const quote = cpu.platform === 'tdx' ? cpu.report : cpu.platform === 'azure-tdx' ? cpu.quote : undefined;
  const pem = quote?.subarray(Buffer.from(quote).indexOf('-----BEGIN'));
  if (pem && isWithin(document, pem, position)) return PEM_SPACE.includes(document[position]);
  if (cpu.platform !== 'azure-tdx') return false;
  const tdReport = cpu.report.subarray(0x20, 0x20 + 1024);
  const offset = position - Buffer.from(document).indexOf(tdReport);
  return isWithin(document, tdReport, position) && (offset < 128 || offset >= 192);
}

function isWithin(document: Uint8Array, part: Uint8Array, position: number): boolean {
  const start = Buffer.from(document).indexOf(part);
  return position >= start && position < start + part.length;
}

describe.each<Platform>(PLATFORMS)('%s', (platform) => {
  test(
    'a flipped bit is refused',
    async () => {
      const machine = await machineOn(platform);
      const document = await mintDocument(machine.collectCpu);
      const genuine = await judgeDocument(document, machine);
      expect(genuine.decision).toBe('accepted');
      const { cpu } = parseDocument(document);
      const { start, length } = memberOf(document, cpu);
      const flip = fc.tuple(fc.nat(length - 1), fc.nat(7));
      const property = fc.asyncProperty(flip, async ([offset, bit]) => {
        const changed = document.slice();
        changed[start + offset]! ^= 1 << bit;
        const verdict = await judgeDocument(changed, machine);
        if (verdict.decision !== 'refused' && isUnread(document, cpu, start + offset)) {
          expect(verdict).toEqual(genuine);
        } else {
          expect(verdict.decision).toBe('refused');
        }
      });
      await fc.assert(property, propertyRuns(30));
    },
    PROPERTY_TIMEOUT,
  );

  test('a part that is cut is refused; one with a byte behind it is refused or reads the same', async () => {
    const machine = await machineOn(platform);
    const genuine = await judgeDocument(await mintDocument(machine.collectCpu), machine);
    const evidence = await machine.collectCpu(new Uint8Array(64));
    for (const part of partsOf(evidence)) {
      const shorter = await mintDocument(machine.collectCpu, {
        change: (cpu) => part.replace(cpu, (bytes) => bytes.slice(0, -1)),
      });
      const { decision } = await judgeDocument(shorter, machine);
      expect({ part: part.name, decision }).toEqual({ part: part.name, decision: 'refused' });
      const longer = await mintDocument(machine.collectCpu, {
        change: (cpu) => part.replace(cpu, (bytes) => Uint8Array.of(...bytes, 1)),
      });
      const verdict = await judgeDocument(longer, machine);
      if (verdict.decision !== 'refused') {
        expect(`${platform} ${part.name}`).toMatch(PADDED);
        expect(codes(verdict)).toEqual(codes(genuine));
      }
    }
  });
});

/** Parts that stand in a larger buffer on real machines: NV index of an HCL report, buffer of a TD quote. */
const PADDED = /^(?:tdx report|azure-tdx quote|azure-(?:snp|tdx) report)$/;

interface Part {
  readonly name: string;
  readonly replace: (cpu: CpuEvidence, change: (bytes: Uint8Array) => Uint8Array) => CpuEvidence;
}

/** The byte strings that the evidence has; of certificates the last. */
function partsOf(evidence: CpuEvidence): readonly Part[] {
  const parts: Part[] = [];
  for (const name of ['report', 'quote'] as const) {
    if (!(name in evidence)) continue;
    const replace: Part['replace'] = (cpu, change) => {
      const bytes = (cpu as unknown as Readonly<Record<typeof name, Uint8Array>>)[name];
      return { ...cpu, [name]: change(bytes) };
    };
    parts.push({ name, replace });
  }
  if ('certificates' in evidence) {
    const last = (items: readonly Uint8Array[], change: (bytes: Uint8Array) => Uint8Array) =>
      items.with(-1, change(items.at(-1)!));
    parts.push({
      name: 'certificates',
      replace: (cpu, change) =>
        'certificates' in cpu ? { ...cpu, certificates: last(cpu.certificates, change) } : cpu,
    });
  }
  if ('tpm' in evidence) {
    for (const name of ['message', 'signature'] as const) {
      const replace: Part['replace'] = (cpu, change) =>
        'tpm' in cpu ? { ...cpu, tpm: { ...cpu.tpm, [name]: change(cpu.tpm[name]) } } : cpu;
      parts.push({ name, replace });
    }
  }
  return parts;
}

function codes({ checks }: Verdict): readonly string[] {
  return checks.map(({ id, subject, code }) => `${subject} ${id} ${code}`);
}
