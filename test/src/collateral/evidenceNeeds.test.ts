import { beforeAll, describe, expect, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { encodeDocument, parseDocument } from '../../../attestation/evidence/document.ts';
import type { DeviceEvidence } from '../../../attestation/evidence/evidence.ts';
import { parseDeviceReport } from '../../../attestation/evidence/nvidia/parse.ts';
import { parseSnpReport } from '../../../attestation/evidence/snp/parse.ts';
import {
  dcapNeeds,
  deviceNeeds,
  deviceSetNeeds,
  documentNeeds,
  hclNeeds,
  quoteNeeds,
  snpNeeds,
} from '../../../src/collateral/evidenceNeeds.ts';
import { needKey, needName, vendorOf } from '../../../src/collateral/need.ts';
import {
  CHIP_ID,
  derInteger,
  generateChipKeys,
  genoaReport,
  ia5String,
  mintAuthority,
  type SnpAuthority,
} from '../../support/snpAuthority.ts';
import { issueQuote, mintDcapAuthority, type DcapAuthority } from '../../support/dcapAuthority.ts';
import { mintHclReport } from '../../support/hclReport.ts';
import { makeWorld, type World } from '../../support/world.ts';
import { FMSPC } from './minted.ts';

const KEY_INFO = 0x048;
const SIGNED_WITH_VLEK = 1 << 2;
const NOT_SIGNED = 7 << 2;

let authority: SnpAuthority;
let world: World;
beforeAll(async () => {
  [authority, world] = await Promise.all([mintAuthority(), makeWorld()]);
});

function report(change: (bytes: Uint8Array) => void = () => undefined) {
  const bytes = genoaReport();
  change(bytes);
  return parseSnpReport(bytes);
}

const keys = ({ needs }: { needs: ReturnType<typeof snpNeeds>['needs'] }) => needs.map(needKey);

describe('AMD SEV-SNP', () => {
  test('a bare report needs its chip’s certificate, the CA certificates and the CRL', () => {
    const found = snpNeeds(report());
    expect(found.gaps).toEqual([]);
    expect(keys(found)).toEqual([
      `amd/vcek/genoa/${toHex(CHIP_ID)}/0a00000000001bc8`,
      'amd/chain/genoa/vcek',
      'amd/crl/genoa',
    ]);
  });

  test('Turin is asked for by the first 8 bytes of the chip id', () => {
    const turin = report((bytes) => {
      bytes.set([0x1a, 0x02, 0x01], 0x188);
    });
    const [vcek] = snpNeeds(turin).needs;
    expect(vcek).toMatchObject({ kind: 'vcek', product: 'turin', hwid: CHIP_ID.subarray(0, 8) });
  });

  test('what the evidence carries is not asked for', async () => {
    const vcek = await authority.issueVek(await generateChipKeys());
    const { ask, ark } = authority;
    expect(keys(snpNeeds(report(), { certificates: [vcek, ask, ark] }))).toEqual(['amd/crl/genoa']);
    expect(keys(snpNeeds(report(), { certificates: [vcek] }))).toEqual([
      'amd/chain/genoa/vcek',
      'amd/crl/genoa',
    ]);
    expect(snpNeeds(report(), { certificates: [ask, ark] }).needs.map(({ kind }) => kind)).toEqual([
      'vcek',
      'amd-crl',
    ]);
  });

  test('a certificate that cannot be read is none', () => {
    expect(snpNeeds(report(), { certificates: [new Uint8Array(9)] }).needs).toHaveLength(3);
  });

  describe('version 2, which has no CPUID,', () => {
    const old = () =>
      report((bytes) => {
        new DataView(bytes.buffer).setUint32(0, 2, true);
        bytes.fill(0, 0x188, 0x1a0);
      });

    test('takes the product from its certificate', async () => {
      const vcek = await authority.issueVek(await generateChipKeys());
      expect(keys(snpNeeds(old(), { certificates: [vcek], product: 'milan' }))).toContain('amd/crl/genoa');
    });

    test('takes it from the caller', () => {
      expect(keys(snpNeeds(old(), { product: 'milan' }))).toContain('amd/crl/milan');
    });

    test('says that it is not known', () => {
      expect(snpNeeds(old())).toEqual({ needs: [], gaps: [expect.stringContaining('product')] });
    });
  });

  test('a VLEK cannot be asked for, its CA certificates can', () => {
    const vlek = report((bytes) => {
      new DataView(bytes.buffer).setUint32(KEY_INFO, SIGNED_WITH_VLEK, true);
      bytes.fill(0, 0x1a0, 0x1e0);
    });
    const found = snpNeeds(vlek);
    expect(keys(found)).toEqual(['amd/chain/genoa/vlek', 'amd/crl/genoa']);
    expect(found.gaps).toEqual([expect.stringContaining('VLEK')]);
  });

  test('a VLEK that the evidence carries leaves no gap', async () => {
    const extensions = { '4': undefined, '5': ia5String('provider'), '3.1': derInteger(10) };
    const vlek = await authority.issueVek(await generateChipKeys(), { extensions });
    const signed = report((bytes) => {
      new DataView(bytes.buffer).setUint32(KEY_INFO, SIGNED_WITH_VLEK, true);
      bytes.fill(0, 0x1a0, 0x1e0);
    });
    expect(snpNeeds(signed, { certificates: [vlek] }).gaps).toEqual([]);
  });

  test('a masked chip id and a report without a signature leave gaps', () => {
    const masked = snpNeeds(report((bytes) => bytes.fill(0, 0x1a0, 0x1e0)));
    expect(keys(masked)).toEqual(['amd/chain/genoa/vcek', 'amd/crl/genoa']);
    expect(masked.gaps).toHaveLength(1);
    const unsigned = report((bytes) => {
      new DataView(bytes.buffer).setUint32(KEY_INFO, NOT_SIGNED, true);
    });
    expect(snpNeeds(unsigned)).toEqual({ needs: [], gaps: [expect.stringContaining('not signed')] });
  });
});

describe('Intel', () => {
  test('a platform needs four statements', () => {
    const { needs } = dcapNeeds({ tee: 'tdx', fmspc: FMSPC.toUpperCase(), ca: 'platform' });
    expect(needs.map(needKey)).toEqual([
      `intel/tcb-info/tdx/${FMSPC}`,
      'intel/qe-identity/tdx',
      'intel/pck-crl/platform',
      'intel/root-crl',
    ]);
    expect(new Set(needs.map(vendorOf))).toEqual(new Set(['intel']));
  });

  test.each(['', '00806f05000', '00806f05000g', '../../../etc/x'])('%j is no FMSPC', (fmspc) => {
    expect(() => dcapNeeds({ tee: 'sgx', fmspc, ca: 'processor' })).toThrow(TypeError);
  });
});

describe('raw evidence', () => {
  let intel: DcapAuthority;
  beforeAll(async () => {
    intel = await mintDcapAuthority();
  });
  const wanted = (tee: string) => [
    `intel/tcb-info/${tee}/00906ed50000`,
    `intel/qe-identity/${tee}`,
    'intel/pck-crl/platform',
    'intel/root-crl',
  ];

  test('a quote: by the PCK certificate that it carries', async () => {
    const machine = await intel.mintMachine();
    expect(keys(quoteNeeds(await issueQuote(machine)))).toEqual(wanted('tdx'));
    expect(keys(quoteNeeds(await issueQuote(machine, { version: 3, kind: 'sgx' })))).toEqual(wanted('sgx'));
  });

  test('a quote without one: by the certificates beside it, else there is a gap', async () => {
    const machine = await intel.mintMachine();
    const quote = await issueQuote(machine, { certification: { type: 1, data: new Uint8Array(36) } });
    expect(quoteNeeds(quote)).toEqual({ needs: [], gaps: [expect.stringContaining('FMSPC')] });
    expect(keys(quoteNeeds(quote, [Uint8Array.of(1), ...machine.chain]))).toEqual(wanted('tdx'));
    expect(quoteNeeds(quote, [authority.ark]).needs).toEqual([]);
  });

  test('a paravisor’s report: that of the SNP report inside; a TDREPORT names no platform', () => {
    const hcl = mintHclReport({ hardwareReport: genoaReport() });
    expect(keys(hclNeeds(hcl))).toEqual(keys(snpNeeds(report())));
    expect(keys(hclNeeds(hcl, { certificates: [authority.ask, authority.ark] }))).not.toContain(
      'amd/chain/genoa/vcek',
    );
    const tdx = hclNeeds(mintHclReport({ platform: 'tdx' }));
    expect(tdx).toEqual({ needs: [], gaps: [expect.stringContaining('TDREPORT')] });
  });
});

describe('documents', () => {
  test('nobody is asked about simulated hardware', () => {
    const document = parseDocument(world.vouching.head.encoded);
    const { needs, gaps } = documentNeeds(document, nodeCrypto);
    expect(needs).toEqual([]);
    expect(gaps.join()).toMatch(/CPU is simulated.*gpu is simulated/);
  });

  test('GPUs of one kind need the same manifests of driver and VBIOS', () => {
    const device = simulatedDevice();
    const expected = deviceNeeds(parseDeviceReport(device.report, 'gpu')).needs.map(needKey);
    expect(expected).toEqual([
      expect.stringMatching(/^nvidia\/rim\/NV_GPU_DRIVER_[A-Z0-9._]+$/),
      expect.stringMatching(/^nvidia\/rim\/NV_GPU_VBIOS_[A-Z0-9._]+$/),
    ]);
    // Under certificates that nobody knows to be simulated.
    const real = { ...device, certificates: [authority.ark] };
    const { needs, gaps } = documentNeeds(documentOf([real, real]), nodeCrypto);
    expect(gaps).toEqual([expect.stringContaining('1 certificates, not 5')]);
    expect(needs.map(needKey)).toEqual([...keys(snpNeeds(report())), ...expected]);
    expect(documentNeeds(documentOf([real]), nodeCrypto, { ocsp: false }).gaps).toEqual([]);
  });

  test('a GPU also needs the statuses of the certificates between its own and the root', () => {
    const { report: bytes, certificates } = simulatedDevice();
    const { needs, gaps } = deviceNeeds(parseDeviceReport(bytes, 'gpu'), certificates);
    expect(gaps).toEqual([]);
    expect(needs.map(({ kind }) => kind)).toEqual(['rim', 'rim', 'ocsp', 'ocsp', 'ocsp']);
    expect(needs.map(vendorOf)).toEqual(Array(5).fill('nvidia'));
  });

  test('devices without a document', () => {
    const { needs, gaps } = deviceSetNeeds(
      [{ ...simulatedDevice(), certificates: [authority.ark] }],
      nodeCrypto,
    );
    expect([needs.length, gaps.length]).toEqual([2, 1]);
  });

  test('a device that cannot be read does not hide the rest', () => {
    const broken = { kind: 'gpu' as const, report: new Uint8Array(7), certificates: [authority.ark] };
    const { needs, gaps } = documentNeeds(documentOf([broken]), nodeCrypto);
    expect(needs).toHaveLength(3);
    expect(gaps).toEqual([expect.stringContaining('device 0')]);
  });

  function simulatedDevice(): DeviceEvidence {
    return parseDocument(world.vouching.head.encoded).devices[0]!;
  }

  function documentOf(devices: readonly DeviceEvidence[]) {
    const { keyset, statement } = parseDocument(world.vouching.head.encoded);
    const cpu = { platform: 'snp', report: genoaReport(), certificates: [] } as const;
    return parseDocument(encodeDocument({ keyset, statement, cpu, devices }));
  }
});

test('every need has a name for people', () => {
  const { needs } = snpNeeds(report());
  expect(needs.map(needName)).toEqual([
    'VCEK of genoa chip 0102030405060708… at bootloader 10, tee 0, snp 27, microcode 200',
    'AMD CA certificates of genoa (vcek)',
    'AMD CRL of genoa',
  ]);
});
