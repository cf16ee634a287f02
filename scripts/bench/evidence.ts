import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { contextOf } from '../corpus/cpu/context.ts';
import { vekChain } from '../corpus/cpu/snp.ts';
import type { CorpusCase } from '../corpus/case.ts';
import { CaseFiles } from '../corpus/files.ts';
import { loadCases } from '../corpus/load.ts';

const CORPUS = fileURLToPath(new URL('../../../shared/evidence/cpu', import.meta.url));

/** Genuine evidence, for the peers know only genuine roots. */
export interface BenchEvidence {
  readonly files: CaseFiles;
  readonly context: AppraisalContext;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** Undefined where this clone has no corpus beside it. */
export function tdxEvidence(): BenchEvidence | undefined {
  return evidenceOf('intel/tdx-v4-up-to-date');
}

export function snpEvidence():
  (BenchEvidence & { readonly certificates: readonly Uint8Array[] }) | undefined {
  const evidence = evidenceOf('amd/snp-genoa-v3-azure-aci');
  return evidence && { ...evidence, certificates: vekChain(evidence.files) };
}

function evidenceOf(id: string): BenchEvidence | undefined {
  const folder = `${CORPUS}/${id}`;
  const found: CorpusCase | undefined = existsSync(folder) ? loadCases(folder)[0] : undefined;
  const at = found?.expectations[0]?.at;
  if (!found || at === undefined) return undefined;
  const files = new CaseFiles(found);
  return { files, at, context: contextOf(files, at, nodeCrypto) };
}
