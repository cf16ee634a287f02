import { beforeAll, describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { nitroPolicySchema } from '../../../../attestation/policy/nitro.ts';
import { PredictError } from '../../../../enclave/predict/errors.ts';
import {
  digestEnclaveParts,
  enclavePcrs,
  nitroPolicyPart,
  parentPcrs,
  type EnclavePcrs,
} from '../../../../enclave/predict/nitro/pcrs.ts';
import { cpuFailures, judgeDocument, mintDocument, NO_PLATFORM } from '../../../support/evidenceDocument.ts';
import { registers } from '../../../support/nitroAuthority.ts';
import { mintNitro, type NitroMachine } from '../../../support/platforms.ts';

const PARTS = {
  kernel: utf8('kernel'),
  cmdline: 'reboot=k panic=30',
  ramdisks: [utf8('ramdisk 1'), utf8('ramdisk 2'), utf8('ramdisk 3')],
};
const CERTIFICATE = nodeCrypto.hash('sha384', utf8('certificate'));

const hexOf = (pcrs: EnclavePcrs): Record<string, string> =>
  Object.fromEntries(Object.entries(pcrs).map(([index, value]) => [index, toHex(value)]));

const predicted = (): EnclavePcrs => enclavePcrs(digestEnclaveParts(PARTS, nodeCrypto), nodeCrypto);

describe('registers of an image', () => {
  test('are those of the formula of the format, computed apart with hashlib', () => {
    const digests = { ...digestEnclaveParts(PARTS, nodeCrypto), certificate: CERTIFICATE };
    expect(hexOf(enclavePcrs(digests, nodeCrypto))).toEqual({
      0: 'bb15937d50c323768b8a1552ea9dbb6d84bd6aae2e2e66f9249e83c8da246ab3f427701e570f238dcef8c4cf15fbac3c',
      1: '7f209d30faa37d54164081652744ee0444e6d521e8f2b6677b5d9e3636d2e316e9476000bba7254a157d9038d7942355',
      2: '23ab27fbb867d6e04864f2b47c9eab5bfd646ec132bb87c8726748acf8d380e4011aa626db619b6728a7de2a616ca634',
      8: 'e2ad58e7a1a9fdb1dcd72ae5858372974416919245e567ea8f717937e8b914f644320b0f88dcfca2d7a83b5ee6c832dd',
    });
  });

  test('one RAM disk alone leaves PCR2 with what published single-disk images have', () => {
    const one = { ...PARTS, ramdisks: PARTS.ramdisks.slice(0, 1) };
    const pcrs = enclavePcrs(digestEnclaveParts(one, nodeCrypto), nodeCrypto);
    expect(toHex(pcrs[2])).toBe(
      '21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a',
    );
    expect(toHex(pcrs[0])).toBe(toHex(pcrs[1]));
  });

  test('are the same in a page', () => {
    const inPage = enclavePcrs(digestEnclaveParts(PARTS, portableCrypto), portableCrypto);
    expect(hexOf(inPage)).toEqual(hexOf(predicted()));
  });

  test.each([
    ['kernel', { kernel: utf8('another') }, ['0', '1']],
    ['command line', { cmdline: 'reboot=k' }, ['0', '1']],
    ['first RAM disk', { ramdisks: [utf8('x'), ...PARTS.ramdisks.slice(1)] }, ['0', '1']],
    ['last RAM disk', { ramdisks: [...PARTS.ramdisks.slice(0, 2), utf8('x')] }, ['0', '2']],
    [
      'order of RAM disks',
      { ramdisks: [PARTS.ramdisks[0]!, PARTS.ramdisks[2]!, PARTS.ramdisks[1]!] },
      ['0', '2'],
    ],
  ])('another %s changes exactly its own', (_name, change, expected) => {
    const changed = hexOf(enclavePcrs(digestEnclaveParts({ ...PARTS, ...change }, nodeCrypto), nodeCrypto));
    const before = hexOf(predicted());
    expect(Object.keys(before).filter((index) => changed[index] !== before[index])).toEqual(expected);
  });

  test('without a RAM disk, or from a digest of another hash, there are none', () => {
    expect(() => digestEnclaveParts({ ...PARTS, ramdisks: [] }, nodeCrypto)).toThrow(PredictError);
    const short = { ...digestEnclaveParts(PARTS, nodeCrypto), boot: new Uint8Array(32) };
    expect(() => enclavePcrs(short, nodeCrypto)).toThrow(PredictError);
  });
});

describe('registers of the parent instance', () => {
  /** Examples of AWS's user guide, «Where to get an enclave's measurements». */
  test('are those of the published examples', () => {
    const parent = { roleArn: 'arn:aws:iam::123456789012:role/Webserver', instanceId: 'i-1234567890abcdef0' };
    expect(hexOf(parentPcrs(parent, nodeCrypto))).toEqual({
      3: '78fce75db17cd4e0a3fb8dad3ad128ca5e77edbb2b2c7f75329dccd99aa5f6ef4fc1f1a452e315b9e98f9e312e6921e6',
      4: '08f996b5d43e047a9eb51e7f548bfee7e164fd7dc8f65541f2ac09d6545ac812719327281c401a67a10fcba87ae79ce0',
    });
  });

  test.each([
    { roleArn: 'Webserver' },
    { roleArn: 'arn:aws:iam::123456789012:user/Webserver' },
    { roleArn: 'arn:aws:iam::123456789012:role/Webserver ' },
    { instanceId: '1234567890abcdef0' },
    { instanceId: 'i-1234567890ABCDEF0' },
  ])('%j is refused', (parent) => {
    expect(() => parentPcrs(parent, nodeCrypto)).toThrow(
      expect.objectContaining({ code: 'PROFILE_INVALID' }),
    );
  });

  test('what is not said has no value', () => {
    expect(parentPcrs({}, nodeCrypto)).toEqual({});
  });
});

describe('the verifier under a predicted policy', () => {
  let enclave: NitroMachine;

  beforeAll(async () => {
    enclave = await mintNitro();
  });

  const common = { moduleIds: 'any', maximumAgeSeconds: 300, debug: 'refused' } as const;

  async function judge(policyOf: EnclavePcrs, seen: EnclavePcrs) {
    const nitro = nitroPolicySchema.parse({ ...common, ...nitroPolicyPart('release 1', policyOf) });
    const pcrs = registers(16);
    for (const [index, value] of Object.entries(seen)) pcrs.set(Number(index), value);
    const document = await mintDocument((reportData) => enclave.mint({ user_data: reportData, pcrs }));
    return judgeDocument(document, { ...enclave, cpu: { ...NO_PLATFORM, nitro } });
  }

  test('accepts an enclave of the image, and names the release', async () => {
    const verdict = await judge(predicted(), predicted());
    expect(cpuFailures(verdict)).toEqual([]);
    expect(verdict.checks.find(({ id }) => id === 'cpu.measurement')).toMatchObject({ result: 'pass' });
    expect(verdict.checks.find(({ id }) => id === 'cpu.measurement')?.reason).toContain('release 1');
  });

  test('accepts it with parent and certificate named as well', async () => {
    const all = {
      ...enclavePcrs({ ...digestEnclaveParts(PARTS, nodeCrypto), certificate: CERTIFICATE }, nodeCrypto),
      ...parentPcrs({ instanceId: 'i-1234567890abcdef0' }, nodeCrypto),
    };
    expect(cpuFailures(await judge(all, all))).toEqual([]);
    expect(cpuFailures(await judge(all, predicted()))).toEqual(['cpu: cpu.measurement MEASUREMENT_MISMATCH']);
  });

  test('refuses one whose application differs in a byte, and says which register', async () => {
    const other = { ...PARTS, ramdisks: [PARTS.ramdisks[0]!, utf8('ramdisk 2'), utf8('ramdisk 4')] };
    const seen = enclavePcrs(digestEnclaveParts(other, nodeCrypto), nodeCrypto);
    const verdict = await judge(predicted(), seen);
    expect(cpuFailures(verdict)).toEqual(['cpu: cpu.measurement MEASUREMENT_MISMATCH']);
    const { reason } = verdict.checks.find(({ id }) => id === 'cpu.measurement')!;
    expect(reason).toContain('PCR2');
    expect(reason).not.toContain('PCR1 is');
  });
});
