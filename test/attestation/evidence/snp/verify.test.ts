import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { AMD_ANCHORS } from '../../../../attestation/evidence/snp/anchors.ts';
import { verifySnp, type SnpVerifyOptions } from '../../../../attestation/evidence/snp/verify.ts';
import { refusalOfAsync } from '../../../support/refusal.ts';
import {
  ASK_SERIAL,
  derInteger,
  generateChipKeys,
  genoaReport,
  ia5String,
  mintAuthority,
  NOW,
  signReport,
  type SnpAuthority,
  type VekOptions,
} from '../../../support/snpAuthority.ts';
import { propertyRuns } from '../../../support/runs.ts';

type ChipKeys = Awaited<ReturnType<typeof generateChipKeys>>;

let authority: SnpAuthority;
let keys: ChipKeys;
let vek: Uint8Array;
let report: Uint8Array;
let options: SnpVerifyOptions;

beforeAll(async () => {
  [authority, keys] = await Promise.all([mintAuthority(), generateChipKeys()]);
  vek = await authority.issueVek(keys);
  report = await signReport(genoaReport(), keys);
  const anchors = [authority.anchor];
  options = { crypto: nodeCrypto, now: NOW, anchors, crls: [], revocation: 'when-present' };
});

function verify(
  changed: Partial<SnpVerifyOptions> & { report?: Uint8Array; certificates?: Uint8Array[] } = {},
) {
  const { report: other, certificates, ...rest } = changed;
  const evidence = {
    report: other ?? report,
    certificates: certificates ?? [vek, authority.ask, authority.ark],
  };
  return verifySnp(evidence, { ...options, ...rest });
}

async function refused(changed: Parameters<typeof verify>[0]) {
  const refusal = await refusalOfAsync(() => verify(changed));
  return { check: refusal?.check, code: refusal?.code };
}

async function signed(edit: (view: DataView) => void): Promise<Uint8Array> {
  const bytes = genoaReport();
  edit(new DataView(bytes.buffer));
  return signReport(bytes, keys);
}

describe.each([
  ['node', nodeCrypto],
  ['portable', portableCrypto],
])('verifySnp with %s cryptography', (_name, crypto) => {
  test('accepts a signed report under a pinned root', async () => {
    const verified = await verify({ crypto });
    expect(verified.product).toBe('genoa');
    expect(verified.vek.kind).toBe('vcek');
    expect(verified.anchor).toBe(authority.anchor);
    expect(verified.tcb.reported).toMatchObject({ bootloader: 10, tee: 0, snp: 27, microcode: 200 });
    expect(verified.checks.map(({ id, result }) => `${id} ${result}`)).toEqual([
      'cpu.format pass',
      'cpu.chain pass',
      'cpu.revocation skip',
      'cpu.endorsement pass',
      'cpu.signature pass',
    ]);
  });

  test('any byte of the report changed is refused', async () => {
    const change = fc.tuple(fc.nat(1183), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(change, async ([offset, mask]) => {
        const forged = report.slice();
        forged[offset] = forged[offset]! ^ mask;
        expect((await refused({ crypto, report: forged })).code).toBeDefined();
      }),
      propertyRuns(150),
    );
  });

  test('any byte of the certificates changed is refused', async () => {
    const change = fc.tuple(fc.nat(2), fc.nat(), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(change, async ([which, position, mask]) => {
        const certificates = [vek, authority.ask, authority.ark].map((der) => der.slice());
        const forged = certificates[which]!;
        const offset = position % forged.length;
        forged[offset] = forged[offset]! ^ mask;
        expect((await refused({ crypto, certificates })).code).toBeDefined();
      }),
      propertyRuns(300),
    );
  });
});

describe('verifySnp refuses at cpu.chain', () => {
  const check = 'cpu.chain';

  test('a root that is not pinned', async () => {
    expect(await refused({ anchors: AMD_ANCHORS })).toEqual({ check, code: 'UNTRUSTED_ROOT' });
  });

  test('a look-alike root with the same names', async () => {
    const other = await mintAuthority();
    const certificates = [await other.issueVek(keys), other.ask, other.ark];
    expect(await refused({ certificates })).toEqual({ check, code: 'UNTRUSTED_ROOT' });
  });

  test('a look-alike intermediate below the genuine root', async () => {
    const other = await mintAuthority();
    const certificates = [await other.issueVek(keys), other.ask, authority.ark];
    expect(await refused({ certificates })).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
  });

  test('an anchor of another role, or one without a product', async () => {
    const { role, name, spkiSha256, simulated } = authority.anchor;
    const withoutProduct = { role, name, spkiSha256, simulated };
    expect((await refused({ anchors: [withoutProduct] })).code).toBe('UNTRUSTED_ROOT');
    expect((await refused({ anchors: [{ ...authority.anchor, role: 'nvidia-device' }] })).code).toBe(
      'UNTRUSTED_ROOT',
    );
  });

  test('fewer or more than three certificates, or another order', async () => {
    const { ask, ark } = authority;
    expect(await refused({ certificates: [] })).toEqual({ check, code: 'CERT_MISSING' });
    expect(await refused({ certificates: [vek, ask] })).toEqual({ check, code: 'CERT_MISSING' });
    expect(await refused({ certificates: [vek, ask, ark, ark] })).toEqual({ check, code: 'MALFORMED' });
    expect(await refused({ certificates: [ask, vek, ark] })).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
    expect(await refused({ certificates: [vek, ark, ask] })).toEqual({ check, code: 'UNTRUSTED_ROOT' });
    expect(await refused({ certificates: [vek, ark, ark] })).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
  });

  test('an expired VEK certificate', async () => {
    const expired = await authority.issueVek(keys, { notAfter: new Date('2026-01-01T00:00:00Z') });
    const certificates = [expired, authority.ask, authority.ark];
    expect(await refused({ certificates })).toEqual({ check, code: 'CERT_EXPIRED' });
  });

  test('judged before anything was issued', async () => {
    expect(await refused({ now: 0 })).toEqual({ check, code: 'CERT_EXPIRED' });
  });
});

describe('verifySnp at cpu.revocation', () => {
  const check = 'cpu.revocation';

  test('accepts an in-date CRL that lists another serial', async () => {
    const crls = [await authority.issueCrl({ revoked: ['020001'] })];
    const { revocation, checks } = await verify({ crls, revocation: 'required' });
    expect(revocation.status).toBe('not-revoked');
    expect(checks[2]).toMatchObject({ id: check, result: 'pass' });
  });

  test('passes over CRLs of other issuers', async () => {
    const crls = [await authority.issueCrl({ revoked: [ASK_SERIAL], issuer: 'CN=Another' })];
    expect((await verify({ crls })).revocation.status).toBe('not-supplied');
    expect(await refused({ crls, revocation: 'required' })).toEqual({ check, code: 'COLLATERAL_MISSING' });
  });

  test('refuses a revoked intermediate and a root that revokes itself', async () => {
    for (const serial of [ASK_SERIAL, '010000']) {
      const crls = [await authority.issueCrl({ revoked: [serial] })];
      expect(await refused({ crls })).toEqual({ check, code: 'CERT_REVOKED' });
    }
  });

  test('a revocation counts whichever list holds it', async () => {
    const current = await authority.issueCrl({});
    const stale = await authority.issueCrl({
      revoked: [ASK_SERIAL],
      thisUpdate: new Date('2025-06-01T00:00:00Z'),
      nextUpdate: new Date('2025-09-01T00:00:00Z'),
    });
    expect(await refused({ crls: [current, stale] })).toEqual({ check, code: 'CERT_REVOKED' });
  });

  test('a later revocation does not reach back before its time', async () => {
    const later = new Date('2026-09-01T00:00:00Z');
    const crls = [
      await authority.issueCrl({}),
      await authority.issueCrl({ revoked: [ASK_SERIAL], revokedAt: later, thisUpdate: later }),
    ];
    expect((await verify({ crls })).revocation.status).toBe('not-revoked');
  });

  test('refuses lists that are all out of date', async () => {
    const stale = await authority.issueCrl({ nextUpdate: new Date('2026-04-01T00:00:00Z') });
    const future = await authority.issueCrl({ thisUpdate: new Date('2026-12-01T00:00:00Z') });
    expect(await refused({ crls: [stale] })).toEqual({ check, code: 'CRL_EXPIRED' });
    expect(await refused({ crls: [stale, future] })).toEqual({ check, code: 'CRL_EXPIRED' });
  });

  test('refuses a list that another key signed in the name of the root', async () => {
    const crls = [await (await mintAuthority()).issueCrl({})];
    expect(await refused({ crls })).toEqual({ check, code: 'SIGNATURE_INVALID' });
  });

  test('refuses a malformed list, and more lists than there can be', async () => {
    expect(await refused({ crls: [new Uint8Array(3)] })).toEqual({ check, code: 'MALFORMED' });
    const crl = await authority.issueCrl({});
    expect(await refused({ crls: Array.from({ length: 65 }, () => crl) })).toEqual({
      check,
      code: 'MALFORMED',
    });
  });
});

describe('verifySnp refuses at cpu.endorsement', () => {
  const check = 'cpu.endorsement';

  async function refusedVek(
    extensions: VekOptions['extensions'],
    changed: Parameters<typeof verify>[0] = {},
  ) {
    const other = await authority.issueVek(keys, extensions && { extensions });
    return refused({ ...changed, certificates: [other, authority.ask, authority.ark] });
  }

  test.each(['3.1', '3.2', '3.3', '3.8'])('a certificate with another TCB component %s', async (arc) => {
    expect(await refusedVek({ [arc]: derInteger(99) })).toEqual({ check, code: 'TCB_MISMATCH' });
  });

  test('a reserved TCB component that the report does not have', async () => {
    expect(await refusedVek({ '3.5': derInteger(1) })).toEqual({ check, code: 'TCB_MISMATCH' });
  });

  test('a report of older firmware than the certificate, and of newer', async () => {
    for (const snp of [26, 28]) {
      const other = await signed((view) => {
        view.setUint8(0x186, snp);
      });
      expect(await refused({ report: other })).toEqual({ check, code: 'TCB_MISMATCH' });
    }
  });

  test('a certificate of another chip', async () => {
    expect(await refusedVek({ '4': new Uint8Array(64).fill(9) })).toEqual({
      check,
      code: 'CHIP_ID_MISMATCH',
    });
  });

  test('a report whose host masks the chip id', async () => {
    const masked = await signed((view) => {
      new Uint8Array(view.buffer).fill(0, 0x1a0, 0x1e0);
    });
    expect(await refused({ report: masked })).toEqual({ check, code: 'CHIP_ID_MISMATCH' });
  });

  test('a certificate for another product than its root', async () => {
    expect(await refusedVek({ '2': ia5String('Milan-B0') })).toEqual({ check, code: 'PRODUCT_MISMATCH' });
  });

  test('a chip of another product than its certificate', async () => {
    const milan = await signed((view) => {
      view.setUint8(0x189, 0x01);
    });
    expect(await refused({ report: milan })).toEqual({ check, code: 'PRODUCT_MISMATCH' });
    const unknown = await signed((view) => {
      view.setUint8(0x189, 0x50);
    });
    expect(await refused({ report: unknown })).toEqual({ check, code: 'UNSUPPORTED' });
  });

  test.each([
    ['vlek', 1],
    ['none', 7],
  ])('a report that names signing key %s under a VCEK certificate', async (_name, key) => {
    const other = await signed((view) => {
      view.setUint32(0x048, key << 2, true);
    });
    expect(await refused({ report: other })).toEqual({ check, code: 'ALGORITHM_MISMATCH' });
  });

  test('a VLEK certificate under a report that names a VCEK', async () => {
    const vlek = { '4': undefined, '5': ia5String('CN=cloud.example') };
    expect(await refusedVek(vlek)).toEqual({ check, code: 'ALGORITHM_MISMATCH' });
  });

  test.each([
    ['no TCB component 3.3', { '3.3': undefined }, 'MALFORMED'],
    ['no product name', { '2': undefined }, 'MALFORMED'],
    ['an unknown product', { '2': ia5String('Venice') }, 'UNSUPPORTED'],
    ['neither chip nor provider', { '4': undefined }, 'MALFORMED'],
    ['both chip and provider', { '5': ia5String('CN=x') }, 'MALFORMED'],
    ['a chip id of 8 bytes', { '4': new Uint8Array(8) }, 'MALFORMED'],
    ['a chip id of 66 bytes that is no OCTET STRING', { '4': new Uint8Array(66) }, 'MALFORMED'],
    ['an SVN of 256', { '3.3': derInteger(256) }, 'MALFORMED'],
    ['a negative SVN', { '3.3': Uint8Array.of(2, 1, 0x80) }, 'MALFORMED'],
    ['an SVN with a trailing byte', { '3.3': Uint8Array.of(2, 1, 27, 0) }, 'MALFORMED'],
    ['an unknown TCB component', { '3.10': derInteger(1) }, 'UNSUPPORTED'],
    ['a component of another product', { '3.9': derInteger(1) }, 'UNSUPPORTED'],
    ['structure version 2', { '1': derInteger(2) }, 'UNSUPPORTED'],
  ])('a certificate with %s', async (_corruption, extensions, code) => {
    expect(await refusedVek(extensions)).toEqual({ check, code });
  });

  test('but not a chip id in an OCTET STRING', async () => {
    const { hwid } = (await verify()).vek;
    const wrapped = Uint8Array.of(4, 64, ...hwid!);
    const other = await authority.issueVek(keys, { extensions: { '4': wrapped } });
    const verified = await verify({ certificates: [other, authority.ask, authority.ark] });
    expect(verified.vek.hwid).toEqual(hwid);
  });
});

describe('verifySnp with a VLEK', () => {
  async function vlekEvidence(chipByte: number) {
    const extensions = { '4': undefined, '5': ia5String('CN=cloud.example') };
    const certificates = [await authority.issueVek(keys, { extensions }), authority.ask, authority.ark];
    const bytes = await signed((view) => {
      new Uint8Array(view.buffer).fill(0, 0x1a0, 0x1e0);
      view.setUint8(0x1a0, chipByte);
      view.setUint32(0x048, 1 << 2, true);
    });
    return { report: bytes, certificates };
  }

  test('accepts a report without a chip id', async () => {
    expect((await verify(await vlekEvidence(0))).vek).toMatchObject({
      kind: 'vlek',
      cspId: 'CN=cloud.example',
    });
  });

  test('refuses a chip id that nothing endorses', async () => {
    expect((await refused(await vlekEvidence(1))).code).toBe('CHIP_ID_MISMATCH');
  });
});

describe('verifySnp on Turin', () => {
  async function turin(hwid: Uint8Array, edit: (report: Uint8Array) => void = () => undefined) {
    const turinAuthority = await mintAuthority('turin');
    const extensions = {
      '2': ia5String('Turin'),
      '3.9': derInteger(1),
      '3.1': derInteger(2),
      '3.2': derInteger(3),
      '3.3': derInteger(4),
      '3.8': derInteger(81),
      '4': hwid,
    };
    const bytes = genoaReport();
    bytes.set([0x1a, 0x02, 0x01], 0x188);
    bytes.set([1, 2, 3, 4, 0, 0, 0, 81], 0x180);
    bytes.fill(0, 0x1a8, 0x1e0);
    edit(bytes);
    const certificates = [
      await turinAuthority.issueVek(keys, { extensions }),
      turinAuthority.ask,
      turinAuthority.ark,
    ];
    return { report: await signReport(bytes, keys), certificates, anchors: [turinAuthority.anchor] };
  }

  test('reads the TCB in its own layout and the chip id by its head', async () => {
    const verified = await verify(await turin(genoaReport().slice(0x1a0, 0x1a8)));
    expect(verified.tcb.reported).toEqual({ fmc: 1, bootloader: 2, tee: 3, snp: 4, microcode: 81 });
  });

  test('refuses another head, and bytes beyond the head', async () => {
    expect((await refused(await turin(new Uint8Array(8)))).code).toBe('CHIP_ID_MISMATCH');
    const head = genoaReport().slice(0x1a0, 0x1a8);
    const longer = await turin(head, (bytes) => {
      bytes[0x1df] = 1;
    });
    expect((await refused(longer)).code).toBe('CHIP_ID_MISMATCH');
  });
});

describe('verifySnp refuses at cpu.signature', () => {
  const check = 'cpu.signature';

  test('a report signed by another key', async () => {
    const forged = await signReport(genoaReport(), await generateChipKeys());
    expect(await refused({ report: forged })).toEqual({ check, code: 'SIGNATURE_INVALID' });
  });

  test('an unsigned report', async () => {
    expect(await refused({ report: genoaReport() })).toEqual({ check, code: 'SIGNATURE_INVALID' });
  });

  test('a VEK on another curve', async () => {
    const other = await generateChipKeys('P-256');
    const certificates = [await authority.issueVek(other), authority.ask, authority.ark];
    const bytes = await signReport(genoaReport(), other);
    expect(await refused({ report: bytes, certificates })).toEqual({ check, code: 'SIGNATURE_INVALID' });
  });
});

test('a malformed report is refused before the chain is looked at', async () => {
  const refusal = await refused({ report: new Uint8Array(4), certificates: [] });
  expect(refusal).toEqual({ check: 'cpu.format', code: 'MALFORMED' });
});
