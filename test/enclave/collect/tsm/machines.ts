import { concat } from '../../../../attestation/bytes/bytes.ts';
import type { Check } from '../../../../attestation/checks.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import type { AppraisalContext } from '../../../../attestation/evidence/context.ts';
import { appraiseCpu } from '../../../../attestation/evidence/cpu.ts';
import type { CpuEvidence } from '../../../../attestation/evidence/evidence.ts';
import { SIMULATED_ANCHORS } from '../../../../attestation/evidence/simulatedAnchors.ts';
import { NO_COLLATERAL } from '../../../../attestation/collateral.ts';
import { SIMULATED_POLICY } from '../../../../attestation/policy/defaults.ts';
import { CollectError } from '../../../../enclave/collect/errors.ts';
import { issueSimulatedCrl } from '../../../../enclave/collect/simulated/crl.ts';
import { createSimulatedSnp, type SimulatedSnp } from '../../../../enclave/collect/simulated/snp.ts';
import { encodeSnpTable } from '../../../support/certificateTable.ts';
import type { ReportMaker } from '../../../support/configfsTsm/mount.ts';
import { contextFor } from '../../../support/evidenceDocument.ts';
import { mintTdx } from '../../../support/platforms.ts';
import { errorOfAsync } from '../../../support/refusal.ts';

// Hardware and host behind the driver, and the relying party that judges what was collected.

const NOW = new Date('2026-11-21T12:34:56.789Z');
export const REPORT_DATA = Uint8Array.from({ length: 64 }, (_, i) => 255 - i);

export interface MintedMachine {
  readonly provider: 'sev_guest' | 'tdx_guest';
  readonly make: ReportMaker;
  /** Checks that the production verifier fails. */
  readonly failures: (evidence: CpuEvidence) => Promise<readonly string[]>;
}

/** A simulated chip that answers at whatever privilege level it is asked, with its table of certificates. */
export async function mintSnpMachine(): Promise<MintedMachine & { readonly chip: SimulatedSnp }> {
  const chipId = new Uint8Array(64).fill(0xc1);
  const levels = await Promise.all(
    [0, 1, 2, 3].map((vmpl) => createSimulatedSnp({ now: NOW, vmpl, chipId })),
  );
  const [chip] = levels as [SimulatedSnp];
  const context: AppraisalContext = {
    policy: SIMULATED_POLICY,
    anchors: SIMULATED_ANCHORS,
    collateral: { ...NO_COLLATERAL, crls: [issueSimulatedCrl(NOW)] },
    now: NOW.getTime(),
    crypto: nodeCrypto,
  };
  return {
    provider: 'sev_guest',
    chip,
    make: async ({ inblob, privlevel, serviceProvider }) => {
      const answering = levels[privlevel]!;
      const manifestblob = serviceProvider === 'svsm' ? MANIFEST : new Uint8Array();
      const data = serviceProvider === 'svsm' ? serviceReportData(inblob) : inblob;
      return {
        outblob: await answering.report(data),
        auxblob: encodeSnpTable(answering.certificates),
        manifestblob,
      };
    },
    failures: async (evidence) => failed((await appraiseCpu(evidence, REPORT_DATA, 'cpu', context)).checks),
  };
}

export const MANIFEST = new TextEncoder().encode('services of an SVSM');

export function serviceReportData(nonce: Uint8Array): Uint8Array {
  return nodeCrypto.hash('sha512', concat(nonce, MANIFEST));
}

/** A TD on a minted platform. */
export async function mintTdMachine(): Promise<MintedMachine & { readonly ccel: Uint8Array }> {
  const machine = await mintTdx();
  const context = contextFor(machine);
  return {
    provider: 'tdx_guest',
    ccel: machine.bootLog,
    make: async ({ inblob }) => ({ outblob: await machine.quote(inblob) }),
    failures: async (evidence) => failed((await appraiseCpu(evidence, REPORT_DATA, 'cpu', context)).checks),
  };
}

function failed(checks: readonly Check[]): readonly string[] {
  return checks.filter(({ result }) => result === 'fail').map(({ id, code }) => `${id} ${code}`);
}

/** The code of what a step throws; `success` where it does not. */
export async function codeOf(step: Promise<unknown>): Promise<string> {
  return (await errorOfAsync(CollectError, () => step))?.code ?? 'success';
}
