import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { DOMParser, type Element } from '@xmldom/xmldom';
import { concat, fromBase64, fromHex, fromUtf8, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import type { CryptoProvider, SignatureScheme } from '../../../attestation/crypto/provider.ts';
import { SIMULATED_ANCHORS, SIMULATED_MEASUREMENT } from '../../../attestation/evidence/simulatedAnchors.ts';
import { parseCertificate } from '../../../attestation/x509/certificate.ts';
import { spkiSha256, verifyChain, verifyIssued } from '../../../attestation/x509/chain.ts';
import { readElements, readOnly, TAG } from '../../../attestation/x509/der.ts';
import { rawSignature, schemeOf } from '../../../attestation/x509/signature.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import { issueSimulatedCrl } from '../../../enclave/collect/simulated/crl.ts';

const NOW = new Date('2026-11-21T12:34:56.789Z');
const PROVIDERS: readonly (readonly [string, CryptoProvider])[] = [
  ['node', nodeCrypto],
  ['portable', portableCrypto],
];
const P384: SignatureScheme = { kind: 'ecdsa', curve: 'P-384', hash: 'sha384' };
const NONCE = new Uint8Array(32).fill(0x5a);
const REPORT_DATA = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
const collector = await createSimulatedCollector({ gpus: 2, now: () => NOW });
const cpu = await collector.collectCpu(REPORT_DATA);
const devices = await collector.collectDevices(NONCE);
const collateral = await collector.collateral();

function anchorKeys(role: string): readonly string[] {
  return SIMULATED_ANCHORS.filter((anchor) => anchor.role === role).map((anchor) => anchor.spkiSha256);
}

async function expectChain(
  ders: readonly Uint8Array[],
  role: string,
  crypto: CryptoProvider,
  now = NOW.getTime(),
): Promise<void> {
  const chain = ders.map(parseCertificate);
  await verifyChain(chain, { crypto, now });
  expect(anchorKeys(role)).toEqual([spkiSha256(chain.at(-1)!, crypto)]);
}

describe('simulated anchors', () => {
  test('are all marked simulated, one per role', () => {
    expect(SIMULATED_ANCHORS.map(({ role }) => role)).toEqual(['amd-ark', 'nvidia-device', 'nvidia-rim']);
    expect(SIMULATED_ANCHORS.every(({ simulated }) => simulated)).toBe(true);
  });

  test('pin the launch measurement', () => {
    const digest = createHash('sha384').update('vouchsafe simulated launch').digest('hex');
    expect(SIMULATED_MEASUREMENT).toBe(digest);
  });
});

describe.each(PROVIDERS)('simulated chains with %s cryptography', (_, crypto) => {
  test('the chip leads to the simulated ARK', async () => {
    expect(cpu.certificates).toHaveLength(3);
    await expectChain(cpu.certificates, 'amd-ark', crypto);
  });

  test('each device leads to the simulated device root', async () => {
    for (const { certificates } of devices) {
      expect(certificates).toHaveLength(5);
      await expectChain(certificates, 'nvidia-device', crypto);
    }
  });

  test('each manifest signer leads to the simulated manifest root', async () => {
    for (const rim of collateral.rims.values()) {
      const certificates = keyInfoCertificates(fromUtf8(rim));
      expect(certificates).toHaveLength(4);
      await expectChain(certificates, 'nvidia-rim', crypto);
    }
  });

  test('a chip of another ASK is refused', async () => {
    const [vcek, ask] = cpu.certificates.map(parseCertificate);
    const foreign = parseCertificate(devices[0]!.certificates[3]!);
    await expect(verifyIssued(vcek!, foreign, crypto)).rejects.toMatchObject({ code: 'CERT_CHAIN_INVALID' });
    await expect(verifyIssued(vcek!, ask!, crypto)).resolves.toBeUndefined();
  });
});

describe('simulated SNP', () => {
  const reader = new DataView(cpu.report.buffer, cpu.report.byteOffset, cpu.report.byteLength);
  const vcek = parseCertificate(cpu.certificates[0]!);

  test('the report has the layout of version 5 on Genoa', () => {
    expect(cpu.report).toHaveLength(1184);
    expect(reader.getUint32(0, true)).toBe(5);
    expect(reader.getBigUint64(0x008, true)).toBe(0x30000n);
    expect(reader.getUint32(0x030, true)).toBe(0);
    expect(reader.getUint32(0x034, true)).toBe(1);
    expect(toHex(cpu.report.subarray(0x050, 0x090))).toBe(toHex(REPORT_DATA));
    expect(toHex(cpu.report.subarray(0x090, 0x0c0))).toBe(SIMULATED_MEASUREMENT);
    expect(toHex(cpu.report.subarray(0x188, 0x18a))).toBe('1911');
  });

  test('the certificate endorses chip and firmware level of the report', () => {
    const value = (arc: string) => vcek.extensions.get(`1.3.6.1.4.1.3704.1.${arc}`)!.value;
    const svns = ['3.1', '3.2', '3.3', '3.8'].map((arc) => toHex(value(arc)));
    const tcb = cpu.report.subarray(0x180, 0x188);
    expect(svns).toEqual([0, 1, 6, 7].map((i) => toHex(Uint8Array.of(0x02, 0x01, tcb[i]!))));
    expect(toHex(value('4'))).toBe(toHex(cpu.report.subarray(0x1a0, 0x1e0)));
    expect(toHex(value('2'))).toBe(toHex(concat(Uint8Array.of(0x16, 5), utf8('Genoa'))));
    expect(toHex(vcek.serial)).toBe('00');
    expect(vcek.notAfter - vcek.notBefore).toBeGreaterThan(6.9 * 365 * 86_400_000);
  });

  test.each(PROVIDERS)(
    'the signature verifies with %s cryptography, and not over other bytes',
    async (_, crypto) => {
      const scalar = (offset: number) => cpu.report.slice(offset, offset + 48).reverse();
      const signature = concat(scalar(0x2a0), scalar(0x2e8));
      const signed = cpu.report.slice(0, 0x2a0);
      expect(await crypto.verify(P384, vcek.spki, signed, signature)).toBe(true);
      signed[0x050]! ^= 1;
      expect(await crypto.verify(P384, vcek.spki, signed, signature)).toBe(false);
    },
  );

  test('debug, privilege level and chip id can be set', async () => {
    const chipId = new Uint8Array(64).fill(7);
    const other = await createSimulatedCollector({ gpus: 0, debug: true, vmpl: 2, chipId, now: () => NOW });
    const { report } = await other.collectCpu(REPORT_DATA);
    expect(report[0x00a]).toBe(0x0b);
    expect(report[0x030]).toBe(2);
    expect(toHex(report.subarray(0x1a0, 0x1e0))).toBe(toHex(chipId));
    expect(await other.collectDevices(NONCE)).toEqual([]);
  });

  test('each collector is another chip', async () => {
    const other = await createSimulatedCollector({ gpus: 0, now: () => NOW });
    const { report } = await other.collectCpu(REPORT_DATA);
    expect(toHex(report.subarray(0x1a0, 0x1e0))).not.toBe(toHex(cpu.report.subarray(0x1a0, 0x1e0)));
  });

  test.each([{ gpus: -1 }, { gpus: 1.5 }, { gpus: 65 }, { vmpl: 4 }, { chipId: new Uint8Array(63) }])(
    'refuses options %p',
    async (options) => {
      await expect(createSimulatedCollector(options)).rejects.toBeInstanceOf(RangeError);
    },
  );

  test('refuses report data and nonces of another length', async () => {
    await expect(collector.collectCpu(new Uint8Array(63))).rejects.toBeInstanceOf(RangeError);
    await expect(collector.collectDevices(new Uint8Array(31))).rejects.toBeInstanceOf(RangeError);
  });
});

describe('simulated revocation list', () => {
  test.each(PROVIDERS)('is signed by the simulated ARK, with %s cryptography', async (_, crypto) => {
    const [list, algorithm, signature] = sequenceOf(collateral.crls[0]!);
    const ark = parseCertificate(cpu.certificates[2]!);
    const scheme = schemeOf(algorithm!.encoded, ark.spki);
    const raw = rawSignature(scheme, signature!.content.subarray(1));
    expect(await crypto.verify(scheme, ark.spki, list!.encoded, raw)).toBe(true);
    expect(toHex(readElements(list!.content, 'list')[2]!.encoded)).toBe(toHex(ark.subjectName));
  });

  test('lists exactly the given serials', () => {
    const revoked = (list: Uint8Array) => readElements(sequenceOf(list)[0]!.content, 'list')[5]!;
    const entries = readElements(revoked(issueSimulatedCrl(NOW, [fromHex('020002')])).content, 'entries');
    expect(entries.map(({ content }) => toHex(readElements(content, 'entry')[0]!.content))).toEqual([
      '020002',
    ]);
    expect(revoked(issueSimulatedCrl(NOW, [])).tag).toBe(0xa0);
  });
});

describe('simulated GPU', () => {
  test('devices differ in leaf serial, device key and boot ROM', () => {
    const serials = devices.map(({ certificates }) =>
      certificates.slice(0, 2).map((der) => toHex(parseCertificate(der).serial)),
    );
    expect(new Set(serials.flat()).size).toBe(4);
    expect(serials.map(([, bootRom]) => bootRom!.slice(0, 2))).toEqual(['41', '41']);
  });

  test('the leaf names the chip and states no end of validity', () => {
    const leaf = parseCertificate(devices[0]!.certificates[0]!);
    expect(leaf.subject).toContain('CN=GH100 A01 GSP FMC LF');
    expect(leaf.notAfter).toBe(Date.UTC(9999, 11, 31, 23, 59, 59));
    const name = leaf.extensions.get('2.5.29.17')!.value;
    expect(fromUtf8(name.slice(-29))).toMatch(/^NVIDIA:GH100:[0-9A-F]{16}$/);
  });

  test('the report has the layout of later Hopper firmware', () => {
    const { opaque, blocks, nonce } = readReport(devices[0]!.report);
    expect(toHex(nonce)).toBe(toHex(NONCE));
    expect(blocks.map(({ index }) => index)).toEqual(Array.from({ length: 64 }, (_, i) => i + 1));
    expect([...opaque.keys()]).toEqual([6, 14, 15, 16, 17, 18, 19, 3, 4, 12, 13, 11, 20, 21, 34, 36]);
    expect(fromUtf8(opaque.get(3)!)).toBe('999.01.02\0');
    expect(toHex(opaque.get(36)!)).toBe('0100');
    const leaf = parseCertificate(devices[0]!.certificates[0]!);
    expect(toHex(leaf.extensions.get('2.23.133.5.4.1')!.value.slice(-48))).toBe(toHex(opaque.get(20)!));
  });

  test('a single device is in single passthrough', async () => {
    const single = await createSimulatedCollector({ now: () => NOW });
    const [device] = await single.collectDevices(NONCE);
    expect(toHex(readReport(device!.report).opaque.get(36)!)).toBe('0000');
  });

  test.each(PROVIDERS)(
    'the signature verifies with %s cryptography, and not over other bytes',
    async (_, crypto) => {
      const { report, certificates } = devices[1]!;
      const { spki } = parseCertificate(certificates[0]!);
      const signed = report.slice(0, -96);
      const signature = report.slice(-96);
      expect(await crypto.verify(P384, spki, signed, signature)).toBe(true);
      signed[4]! ^= 1;
      expect(await crypto.verify(P384, spki, signed, signature)).toBe(false);
    },
  );
});

describe('simulated manifests', () => {
  const rims = [...collateral.rims].map(([id, bytes]) => ({ id, text: fromUtf8(bytes) }));

  test('are named as the report names driver and VBIOS', () => {
    expect(rims.map(({ id }) => id)).toEqual([
      'NV_GPU_DRIVER_GH100_999.01.02',
      'NV_GPU_VBIOS_SIM0_0000_000_FF53494D01',
    ]);
    expect(
      rims.map(({ text }) => childElement(parseXml(text), 'Meta').getAttribute('colloquialVersion')),
    ).toEqual(['999.01.02', 'FF.53.49.4D.01']);
  });

  test.each(PROVIDERS)('digest and signature verify with %s cryptography', async (_, crypto) => {
    for (const { text } of rims) {
      const { canonical, signedInfo, digest, signature } = signedParts(text);
      expect(toHex(crypto.hash('sha384', utf8(canonical)))).toBe(toHex(digest));
      const { spki } = parseCertificate(keyInfoCertificates(text)[0]!);
      expect(await crypto.verify(P384, spki, utf8(signedInfo), signature)).toBe(true);
    }
  });

  test('judge disjoint indices, and each device measures one of their golden values', () => {
    const golden = rims.map(({ text }) => goldenValues(text));
    expect([...golden[0]!.keys()]).toEqual([7, ...Array.from({ length: 20 }, (_, i) => 21 + i)]);
    expect([...golden[1]!.keys()]).toEqual([0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]);
    for (const { report } of devices) {
      const { blocks } = readReport(report);
      for (const [index, values] of golden.flatMap((map) => [...map])) {
        expect(values).toContain(toHex(blocks[index]!.value));
      }
    }
  });
});

function sequenceOf(der: Uint8Array) {
  return readElements(readOnly(der, TAG.sequence, 'list').content, 'list');
}

function readReport(report: Uint8Array) {
  const reader = new ByteReader(report, 'report');
  expect(toHex(reader.take(4))).toBe('11e001ff');
  const nonce = reader.take(32);
  expect(toHex(reader.take(5))).toBe('0011600000');
  const count = reader.u8();
  const record = new ByteReader(reader.take(reader.u24le()), 'record');
  const blocks = Array.from({ length: count }, () => {
    const index = record.u8();
    expect(toHex(record.take(6))).toBe('01330001' + '3000');
    return { index, value: record.take(48) };
  });
  record.end();
  reader.take(32);
  const data = new ByteReader(reader.take(reader.u16le()), 'opaque');
  const opaque = new Map<number, Uint8Array>();
  while (data.remaining > 0) opaque.set(data.u16le(), data.take(data.u16le()));
  expect(reader.remaining).toBe(96);
  return { nonce, blocks, opaque };
}

function parseXml(text: string): Element {
  return new DOMParser().parseFromString(text, 'text/xml').documentElement!;
}

function childElements(parent: Element): readonly Element[] {
  return Array.from(parent.childNodes).filter((node) => node.nodeType === 1) as unknown as Element[];
}

function childElement(parent: Element, localName: string): Element {
  return childElements(parent).find((child) => child.localName === localName)!;
}

function keyInfoCertificates(text: string): readonly Uint8Array[] {
  const signature = childElement(parseXml(text), 'Signature');
  const data = childElement(childElement(signature, 'KeyInfo'), 'X509Data');
  return childElements(data).map((element) => fromBase64((element.textContent ?? '').replaceAll('\n', '')));
}

/** What inclusive canonicalization gives for a manifest that is already written in canonical form. */
function signedParts(text: string) {
  const signature = childElement(parseXml(text), 'Signature');
  const [start, end] = [text.indexOf('<ds:Signature '), text.indexOf('</ds:Signature>')];
  const [, content] = /<ds:SignedInfo>(.*)<\/ds:SignedInfo>/s.exec(text)!;
  const [, swid, prefixed] = /^<\w+ (xmlns="[^"]*") (xmlns:ns0="[^"]*" xmlns:ns2="[^"]*")/.exec(text)!;
  const ds = `xmlns:ds="${signature.namespaceURI ?? ''}"`;
  const reference = childElement(childElement(signature, 'SignedInfo'), 'Reference');
  return {
    canonical: text.slice(0, start) + text.slice(end + '</ds:Signature>'.length),
    signedInfo: `<ds:SignedInfo ${swid!} ${ds} ${prefixed!}>${content!}</ds:SignedInfo>`,
    digest: fromBase64(childElement(reference, 'DigestValue').textContent ?? ''),
    signature: fromBase64(childElement(signature, 'SignatureValue').textContent ?? ''),
  };
}

function goldenValues(text: string): ReadonlyMap<number, readonly string[]> {
  const namespace = 'http://www.w3.org/2001/04/xmlenc#sha384';
  const active = childElements(childElement(parseXml(text), 'Payload')).filter(
    (resource) => resource.getAttribute('active') === 'True',
  );
  return new Map(
    active.map((resource) => {
      const count = Number(resource.getAttribute('alternatives'));
      const values = Array.from({ length: count }, (_, i) => resource.getAttributeNS(namespace, `Hash${i}`)!);
      return [Number(resource.getAttribute('index')), values];
    }),
  );
}
