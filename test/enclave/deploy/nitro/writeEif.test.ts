import { createHash, createPublicKey, generateKeyPairSync, verify, X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { decode } from 'cborg';
import { toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { sigStructure } from '../../../../attestation/cose/sign1.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import type { EnclaveSigner } from '../../../../enclave/deploy/nitro/signature.ts';
import { writeEif, type EnclaveImage, type WrittenEif } from '../../../../enclave/deploy/nitro/writeEif.ts';
import { parseEif, type Eif } from '../../../../enclave/predict/nitro/eif.ts';
import { digestEnclaveParts, enclavePcrs } from '../../../../enclave/predict/nitro/pcrs.ts';
import { SECTIONS, mintEif } from '../../predict/nitro/mintedEif.ts';
import { inFolder } from '../../../support/folder.ts';
import { issueSigner } from './signers.ts';

const METADATA = { name: 'vouchsafe', version: '1.2.3', kernelVersion: '6.12' };
const IMAGE: EnclaveImage = {
  architecture: 'x86_64',
  kernel: utf8('kernel'),
  cmdline: 'reboot=k panic=30',
  ramdisks: [utf8('ramdisk 1'), utf8('ramdisk 2'), utf8('ramdisk 3')],
  metadata: METADATA,
};

interface Read {
  readonly file: Uint8Array;
  readonly eif: Eif;
  readonly written: WrittenEif;
}

const write = (image: Partial<EnclaveImage> = {}): Promise<Read> =>
  inFolder(async (folder) => {
    const path = join(folder, 'image.eif');
    const written = await writeEif(path, { ...IMAGE, ...image });
    const file = Uint8Array.from(await readFile(path));
    return { file, eif: parseEif(file), written };
  });

const sameHex = ({ written, eif }: Read): void => {
  const predicted = enclavePcrs(digestEnclaveParts(eif, nodeCrypto), nodeCrypto);
  for (const index of ['0', '1', '2'] as const) {
    expect(toHex(written.pcrs[index])).toBe(toHex(predicted[index]));
  }
};

describe('writeEif', () => {
  test('writes what the parser reads, with the registers that are predicted from it', async () => {
    const read = await write();
    expect(read.eif).toMatchObject({
      architecture: 'x86_64',
      kernel: IMAGE.kernel,
      cmdline: IMAGE.cmdline,
      ramdisks: IMAGE.ramdisks,
      signature: undefined,
    });
    sameHex(read);
    expect(read.written.pcrs).not.toHaveProperty('8');
    expect(read.written.bytes).toBe(read.file.length);
    expect(read.written.sha256).toBe(createHash('sha256').update(read.file).digest('hex'));
  });

  test('is the file that the test writes by the specification, but for two unused members', async () => {
    const { file, eif } = await write();
    const sections = SECTIONS.map(
      ([type, data]) => [type, type === 'metadata' ? eif.metadata : data] as const,
    );
    const minted = mintEif(sections);
    // Default memory and processors, and the checksum over them.
    const unused = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes).fill(0, 8, 24).fill(0, 544, 548);
    expect(unused(file)).toEqual(unused(minted));
  });

  test('metadata has the mandatory members, and nothing of the build machine', async () => {
    const { eif } = await write();
    expect(JSON.parse(Buffer.from(eif.metadata).toString())).toEqual({
      ImageName: 'vouchsafe',
      ImageVersion: '1.2.3',
      BuildMetadata: {
        BuildTime: '1970-01-01T00:00:00+00:00',
        BuildTool: 'vouchsafe',
        BuildToolVersion: '1.2.3',
        OperatingSystem: 'Linux',
        KernelVersion: '6.12',
      },
      DockerInfo: {},
      CustomMetadata: {},
    });
  });

  test('parts in files and parts in memory give the same bytes', async () => {
    const inMemory = await write();
    await inFolder(async (folder) => {
      const ramdisks = IMAGE.ramdisks.map((data, index) => ({ data, path: join(folder, String(index)) }));
      for (const { path, data } of ramdisks) await writeFile(path, data as Uint8Array);
      const files = ramdisks.map(({ path, data }) => ({ path, size: (data as Uint8Array).length }));
      expect((await write({ ramdisks: files })).file).toEqual(inMemory.file);
      const wrong = files.map(({ path }) => ({ path, size: 1 }));
      await expect(write({ ramdisks: wrong })).rejects.toMatchObject({ code: 'DEPLOY_PART_INVALID' });
    });
  });

  test.each<[string, Partial<EnclaveImage>]>([
    ['no RAM disk', { ramdisks: [] }],
    ['29 RAM disks', { ramdisks: Array.from({ length: 29 }, () => utf8('x')) }],
    ['a NUL in the command line', { cmdline: 'a\0b' }],
    ['too long a command line', { cmdline: 'a'.repeat(2048) }],
  ])('refuses %s', async (_name, image) => {
    await expect(write(image)).rejects.toMatchObject({ code: 'DEPLOY_OPTIONS_INVALID' });
  });

  test('says where it could not write', async () => {
    await expect(writeEif('/nowhere/image.eif', IMAGE)).rejects.toMatchObject({
      code: 'DEPLOY_OUTPUT_FAILED',
    });
  });
});

describe('a signed image', () => {
  let signer: EnclaveSigner;

  beforeAll(async () => {
    signer = await issueSigner('P-384');
  });

  const der = (): Uint8Array => new X509Certificate(signer.certificate).raw;

  test.each([
    ['P-256', 'sha256', -7],
    ['P-384', 'sha384', -35],
    ['P-521', 'sha512', -36],
  ] as const)(
    'with %s carries a COSE signature over PCR0 by the certificate',
    async (curve, hash, algorithm) => {
      const own = await issueSigner(curve);
      const { eif, written } = await write({ signer: own });
      const [pair, ...more] = decode(eif.signature!) as {
        signing_certificate: number[];
        signature: number[];
      }[];
      expect(more).toEqual([]);
      // AWS's tool writes them in this order.
      expect(Object.keys(pair!)).toEqual(['signing_certificate', 'signature']);
      const certificate = Buffer.from(pair!.signing_certificate).toString();
      expect(certificate).toBe(own.certificate);
      const [head, unprotected, payload, signature] = decode(Uint8Array.from(pair!.signature), {
        useMaps: true,
      }) as [Uint8Array, Map<unknown, unknown>, Uint8Array, Uint8Array];
      expect(decode(head, { useMaps: true })).toEqual(new Map([[1, algorithm]]));
      expect(unprotected.size).toBe(0);
      expect(Object.entries(decode(payload) as object)).toEqual([
        ['register_index', 0],
        ['register_value', [...written.pcrs[0]]],
      ]);
      const key = createPublicKey(
        new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'pem' }),
      );
      const signed = sigStructure(head, payload);
      expect(verify(hash, signed, { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
    },
  );

  test('has PCR8 of the certificate; the other registers are those of the unsigned one', async () => {
    const [plain, signed] = await Promise.all([write(), write({ signer })]);
    sameHex(signed);
    expect(signed.written.pcrs[0]).toEqual(plain.written.pcrs[0]);
    const certificate = nodeCrypto.hash('sha384', der());
    const digests = { ...digestEnclaveParts(signed.eif, nodeCrypto), certificate };
    expect(signed.written.pcrs[8]).toEqual(enclavePcrs(digests, nodeCrypto)[8]);
  });

  test('is not made with the certificate of another key, or with what is none', async () => {
    const other = await issueSigner('P-384');
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
      type: 'pkcs8',
      format: 'pem',
    });
    for (const wrong of [
      { ...signer, certificate: other.certificate },
      { ...signer, certificate: 'no certificate' },
      { ...signer, privateKey: 'no key' },
      { ...signer, privateKey: String(rsa) },
    ]) {
      await expect(write({ signer: wrong })).rejects.toMatchObject({ code: 'DEPLOY_SIGNING_FAILED' });
    }
  });
});
