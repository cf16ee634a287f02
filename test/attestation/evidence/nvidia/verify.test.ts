import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, fromHex, toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { driverRimId, vbiosRimId } from '../../../../attestation/evidence/nvidia/rim.ts';
import { verifyDevice, type VerifiedDevice } from '../../../../attestation/evidence/nvidia/verify.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { CaseFolder, CORPUS, pemCertificates, refusalOf } from './corpusCases.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

function measurementsDigest({ report }: VerifiedDevice): string {
  return toHex(nodeCrypto.hash('sha256', concat(...report.measurements)));
}

describeCorpus('verifyDevice', CORPUS, (corpus) => {
  const single = [
    ['h100-550.90.07-full', 'gpu'],
    ['h100-545.00-no-fwid', 'gpu'],
    ['h100-535.86.09-rim-negative', 'gpu'],
    ['gb100-575.32-device', 'gpu'],
    ['gb20x-595.58.03-device', 'gpu'],
    ['ls10-96.10.55.00.01-full', 'switch'],
  ] as const;

  for (const provider of [nodeCrypto, portableCrypto]) {
    const name = provider === nodeCrypto ? 'node' : 'portable';
    test.each(single)(`%s (%s) verifies with the ${name} provider and gives its facts`, async (id, kind) => {
      const folder = new CaseFolder(corpus, id);
      const { facts } = folder.data;
      const device = await verifyDevice(folder.device(kind), folder.options({}, provider));
      expect(toHex(device.serial)).toBe(facts['leafSerialHex']);
      expect(measurementsDigest(device)).toBe(facts['measurementsSha256']);
      expect([...device.report.fields.keys()]).toEqual(facts['opaqueFieldIds']);
      expect(device.anchor.simulated).toBe(false);
    });
  }

  const gpus = single.flatMap(([id, kind]) => (kind === 'gpu' ? [id] : []));

  test.each(gpus)('%s has the GPU facts', async (id) => {
    const folder = new CaseFolder(corpus, id);
    const { facts } = folder.data;
    const { report, certifiedFirmwareId } = await verifyDevice(folder.device('gpu'), folder.options());
    if (report.kind !== 'gpu') throw new Error('no GPU report');
    expect(report.driverVersion).toBe(facts['driverVersion']);
    expect(report.vbiosVersion).toBe(facts['vbiosVersion']);
    expect([report.project, report.projectSku, report.chipSku]).toEqual([
      facts['project'],
      facts['projectSku'],
      facts['chipSku'],
    ]);
    expect(report.chipInfo ?? null).toBe(facts['chipInfo']);
    expect(report.nvdec0 ? 'ENABLED' : 'DISABLED').toBe(facts['nvdec0Status']);
    expect(report.mode).toBe('spt');
    expect(report.firmwareId ? toHex(report.firmwareId) : null).toBe(facts['fwidHex']);
    if (report.firmwareId) expect(certifiedFirmwareId).toEqual(report.firmwareId);
    expect(driverRimId(report)).toBe(facts['driverRimId']);
    expect(vbiosRimId(report)).toBe(facts['vbiosRimId']);
  });

  test('a switch states its BIOS version and that it is locked', async () => {
    const folder = new CaseFolder(corpus, 'ls10-96.10.55.00.01-full');
    const { report, bootRomSerial, chip } = await verifyDevice(folder.device('switch'), folder.options());
    expect(report).toMatchObject({ kind: 'switch', biosVersion: '96.10.55.00.01', locked: true });
    expect(chip).toBe('LS10');
    expect(toHex(bootRomSerial)).toBe(`50${String(folder.data.facts['devicePdi'])}`);
    expect(driverRimId(report)).toBeUndefined();
    expect(vbiosRimId(report)).toBe(folder.data.facts['biosRimId']);
  });

  const sets = [
    ['h100-570.86.10-pre-release-driver', 'gpu_evidence.json', 'gpu', 1, 'spt'],
    ['hgx-h100-590.12-four-gpus', 'gpu_evidence.json', 'gpu', 4, 'ppcie'],
    ['hgx-h100-ppcie-590.12', 'gpu_evidence.json', 'gpu', 8, 'ppcie'],
    ['hgx-h100-ppcie-590.12', 'switch_evidence.json', 'switch', 4, undefined],
    ['hgx-h200-570.124.06-no-ppcie', 'gpu_evidence.json', 'gpu', 8, 'spt'],
  ] as const;

  test.each(sets)('%s %s: every %s of %i verifies', async (id, file, kind, count, mode) => {
    const folder = new CaseFolder(corpus, id);
    const evidence = folder.devices(file, kind);
    const devices = await Promise.all(evidence.map((device) => verifyDevice(device, folder.options())));
    expect(devices).toHaveLength(count);
    const facts = (folder.data.deviceFacts ?? []).filter((fact) => fact['file'] === file);
    for (const [i, { report, serial }] of devices.entries()) {
      if (report.kind === 'gpu') expect(report.mode).toBe(mode);
      if (facts.length > 0) expect(BigInt(`0x${toHex(serial)}`).toString()).toBe(facts[i]?.['ueid']);
    }
  });

  test.each([
    ['bad-measurement-byte', 'device.signature: SIGNATURE_INVALID'],
    ['bad-signature-byte', 'device.signature: SIGNATURE_INVALID'],
    ['nonce-rewritten', 'device.signature: SIGNATURE_INVALID'],
    ['wrong-nonce', 'device.nonce: NONCE_MISMATCH'],
    ['responder-nonce-is-not-the-challenge', 'device.nonce: NONCE_MISMATCH'],
    ['truncated-by-one', 'device.format: MALFORMED'],
    ['one-byte-appended', 'device.format: MALFORMED'],
    ['chain-without-root', 'device.chain: UNTRUSTED_ROOT'],
    ['chain-order-swapped', 'device.chain: CERT_CHAIN_INVALID'],
  ])('h100-550.90.07-full, %s: %s', async (variant, refusal) => {
    const folder = new CaseFolder(corpus, 'h100-550.90.07-full');
    const change = folder.change(variant);
    const verifying = () => verifyDevice(folder.device('gpu', change), folder.options(change));
    expect(await refusalOf(verifying)).toBe(refusal);
  });

  test('ls10-96.10.55.00.01-full, bad-measurement-byte', async () => {
    const folder = new CaseFolder(corpus, 'ls10-96.10.55.00.01-full');
    const change = folder.change('bad-measurement-byte');
    const verifying = () => verifyDevice(folder.device('switch', change), folder.options(change));
    expect(await refusalOf(verifying)).toBe('device.signature: SIGNATURE_INVALID');
  });

  test('one zero byte after the signature is refused, not trimmed; trimmed, the report verifies', async () => {
    const folder = new CaseFolder(corpus, 'h100-580.95.05-trailing-zero');
    const stored = () => verifyDevice(folder.device('gpu'), folder.options());
    expect(await refusalOf(stored)).toBe('device.format: MALFORMED');
    const trimmed = folder.device('gpu', folder.change('trimmed'));
    const { report } = await verifyDevice(trimmed, folder.options());
    expect(report).toMatchObject({ driverVersion: '580.95.05', mode: 'spt' });
  });

  test('the chain of another device', async () => {
    const folder = new CaseFolder(corpus, 'h100-560.00-wrong-chain');
    const verifying = () => verifyDevice(folder.device('gpu'), folder.options());
    expect(await refusalOf(verifying)).toBe('device.signature: SIGNATURE_INVALID');
  });

  test('a chain that lacks one certificate; the complete one verifies', async () => {
    const folder = new CaseFolder(corpus, 'h100-545.00-bad-chain');
    const incomplete = folder.device('gpu', {}, 'certchain-incomplete.pem');
    expect(await refusalOf(() => verifyDevice(incomplete, folder.options()))).toBe(
      'device.chain: CERT_MISSING',
    );
    const complete = folder.device('gpu', {}, 'certchain.pem');
    expect(await refusalOf(() => verifyDevice(complete, folder.options()))).toBe('accepted');
  });

  test('forged evidence below a root with the names of NVIDIA', async () => {
    const folder = new CaseFolder(corpus, 'forged-h100-own-root');
    const verifying = () => verifyDevice(folder.device('gpu'), folder.options());
    expect(await refusalOf(verifying)).toBe('device.chain: UNTRUSTED_ROOT');
  });

  test('chains of two devices exchanged', async () => {
    const folder = new CaseFolder(corpus, 'hgx-h100-ppcie-590.12');
    const [first, second] = folder.devices('gpu_evidence.json', 'gpu');
    const exchanged = { ...first!, certificates: second!.certificates };
    const verifying = () => verifyDevice(exchanged, folder.options());
    expect(await refusalOf(verifying)).toBe('device.signature: SIGNATURE_INVALID');
  });

  describe('certificates', () => {
    const folder = new CaseFolder(corpus, 'h100-550.90.07-full');
    const evidence = folder.device('gpu');

    test('the older certificate of the same root key verifies', async () => {
      const [older] = pemCertificates(
        new CaseFolder(corpus, 'roots').text('nvidia-device-identity-ca-l1b.pem'),
      );
      const certificates = [...evidence.certificates.slice(0, 4), older!];
      expect(await refusalOf(() => verifyDevice({ ...evidence, certificates }, folder.options()))).toBe(
        'accepted',
      );
    });

    test.each([
      ['none', [], 'CERT_MISSING'],
      ['a certificate too many', [0, 1, 2, 3, 4, 4], 'CERT_CHAIN_INVALID'],
      ['the leaf twice', [0, 0, 1, 2, 3, 4], 'CERT_CHAIN_INVALID'],
      ['the boot ROM as leaf below two roots', [1, 2, 3, 4, 4], 'CERT_CHAIN_INVALID'],
      ['hundreds', Array.from({ length: 500 }, () => 0), 'CERT_CHAIN_INVALID'],
    ])('%s', async (_, keep, code) => {
      const changed = folder.device('gpu', { keep });
      expect(await refusalOf(() => verifyDevice(changed, folder.options()))).toBe(`device.chain: ${code}`);
    });

    test('the root of manifests does not verify devices', async () => {
      const options = folder.options();
      const anchors = options.anchors.map((anchor) =>
        anchor.role === 'nvidia-device' ? { ...anchor, role: 'nvidia-rim' as const } : anchor,
      );
      const verifying = () => verifyDevice(evidence, { ...options, anchors });
      expect(await refusalOf(verifying)).toBe('device.chain: UNTRUSTED_ROOT');
    });

    test('the certificates of a switch under a GPU report', async () => {
      const other = new CaseFolder(corpus, 'ls10-96.10.55.00.01-full').device('switch');
      const mixed = { ...evidence, certificates: other.certificates };
      const options = { ...folder.options(), now: Date.parse('2026-06-15T00:00:00Z') };
      expect(await refusalOf(() => verifyDevice(mixed, options))).toBe('device.chain: PRODUCT_MISMATCH');
    });

    test('before the certificates are valid', async () => {
      const verifying = () => verifyDevice(evidence, { ...folder.options(), now: 0 });
      expect(await refusalOf(verifying)).toBe('device.chain: CERT_EXPIRED');
    });

    test(
      'any flipped bit of a certificate is refused with a code',
      async () => {
        const property = fc.asyncProperty(fc.nat(4), fc.nat(), fc.nat(7), async (which, at, bit) => {
          const certificates = evidence.certificates.map((der) => Uint8Array.from(der));
          const changed = certificates[which]!;
          changed[at % changed.length]! ^= 1 << bit;
          const refusal = await refusalOf(() =>
            verifyDevice({ ...evidence, certificates }, folder.options()),
          );
          expect(refusal).toMatch(/^device\.(chain|signature): /);
        });
        await fc.assert(property, propertyRuns(75));
      },
      PROPERTY_TIMEOUT,
    );
  });

  test(
    'any flipped bit of a report is refused with a code',
    async () => {
      const folder = new CaseFolder(corpus, 'h100-550.90.07-full');
      const evidence = folder.device('gpu');
      const property = fc.asyncProperty(fc.nat(evidence.report.length - 1), fc.nat(7), async (at, bit) => {
        const report = Uint8Array.from(evidence.report);
        report[at]! ^= 1 << bit;
        expect(await refusalOf(() => verifyDevice({ ...evidence, report }, folder.options()))).toMatch(
          /^device\.(format|chain|signature): /,
        );
      });
      await fc.assert(property, propertyRuns(75));
    },
    PROPERTY_TIMEOUT,
  );

  test('a nonce of another length never matches', async () => {
    const folder = new CaseFolder(corpus, 'h100-550.90.07-full');
    for (const nonce of [new Uint8Array(0), fromHex(folder.data.expectedNonceHex).subarray(0, 31)]) {
      const verifying = () => verifyDevice(folder.device('gpu'), { ...folder.options(), nonce });
      expect(await refusalOf(verifying)).toBe('device.nonce: NONCE_MISMATCH');
    }
  });
});
