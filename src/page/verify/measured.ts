import { toHex } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseHclReport } from '../../../attestation/evidence/azure/parse.ts';
import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';
import { parseNitroDocument } from '../../../attestation/evidence/nitro/parse.ts';
import { parseSnpReport } from '../../../attestation/evidence/snp/parse.ts';
import { parseTdxQuote } from '../../../attestation/evidence/tdx/parse.ts';
import type { Policy } from '../../../attestation/policy/policy.ts';
import type { RawCpu } from '../../../attestation/raw/files.ts';
import type { Measured } from './protocol.ts';

type Expected = 'any' | readonly { readonly name: string; readonly value: string }[];

/** What the CPU report says was launched beside what the policy names. Display only: the checks judge. */
export function measuredOf(cpu: CpuEvidence | RawCpu, policy: Policy): readonly Measured[] {
  try {
    return valuesOf(cpu, policy);
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}

function valuesOf(cpu: CpuEvidence | RawCpu, { cpu: policies }: Policy): readonly Measured[] {
  switch (cpu.platform) {
    case 'snp':
      return snpValues(cpu.report, policies.snp);
    case 'azure-snp': {
      const azure = policies['azure-snp'];
      const { hardwareReport } = parseHclReport(cpu.report);
      return [
        ...snpValues(hardwareReport, azure === 'refused' ? azure : azure.snp),
        ...pcrValues(cpu.tpm.pcrs.values),
      ];
    }
    case 'tdx':
      return tdxValues(cpu.report, policies.tdx);
    case 'azure-tdx': {
      const azure = policies['azure-tdx'];
      return [
        ...tdxValues(cpu.quote, azure === 'refused' ? azure : azure.tdx),
        ...pcrValues(cpu.tpm.pcrs.values),
      ];
    }
    case 'nitro':
    case 'nitrotpm':
      return pcrValues(parseNitroDocument(cpu.report).pcrs);
    case 'gcp-vtpm':
    case 'tpm':
      return pcrValues(cpu.tpm.pcrs.values);
    case 'sgx':
      return [];
  }
}

function snpValues(report: Uint8Array, policy: Policy['cpu']['snp']): readonly Measured[] {
  const { measurement, hostData } = parseSnpReport(report);
  const of = (member: 'measurements' | 'hostData'): Expected => (policy === 'refused' ? [] : policy[member]);
  return [
    compared('launch measurement', measurement, of('measurements')),
    compared('host data', hostData, of('hostData')),
  ];
}

function tdxValues(quote: Uint8Array, policy: Policy['cpu']['tdx']): readonly Measured[] {
  const { mrTd, rtmrs } = parseTdxQuote(quote).report;
  const names = ['rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'] as const;
  const of = (member: 'mrTd' | (typeof names)[number]): Expected =>
    policy === 'refused' ? [] : policy[member];
  return [
    compared('MRTD', mrTd, of('mrTd')),
    ...names.map((name, i) => compared(name.toUpperCase(), rtmrs[i] ?? new Uint8Array(0), of(name))),
  ];
}

/** Sets of registers are judged as a whole, by the check: here they are shown. */
function pcrValues(values: ReadonlyMap<number, Uint8Array>): readonly Measured[] {
  return [...values].map(([index, value]) => compared(`PCR ${index}`, value, 'any'));
}

function compared(what: string, value: Uint8Array, expected: Expected): Measured {
  const found = toHex(value);
  if (expected === 'any') return { what, found, expected: [], state: 'any' };
  if (expected.length === 0) return { what, found, expected, state: 'missing' };
  const isEqual = expected.some((each) => each.value === found);
  return { what, found, expected, state: isEqual ? 'equal' : 'differs' };
}
