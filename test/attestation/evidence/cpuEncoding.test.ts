import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { encodeDc, type Dc } from '../../../attestation/cbor/deterministic.ts';
import { encodeCpu, parseCpu } from '../../../attestation/evidence/cpuEncoding.ts';
import { PLATFORMS, type Platform } from '../../../attestation/evidence/evidence.ts';
import { refusalOf } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const LABEL = 'vouchsafe/cpu/2';
const BYTES = Uint8Array.of(1, 2, 3);
const PCRS = new Map<number, Dc>([
  [0, new Uint8Array(32)],
  [23, new Uint8Array(32).fill(1)],
]);
const QUOTE: readonly Dc[] = [BYTES, BYTES, 'sha256', PCRS, [BYTES]];

/** Every part that some platform has. */
const PART: Readonly<Record<string, Dc>> = {
  report: BYTES,
  certificates: [BYTES, BYTES],
  quote: BYTES,
  tpm: QUOTE,
};
const PARTS: Readonly<Record<Platform, readonly string[]>> = {
  snp: ['report', 'certificates'],
  tdx: ['report'],
  nitro: ['report'],
  'azure-snp': ['report', 'certificates', 'tpm'],
  'azure-tdx': ['report', 'quote', 'tpm'],
  'gcp-vtpm': ['tpm'],
  nitrotpm: ['report'],
  tpm: ['tpm'],
};

function encode(platform: string, parts: readonly string[], changes: Readonly<Record<string, Dc>> = {}) {
  const members = parts.map((name): [string, Dc] => [name, { ...PART, ...changes }[name]!]);
  return encodeDc([LABEL, platform, new Map<string, Dc>(members)]);
}

const codeOf = (bytes: Uint8Array) => refusalOf(() => parseCpu(bytes))?.code;

describe.each(PLATFORMS)('%s', (platform) => {
  const own = PARTS[platform];

  test('has its parts and is encoded as it was', () => {
    const bytes = encode(platform, own);
    const evidence = parseCpu(bytes);
    expect(Object.keys(evidence).sort()).toEqual(['platform', ...own].sort());
    expect(toHex(encodeCpu(evidence))).toBe(toHex(bytes));
  });

  test.each(own)('without its %s is refused', (part) => {
    const rest = own.filter((name) => name !== part);
    expect(codeOf(encode(platform, rest))).toBe('EVIDENCE_INCOMPLETE');
  });

  test('with a part of another platform is refused', () => {
    for (const part of Object.keys(PART).filter((name) => !own.includes(name))) {
      expect(codeOf(encode(platform, [...own, part]))).toBe('MALFORMED');
    }
    const unknown = new Map<string, Dc>([
      ...own.map((name): [string, Dc] => [name, PART[name]!]),
      ['x', BYTES],
    ]);
    expect(codeOf(encodeDc([LABEL, platform, unknown]))).toBe('MALFORMED');
  });

  test.each(own)('with a %s of another type is refused', (part) => {
    for (const value of ['text', 7, false, new Map(), []] as readonly Dc[]) {
      if (part === 'certificates' && Array.isArray(value)) continue;
      expect(codeOf(encode(platform, own, { [part]: value }))).toBe('MALFORMED');
    }
  });
});

describe('the frame', () => {
  const genuine = encode('snp', PARTS.snp);

  test.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(), 'MALFORMED'],
    ['bytes behind the end', Uint8Array.of(...genuine, 0), 'MALFORMED'],
    ['an end that is cut', genuine.slice(0, -1), 'MALFORMED'],
    ['the label of version 1', encodeDc(['vouchsafe/cpu/1', 'snp', new Map()]), 'MALFORMED'],
    ['no label', encodeDc(['snp', new Map()]), 'MALFORMED'],
    ['a member more', encodeDc([LABEL, 'snp', new Map(), 0]), 'MALFORMED'],
    ['a map in place of the array', encodeDc(new Map([[0, LABEL]])), 'MALFORMED'],
    ['no parts', encodeDc([LABEL, 'snp', []]), 'MALFORMED'],
    ['an unknown platform', encodeDc([LABEL, 'sev-es', new Map()]), 'PLATFORM_NOT_ALLOWED'],
    [
      'the name of a member of every object',
      encodeDc([LABEL, 'constructor', new Map()]),
      'PLATFORM_NOT_ALLOWED',
    ],
    ['a platform in capitals', encodeDc([LABEL, 'SNP', new Map()]), 'PLATFORM_NOT_ALLOWED'],
    ['a number for a platform', encodeDc([LABEL, 1, new Map()]), 'MALFORMED'],
  ])('with %s is refused', (_name, bytes, code) => {
    expect(codeOf(bytes)).toBe(code);
  });

  test('an unknown platform is named, at the check of platforms', () => {
    const refusal = refusalOf(() => parseCpu(encodeDc([LABEL, 'sev-es', new Map()])));
    expect(refusal).toMatchObject({ check: 'cpu.platform', message: expect.stringContaining('sev-es') });
  });

  test('that is not canonical is refused', () => {
    // The first byte string, three bytes long, with its length in two bytes.
    const at = Buffer.from(genuine).indexOf(Buffer.of(0x43, 1, 2, 3));
    const longer = Buffer.concat([genuine.subarray(0, at), Buffer.of(0x58, 3), genuine.subarray(at + 1)]);
    expect(codeOf(longer)).toBe('NOT_CANONICAL');
    // Keys in another order.
    const [report, certificates] = ['report', 'certificates'].map((name) => encodeDc(name));
    const body = [report!, encodeDc(BYTES), certificates!, encodeDc([BYTES])];
    const swapped = Buffer.concat([
      Buffer.of(0x83),
      encodeDc(LABEL),
      encodeDc('snp'),
      Buffer.of(0xa2),
      ...body.slice(2),
      ...body.slice(0, 2),
    ]);
    expect(codeOf(swapped)).toBe('NOT_CANONICAL');
    const twice = Buffer.concat([
      Buffer.of(0x83),
      encodeDc(LABEL),
      encodeDc('tdx'),
      Buffer.of(0xa2),
      ...body.slice(0, 2),
      ...body.slice(0, 2),
    ]);
    expect(codeOf(twice)).toBe('MALFORMED');
  });
});

describe('certificates', () => {
  test('up to eight are read, more refused', () => {
    const chain = (length: number) => ({ certificates: Array.from({ length }, () => BYTES) });
    expect(codeOf(encode('snp', PARTS.snp, chain(8)))).toBeUndefined();
    expect(codeOf(encode('snp', PARTS.snp, chain(0)))).toBeUndefined();
    expect(codeOf(encode('snp', PARTS.snp, chain(9)))).toBe('MALFORMED');
    expect(codeOf(encode('snp', PARTS.snp, { certificates: ['text'] }))).toBe('MALFORMED');
  });
});

describe('a TPM quote', () => {
  const withMember = (index: number, value: Dc) =>
    encode('tpm', PARTS.tpm, { tpm: QUOTE.with(index, value) });

  test.each<[string, Uint8Array, string]>([
    ['a member fewer', encode('tpm', PARTS.tpm, { tpm: QUOTE.slice(1) }), 'MALFORMED'],
    ['a member more', encode('tpm', PARTS.tpm, { tpm: [...QUOTE, 0] }), 'MALFORMED'],
    ['an unknown bank', withMember(2, 'sm3_256'), 'UNSUPPORTED'],
    ['registers in an array', withMember(3, [BYTES]), 'MALFORMED'],
    ['a register by name', withMember(3, new Map([['0', BYTES]])), 'MALFORMED'],
    ['register -1', withMember(3, new Map([[-1, BYTES]])), 'MALFORMED'],
    ['register 24', withMember(3, new Map([[24, BYTES]])), 'MALFORMED'],
    ['a number in a register', withMember(3, new Map([[0, 7]])), 'MALFORMED'],
    [
      'nine certificates',
      withMember(
        4,
        Array.from({ length: 9 }, () => BYTES),
      ),
      'MALFORMED',
    ],
  ])('with %s is refused', (_name, bytes, code) => {
    expect(codeOf(bytes)).toBe(code);
  });

  test.each(['sha1', 'sha256', 'sha384', 'sha512'])('of a %s bank is read', (bank) => {
    expect(parseCpu(withMember(2, bank))).toMatchObject({ tpm: { pcrs: { hash: bank } } });
  });

  test('without registers or certificates is read: its room decides', () => {
    expect(
      codeOf(encode('tpm', PARTS.tpm, { tpm: [BYTES, BYTES, 'sha256', new Map(), []] })),
    ).toBeUndefined();
  });
});

test(
  'a flipped bit is refused, or is read as other evidence that encodes to exactly those bytes',
  () => {
    const flip = fc.tuple(fc.constantFrom(...PLATFORMS), fc.nat(4095), fc.nat(7));
    const property = fc.property(flip, ([platform, offset, bit]) => {
      const bytes = encode(platform, PARTS[platform]);
      bytes[offset % bytes.length]! ^= 1 << bit;
      if (codeOf(bytes) === undefined) expect(toHex(encodeCpu(parseCpu(bytes)))).toBe(toHex(bytes));
    });
    fc.assert(property, propertyRuns(300));
  },
  PROPERTY_TIMEOUT,
);
