import type { SgxPolicy } from '../../attestation/policy/sgx.ts';
import type { TdxPolicy } from '../../attestation/policy/tdx.ts';

/** The default policy of the corpus: debug off and firmware up to date, everything else as it comes. */
export const LAX_TDX: TdxPolicy = {
  debug: 'refused',
  attributes: {
    hgsPlusProfiling: 'accepted',
    perfProfiling: 'accepted',
    pmtProfiling: 'accepted',
    icssd: 'any',
    servtdExt: 'any',
    lass: 'any',
    septVeDisable: 'any',
    migratable: 'accepted',
    pks: 'any',
    keyLocker: 'accepted',
    tpa: 'accepted',
    perfmon: 'accepted',
  },
  xfam: 'any',
  mrSeam: 'any',
  mrSignerSeam: 'any',
  seamAttributes: 'any',
  mrServiceTd: 'any',
  tcb: {
    statuses: ['UpToDate'],
    advisories: 'any',
    maximumDaysBehind: 'any',
    minimumEvaluationDataNumber: 'any',
  },
  platform: { ppids: 'any', fmspcs: 'any' },
  mrTd: 'any',
  rtmr0: 'any',
  rtmr1: 'any',
  rtmr2: 'any',
  rtmr3: 'any',
  mrConfigId: 'any',
  mrOwner: 'any',
  mrOwnerConfig: 'any',
};

/** The same for enclaves. */
export const LAX_SGX: SgxPolicy = {
  debug: 'refused',
  attributes: {
    mode64Bit: 'any',
    provisionKey: 'accepted',
    einitTokenKey: 'accepted',
    cet: 'any',
    kss: 'accepted',
    aexNotify: 'any',
  },
  xfrm: 'any',
  miscSelect: 'any',
  tcb: {
    statuses: ['UpToDate'],
    advisories: 'any',
    maximumDaysBehind: 'any',
    minimumEvaluationDataNumber: 'any',
  },
  platform: { ppids: 'any', fmspcs: 'any' },
  mrEnclave: 'any',
  mrSigner: 'any',
  isvProdIds: 'any',
  minimumIsvSvn: 'any',
  configId: 'any',
};
