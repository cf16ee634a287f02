import { beforeAll, describe, expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseTdx } from '../../../../attestation/evidence/tdx/appraise.ts';
import { verifyTdx } from '../../../../attestation/evidence/tdx/verify.ts';
import { snpPolicySchema } from '../../../../attestation/policy/snp.ts';
import { tdxPolicySchema } from '../../../../attestation/policy/tdx.ts';
import { expectInitData, initDataPolicyPart } from '../../../../enclave/deploy/initData/expected.ts';
import {
  issueQuote,
  mintDcapAuthority,
  NOW as DCAP_NOW,
  TD,
  tdReport,
} from '../../../support/dcapAuthority.ts';
import { LAX_TDX } from '../../../support/dcapPolicies.ts';
import { cpuFailures, judgeDocument, mintDocument, NO_PLATFORM } from '../../../support/evidenceDocument.ts';
import { mintSnp, type SnpMachine } from '../../../support/platforms.ts';

const DIGEST = nodeCrypto.hash('sha256', Uint8Array.of(1, 2, 3));
const OTHER = nodeCrypto.hash('sha256', Uint8Array.of(1, 2, 4));
const EXPECTED = expectInitData(DIGEST, nodeCrypto);
const PART = initDataPolicyPart(EXPECTED, 'release 1');
/** Offset of HOST_DATA in a report. */
const HOST_DATA = 0xc0;

describe('SEV-SNP', () => {
  let machine: SnpMachine;

  beforeAll(async () => {
    machine = await mintSnp();
  });

  async function failuresWith(hostData: Uint8Array) {
    const snp = snpPolicySchema.parse({ ...machine.policy, ...PART.snp });
    const document = await mintDocument(async (reportData) => ({
      platform: 'snp',
      certificates: machine.certificates,
      report: await machine.report(reportData, (view) => {
        new Uint8Array(view.buffer).set(hostData, HOST_DATA);
      }),
    }));
    return cpuFailures(await judgeDocument(document, { ...machine, cpu: { ...NO_PLATFORM, snp } }));
  }

  test('a guest with this init-data is accepted, one with other or none is not', async () => {
    expect(await failuresWith(EXPECTED.hostData)).toEqual([]);
    for (const seen of [OTHER, new Uint8Array(32)]) {
      expect(await failuresWith(seen)).toEqual(['cpu: cpu.measurement MEASUREMENT_MISMATCH']);
    }
  });
});

describe('TDX', () => {
  test('a TD with this init-data is accepted, one with other is not', async () => {
    const authority = await mintDcapAuthority();
    const machine = await authority.mintMachine();
    const options = {
      crypto: nodeCrypto,
      now: DCAP_NOW,
      anchors: [authority.anchor],
      collateral: await authority.issueCollateral('tdx'),
    };
    const named = (byte: string) => [{ name: 'guest', value: byte.repeat(48) }];
    const guest = { mrTd: named('d0'), rtmr0: named('a0'), rtmr1: named('a1'), rtmr2: named('a2') };
    const policy = tdxPolicySchema.parse({ ...LAX_TDX, ...guest, ...PART.tdx });
    const outcome = async (mrConfigId: Uint8Array) => {
      const body = tdReport('td15', (view) => {
        new Uint8Array(view.buffer, view.byteOffset).set(mrConfigId, TD.mrConfigId);
      });
      const verified = await verifyTdx(await issueQuote(machine, { kind: 'td15', body }), options);
      return appraiseTdx(verified, policy).find(({ id }) => id === 'cpu.measurement');
    };
    expect(await outcome(EXPECTED.mrConfigId)).toMatchObject({ result: 'pass' });
    const refused = await outcome(expectInitData(OTHER, nodeCrypto).mrConfigId);
    expect(refused).toMatchObject({ result: 'fail', code: 'MEASUREMENT_MISMATCH' });
    expect(refused?.reason).toContain(toHex(EXPECTED.mrConfigId));
  });
});
