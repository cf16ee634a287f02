import { beforeAll, describe, expect, test } from '@jest/globals';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { readChain } from '../../../../attestation/evidence/dcap/certificationData.ts';
import { MAX_QUOTE_BYTES, parseQuote } from '../../../../attestation/evidence/dcap/quote.ts';
import { parseSgxQuote } from '../../../../attestation/evidence/sgx/parse.ts';
import { parseTdxQuote } from '../../../../attestation/evidence/tdx/parse.ts';
import {
  certificationData,
  enclaveReport,
  issueQuote,
  mintDcapAuthority,
  pemChain,
  tdReport,
  type Machine,
  type QuoteOptions,
} from '../../../support/dcapAuthority.ts';
import { refusalOf } from '../../../support/refusal.ts';

/** Signature, key; from there on version 4 has certification data of type 6. */
const SIGNATURE_AND_KEY = 128;
const TDX_BODY_END = 48 + 584;

let machine: Machine;

beforeAll(async () => {
  machine = await (await mintDcapAuthority()).mintMachine();
});

const issue = (options?: QuoteOptions) => issueQuote(machine, options);
const codeOf = (bytes: Uint8Array) => refusalOf(() => parseQuote(bytes))?.code;

function edited(quote: Uint8Array, edit: (view: DataView) => void): Uint8Array {
  const copy = quote.slice();
  edit(new DataView(copy.buffer));
  return copy;
}

describe('parseQuote accepts', () => {
  test.each([
    [3, 'sgx', 48 + 384],
    [4, 'sgx', 48 + 384],
    [5, 'sgx', 54 + 384],
    [4, 'td10', TDX_BODY_END],
    [5, 'td10', 54 + 584],
    [5, 'td15', 54 + 648],
  ] as const)('version %d with a body of %s', async (version, kind, signedLength) => {
    const quote = parseQuote(await issue({ version, kind }));
    expect(quote).toMatchObject({ version, bodyKind: kind, tee: kind === 'sgx' ? 'sgx' : 'tdx' });
    expect(quote.signedBytes).toHaveLength(signedLength);
    expect(quote.signature.certification.type).toBe(5);
    expect(readChain(quote.signature.certification)).toHaveLength(3);
  });

  test('bytes after the quote: guests hand it out in a fixed buffer', async () => {
    const quote = await issue();
    const padded = concat(quote, new Uint8Array(3000), Uint8Array.of(1, 2, 3));
    expect(parseQuote(padded).signature).toEqual(parseQuote(quote).signature);
  });

  test('a chain in PEM with and without a NUL behind it, and in concatenated DER', async () => {
    const expected = machine.chain.map((der) => expect.objectContaining({ der }) as unknown);
    for (const data of [pemChain(machine.chain), pemChain(machine.chain, ''), concat(...machine.chain)]) {
      const { signature } = parseQuote(await issue({ certification: { type: 5, data } }));
      expect(readChain(signature.certification)).toEqual(expected);
    }
  });

  test.each([1, 2, 3, 4, 7])('certification data of type %d, which carries no chain', async (type) => {
    const data = new Uint8Array(404).fill(9);
    const { signature } = parseQuote(await issue({ certification: { type, data } }));
    expect(signature.certification).toEqual({ type, data });
    expect(readChain(signature.certification)).toBeUndefined();
  });

  test('authentication data of any length', async () => {
    for (const length of [0, 1000]) {
      const { signature } = parseQuote(await issue({ authData: new Uint8Array(length) }));
      expect(signature.qeAuthData).toHaveLength(length);
    }
  });
});

describe('parseQuote refuses', () => {
  test('a quote cut anywhere', async () => {
    for (const quote of [
      await issue(),
      await issue({ kind: 'td15' }),
      await issue({ version: 3, kind: 'sgx' }),
    ]) {
      for (let length = 0; length < quote.length; length += 7) {
        expect(codeOf(quote.subarray(0, length))).toBe('MALFORMED');
      }
    }
  });

  test('a buffer beyond the bound', async () => {
    expect(codeOf(concat(await issue(), new Uint8Array(MAX_QUOTE_BYTES)))).toBe('MALFORMED');
  });

  test.each([
    ['version 2', 0, 2],
    ['version 6', 0, 6],
    ['an EPID key', 2, 0],
    ['a P-384 key', 2, 3],
    ['an unknown key type', 2, 9],
    ['an unknown TEE', 4, 0x82],
    ['another QE vendor', 12, 0],
  ])('%s', async (_name, offset, value) => {
    const quote = edited(await issue(), (view) => {
      view.setUint16(offset, value, true);
    });
    expect(codeOf(quote)).toBe('UNSUPPORTED');
  });

  test('names P-384 where it refuses it', async () => {
    const quote = edited(await issue(), (view) => {
      view.setUint16(2, 3, true);
    });
    expect(refusalOf(() => parseQuote(quote))?.message).toContain('P-384');
  });

  test('a TEE type in version 3, which reserves it', async () => {
    const quote = edited(await issue({ version: 3, kind: 'sgx' }), (view) => {
      view.setUint32(4, 0x81, true);
    });
    expect(codeOf(quote)).toBe('UNSUPPORTED');
  });

  test.each([
    ['an unknown body type', 48, 4, 'UNSUPPORTED'],
    ['the body type of an enclave in a TDX quote', 48, 1, 'MALFORMED'],
    ['the body type of TD 1.0 with the size of TD 1.5', 48, 2, 'MALFORMED'],
    ['a body size that is not that of its type', 50, 647, 'MALFORMED'],
    ['a TD in a quote of SGX', 4, 0, 'MALFORMED'],
  ])('%s in version 5', async (_name, offset, value, code) => {
    const quote = edited(await issue({ kind: 'td15' }), (view) => {
      view.setUint16(offset, value, true);
    });
    expect(codeOf(quote)).toBe(code);
  });

  test('signature data with bytes left over, or longer than the buffer', async () => {
    const quote = await issue();
    const size = new DataView(quote.buffer).getUint32(TDX_BODY_END, true);
    const longer = edited(concat(quote, new Uint8Array(1)), (view) => {
      view.setUint32(TDX_BODY_END, size + 1, true);
    });
    expect(codeOf(longer)).toBe('MALFORMED');
    for (const stated of [size + 1, 0xffffffff, size - 1, 0]) {
      const other = edited(quote, (view) => {
        view.setUint32(TDX_BODY_END, stated, true);
      });
      expect(codeOf(other)).toBe('MALFORMED');
    }
  });

  test('certification data with bytes left over inside', async () => {
    const quote = await issue();
    const type = TDX_BODY_END + 4 + SIGNATURE_AND_KEY;
    const authLength = type + 6 + 384 + 64;
    for (const offset of [type + 2, authLength, authLength + 2 + 32 + 2]) {
      const shorter = edited(quote, (view) => {
        view.setUint8(offset, view.getUint8(offset) - 1);
      });
      expect(codeOf(shorter)).toBeDefined();
    }
  });

  test('version 4 without the report of the quoting enclave', async () => {
    const quote = edited(await issue(), (view) => {
      view.setUint16(TDX_BODY_END + 4 + SIGNATURE_AND_KEY, 5, true);
    });
    expect(codeOf(quote)).toBe('UNSUPPORTED');
  });

  test.each([
    [0, 'UNSUPPORTED'],
    [8, 'UNSUPPORTED'],
    [6, 'MALFORMED'],
  ])('certification data of type %d inside type 6', async (type, code) => {
    const data = certificationData(5, pemChain(machine.chain));
    expect(codeOf(await issue({ certification: { type, data } }))).toBe(code);
  });

  test('a quoting enclave with reserved bytes that are not zero', async () => {
    for (const offset of [21, 96, 160, 262]) {
      const quote = await issue({
        editQe: (view) => {
          view.setUint8(offset, 1);
        },
      });
      expect(codeOf(quote)).toBe('MALFORMED');
    }
  });
});

describe('readChain refuses', () => {
  const chainCode = (data: Uint8Array) => refusalOf(() => readChain({ type: 5, data }))?.code;
  const text = (value: string) => new TextEncoder().encode(value);

  test('no certificate, more than three, and text beside them', () => {
    const { chain } = machine;
    expect(chainCode(new Uint8Array())).toBe('CERT_MISSING');
    expect(chainCode(pemChain([...chain, chain[0]!]))).toBe('MALFORMED');
    expect(chainCode(concat(...chain, chain[0]!))).toBe('MALFORMED');
    expect(chainCode(concat(text('note\n'), pemChain(chain)))).toBe('MALFORMED');
    expect(chainCode(concat(pemChain(chain), text('note')))).toBe('MALFORMED');
    expect(chainCode(concat(pemChain(chain), Uint8Array.of(0xff)))).toBe('MALFORMED');
    expect(chainCode(pemChain([chain[0]!.subarray(1)]))).toBe('MALFORMED');
  });
});

describe('bodies', () => {
  test('an enclave is no TD, and a TD no enclave', async () => {
    const [enclave, td] = [await issue({ kind: 'sgx' }), await issue()];
    expect(refusalOf(() => parseTdxQuote(enclave))?.code).toBe('MALFORMED');
    expect(refusalOf(() => parseSgxQuote(td))?.code).toBe('MALFORMED');
  });

  test('TD 1.0 and TD 1.5 by their offsets', async () => {
    const body = tdReport('td15', (view) => {
      for (let i = 0; i < 4; i++) view.setUint8(328 + 48 * i, i + 1);
      view.setUint8(584, 0x71);
      view.setUint8(600, 0x72);
      view.setBigUint64(120, 0x8000000010000000n, true);
    });
    const { report } = parseTdxQuote(await issue({ kind: 'td15', body }));
    expect(report.rtmrs.map((rtmr) => rtmr[0])).toEqual([1, 2, 3, 4]);
    expect(report.tdAttributes).toBe(0x8000000010000000n);
    expect(report.teeTcbSvn2?.[0]).toBe(0x71);
    expect(report.mrServiceTd?.[0]).toBe(0x72);
    expect(report.reportData).toEqual(new Uint8Array(64).fill(0x5a));
    const { report: older } = parseTdxQuote(await issue());
    expect(older).toMatchObject({ kind: 'td10', teeTcbSvn2: undefined, mrServiceTd: undefined });
  });

  test('an enclave by its offsets', async () => {
    const body = enclaveReport((view) => {
      view.setUint32(16, 0x01020304, true);
      view.setUint8(20, 0x21);
      view.setUint8(192, 0xc1);
      view.setUint16(260, 9, true);
    });
    const { report } = parseSgxQuote(await issue({ kind: 'sgx', body }));
    expect(report).toMatchObject({
      miscSelect: 0x01020304,
      cetAttributes: 0x21,
      flags: 5n,
      xfrm: 0xe7n,
      isvProdId: 7,
      isvSvn: 3,
      configSvn: 9,
    });
    expect(report.configId[0]).toBe(0xc1);
  });
});
