import { beforeAll, describe, expect, test } from '@jest/globals';
import { concat, toBase64, toBase64Url, utf8 } from '../../../attestation/bytes/bytes.ts';
import { EXIT } from '../../../src/cli/exit.ts';
import { inspectBytes, inspectionJson } from '../../../src/cli/inspect.ts';
import { KIND_NAMES } from '../../../attestation/recognition/ownKinds.ts';
import { EVIDENCE_NAMES } from '../../../attestation/recognition/evidenceKinds.ts';
import { genoaReport, mintAuthority } from '../../support/snpAuthority.ts';
import {
  dstackLog,
  FIRMWARE_RECORD,
  runtimeRecord,
  tcg2Log,
  BOOT,
} from '../../attestation/evidence/bootlog/mint.ts';
import { printed, said, unreadable } from './inspectOutput.ts';
import { mintSamples, oldReport, pem, type Sample } from './inspectSamples.ts';

/** Milliseconds: RSA keys on a busy machine. */
const MINTING_TIMEOUT = 120_000;

let samples: readonly Sample[];
let byName: ReadonlyMap<string, Sample>;
beforeAll(async () => {
  samples = await mintSamples();
  byName = new Map(samples.map((sample) => [sample.name, sample]));
}, MINTING_TIMEOUT);

function sample(name: string): Uint8Array {
  const found = byName.get(name);
  if (!found) throw new Error(`no sample is called ${name}`);
  return found.bytes;
}

const show = (bytes: Uint8Array) => said(inspectBytes(bytes, 'file'));

interface Json {
  readonly kind: string;
  readonly verified: boolean;
  readonly encoding?: string;
  readonly sections: readonly ({ readonly title: string } & Readonly<Record<string, unknown>>)[];
}

function json(bytes: Uint8Array): Json {
  return JSON.parse(inspectionJson(inspectBytes(bytes, 'file'))) as Json;
}

describe('every kind of file', () => {
  test('has a sample, and no two kinds one name', () => {
    const kinds = new Set(samples.map(({ kind }) => kind));
    const known = [...Object.keys(KIND_NAMES), ...Object.keys(EVIDENCE_NAMES)].filter(
      (kind) => kind !== 'unknown',
    );
    expect([...new Set(known)].filter((kind) => !kinds.has(kind as Sample['kind']))).toEqual([]);
    const names = Object.values({ ...KIND_NAMES, ...EVIDENCE_NAMES });
    expect(new Set(names).size).toBe(names.length);
  });

  test('is recognised by its content and says what it holds', () => {
    for (const { name, kind, bytes, says } of samples) {
      const inspection = inspectBytes(bytes, 'file');
      expect([name, inspection.kind]).toEqual([name, kind]);
      const text = said(inspection);
      expect([name, says.filter((part) => !text.includes(part))]).toEqual([name, []]);
      expect([name, /.*unreadable.*/.exec(text)?.[0]]).toEqual([name, undefined]);
    }
  });

  test('is readable in 80 columns, under a heading that says that nothing is verified', () => {
    for (const { name, bytes } of samples) {
      const text = printed(inspectBytes(bytes, 'file'));
      expect(text).toContain('nothing here is verified');
      const longest = text.split('\n').toSorted((a, b) => b.length - a.length)[0] ?? '';
      expect([name, longest.length > 80 ? longest : '']).toEqual([name, '']);
    }
  });

  test('has names that leave room for values, and a value for each', () => {
    const rows = samples.flatMap(({ bytes }) =>
      inspectBytes(bytes, 'file').sections.flatMap((section) => section.rows),
    );
    expect(rows.filter(([name]) => name.length > 24 || name === 'title' || name === 'entries')).toEqual([]);
    expect(rows.filter(([, value]) => value === '')).toEqual([]);
  });

  test('is the same for programs', () => {
    for (const { name, kind, bytes } of samples) {
      const parsed = json(bytes);
      expect([name, parsed.kind, parsed.verified]).toEqual([name, kind, false]);
      const { sections } = inspectBytes(bytes, 'file');
      expect(parsed.sections.map(({ title }) => title)).toEqual(sections.map(({ title }) => title));
    }
  });

  test('cut short says what it looks like and exits with 4', () => {
    const shown = [
      'extended report',
      'AK certificate',
      'policy',
      'SHA-1 log',
      'TCG2 log',
      'CCEL',
      'chain in PEM',
      'chain in DER',
      'attestation answer',
    ];
    // What tells them apart is in the part that is gone.
    const others = ['OCSP error', 'report and chain'];
    for (const { name, kind, bytes } of samples.filter((each) => !shown.includes(each.name))) {
      const refused = unreadable(bytes.subarray(0, Math.floor(bytes.length * 0.2)));
      expect([name, refused?.exit]).toEqual([name, EXIT.unreadable]);
      const named = { ...KIND_NAMES, ...EVIDENCE_NAMES }[kind];
      const isText = bytes[0] === 0x7b || name.endsWith('base64') || name.endsWith('hex');
      // What our own kinds are told by may be in the part that is gone.
      if (!isText && !others.includes(name) && Object.hasOwn(EVIDENCE_NAMES, kind))
        expect([name, refused?.message]).toEqual([
          name,
          expect.stringContaining(`looks like this: ${named}`),
        ]);
    }
  });
});

describe('AMD', () => {
  test('a report of version 2 has both splits, with a certificate beside it one', () => {
    const both =
      'on Milan or Genoa bootloader 10, tee 0, snp 27, microcode 200; on Turin fmc 10, bootloader 0';
    expect(show(oldReport())).toContain(both);
    expect(show(sample('document of azure-snp'))).not.toContain('on Turin');
  });

  test('a chip of an unknown product has both splits', () => {
    const report = genoaReport();
    report[0x188] = 0x1b;
    expect(show(report)).toContain('unknown (family 0x1b');
    expect(show(report)).toContain('on Turin fmc 10');
  });

  test.each([
    [16, 'SMT (bit 16)  allowed'],
    [18, 'migration (bit 18)  allowed'],
    [19, 'debug (bit 19)  ALLOWED: the host may read and write guest memory'],
    [20, 'single socket (bit 20)  required'],
    [21, 'CXL (bit 21)  allowed'],
    [22, 'AES-256-XTS (bit 22)  required'],
    [23, 'RAPL off (bit 23)  required'],
    [24, 'ciphertext hiding (24)  required'],
    [25, 'page swap off (bit 25)  required'],
  ])('guest policy bit %i is named', (bit, says) => {
    const [one, zero] = [bit, 17].map((position) => {
      const report = genoaReport();
      new DataView(report.buffer).setBigUint64(0x08, (1n << 17n) | (1n << BigInt(position)), true);
      return show(report);
    });
    expect(one).toContain(says);
    expect(zero).not.toContain(says);
  });

  test('platform bits without a name are listed by number', () => {
    const report = genoaReport();
    new DataView(report.buffer).setBigUint64(0x40, 0x925n, true);
    const text = show(report);
    expect(text).toContain('bits without a name  8, 11');
    expect(text).toContain('alias check (bit 5)  complete');
  });

  test('a report by no key, for the host, of a masked chip says so', () => {
    const report = genoaReport();
    const view = new DataView(report.buffer);
    view.setUint32(0x30, 0xffffffff, true);
    view.setUint32(0x48, (7 << 2) | 2, true);
    report.fill(0, 0x1a0, 0x1e0);
    const text = show(report);
    for (const says of [
      'none (the report is not signed)',
      'host (the host asked',
      '(masked)',
      'chip key masked  yes',
    ]) {
      expect(text).toContain(says);
    }
  });

  test('mitigation vectors are numbers of bits', () => {
    const report = genoaReport();
    new DataView(report.buffer).setBigUint64(0x1f8, 0xbn, true);
    expect(show(report)).toContain('launch mitigations  0xb: bits 0, 1, 3');
    expect(show(oldReport())).toContain('launch mitigations  not stated');
  });
});

describe('boot logs', () => {
  test('an event whose digest is not of its data says so, and the log is shown all the same', () => {
    const [first, ...rest] = BOOT;
    const text = show(tcg2Log([{ ...first!, measured: utf8('other') }, ...rest]));
    expect(text).toContain('EV_S_CRTM_VERSION, digest NOT of the data: Firmware 1');
  });

  test('every event has an entry with all its digests', () => {
    const { sections } = json(sample('TCG2 log'));
    const { entries } = sections.find(({ title }) => title === 'events') as unknown as {
      entries: Record<string, string>[];
    };
    expect(entries).toHaveLength(BOOT.length + 2);
    const separator = entries.find(({ type, register }) => type === 'EV_SEPARATOR' && register === 'PCR 7');
    expect(separator).toMatchObject({
      sha1: '9069ca78e7450a285173431b3e52c5c25299e473',
      sha256: 'df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119',
      payload: 'digest of the data',
      text: 'end of the firmware phase',
    });
  });

  test('a digest that dstack left out is said to be made', () => {
    const bare = { ...runtimeRecord({ name: 'app-id', payload: Uint8Array.of(1) }), digest: undefined };
    expect(show(dstackLog([FIRMWARE_RECORD, bare]))).toContain('digest left out, made of the data');
  });
});

describe('certificates', () => {
  test('a block that is none does not hide the others', () => {
    const mixed = concat(
      sample('chain in PEM'),
      utf8(pem('PRIVATE KEY', Uint8Array.of(1, 2, 3))),
      utf8(pem('CERTIFICATE', Uint8Array.of(0x30, 0))),
    );
    const text = show(mixed);
    expect(text).toContain('certificate 3');
    expect(text).toContain('a PEM block of PRIVATE KEY is not shown');
    expect(text).toContain('element 5');
    expect(text).not.toContain('AQID');
  });

  test(
    'of a long revocation list the first entries are shown',
    async () => {
      const serials = Array.from({ length: 25 }, (_, i) => `0${(i + 16).toString(16)}5`);
      const crl = await (await mintAuthority()).issueCrl({ revoked: serials });
      const { sections } = json(crl);
      expect(sections[0]).toMatchObject({ 'revoked entries': '25', 'not shown': '15 more entries' });
      expect(sections[0]!['revoked']).toHaveLength(10);
    },
    MINTING_TIMEOUT,
  );
});

describe('text instead of bytes', () => {
  test('hex and base64 of either alphabet, in lines, are read as what they are', () => {
    const quote = sample('td15 quote v5');
    const texts = [toBase64(quote), toBase64Url(quote), Buffer.from(quote).toString('hex').toUpperCase()];
    for (const text of texts) {
      const lines = utf8(`${text.replaceAll(/.{76}/g, '$&\r\n')}\n`);
      expect(json(lines)).toMatchObject({ kind: 'tdx-quote', encoding: expect.stringMatching(/hex|base64/) });
      expect(printed(inspectBytes(lines, 'file'))).toContain('written as');
    }
  });
});

describe('hostile text', () => {
  const HOSTILE = '\u001b[2J\u009b1A\u202eevil\u2066\u2028';

  test('is printed without what a terminal acts on', () => {
    const log = dstackLog([runtimeRecord({ name: HOSTILE, payload: utf8(HOSTILE) })]);
    const inspection = inspectBytes(log, 'file');
    expect(printed(inspection)).not.toMatch(/[\p{Cf}\u2028]|(?!\n)\p{Cc}/u);
    const written = inspectionJson(inspection);
    expect(written).not.toMatch(/[\p{Cf}\u2028]|(?!\n)\p{Cc}/u);
    const { sections } = JSON.parse(written) as Json;
    expect(JSON.stringify(sections)).toContain(JSON.stringify(HOSTILE).slice(1, -1));
  });

  test('without end is cut for people', () => {
    const text = JSON.stringify({ version: 'vouchsafe/policy/1', text: 'x'.repeat(3_000_000) });
    const inspection = inspectBytes(utf8(text), 'file');
    expect(printed(inspection).length).toBeLessThan(20_000);
    expect(printed(inspection).replaceAll(/\s+/g, ' ')).toContain('more characters, see --json');
    expect(inspectionJson(inspection).length).toBeGreaterThan(3_000_000);
  });
});

describe('what is no known file says what it is', () => {
  test.each([
    ['', 'it is empty'],
    ['hello', '5 bytes that begin with «hello»'],
    ['{"a":1,"b":2}', 'it is a JSON object of a, b'],
    ['{}', 'it is a JSON object of no members'],
    ['[1,2]', 'it is a JSON array of 2 values'],
    ['{"a":', 'it looks like JSON and is none'],
    [pem('PRIVATE KEY', new Uint8Array(40)), 'it holds a private key, of which nothing is shown'],
    [pem('EC PRIVATE KEY', new Uint8Array(40)), 'it holds a private key, of which nothing is shown'],
    [pem('CMS', new Uint8Array(40)), 'it is PEM of CMS'],
    [`{"pem":${JSON.stringify(pem('CERTIFICATE', new Uint8Array(4)))}}`, 'it is a JSON object of pem'],
    ['[['.repeat(200_000), 'it looks like JSON and is none'],
  ])('%#', (text, says) => {
    const refused = unreadable(utf8(text));
    expect(refused?.exit).toBe(EXIT.unreadable);
    expect(refused?.message).toContain(says);
  });

  test('a CBOR map without the label of a bundle is no bundle', () => {
    expect(unreadable(Uint8Array.of(0xa1, 1, 2))?.message).toContain('3 bytes that begin with a10102');
  });

  test.each([
    [
      'SNP report',
      (bytes: Uint8Array) => bytes.subarray(0, 1183),
      'AMD SEV-SNP report',
      '1183 bytes, not 1184',
    ],
    [
      'SNP report',
      (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, i) => (i === 0 ? 6 : byte)),
      'AMD SEV-SNP report',
      'version 6',
    ],
    [
      'td15 quote v5',
      (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, i) => (i === 0 ? 9 : byte)),
      'Intel TDX quote',
      'version 9',
    ],
    ['sgx quote v3', (bytes: Uint8Array) => bytes.subarray(0, 500), 'Intel SGX quote', 'bytes wanted'],
    [
      'Nitro document',
      (bytes: Uint8Array) => concat(bytes, Uint8Array.of(0)),
      'AWS Nitro',
      '1 bytes follow the end',
    ],
    [
      'TPM quote',
      (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, i) => (i === 5 ? 0x17 : byte)),
      'TPM 2.0 quote',
      'certification',
    ],
    ['VCEK in DER', (bytes: Uint8Array) => bytes.subarray(0, 200), 'X.509 certificates', 'DER'],
    ['CRL', (bytes: Uint8Array) => bytes.subarray(0, 200), 'X.509 certificate revocation list', 'DER'],
  ])('a damaged %s (%#)', (name, damage, looksLike, why) => {
    const refused = unreadable(damage(sample(name)));
    expect(refused?.exit).toBe(EXIT.unreadable);
    expect(refused?.message).toContain(`looks like this: ${looksLike}`);
    expect(refused?.message).toContain(why);
    expect(refused?.advice).toBeDefined();
  });
});
