import {
  existsSync,
  mkdtempSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { encodeBundle, parseBundle } from '../../../attestation/bundle/bundle.ts';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../../attestation/collateral.ts';
import { encodeDocument, parseDocument } from '../../../attestation/evidence/document.ts';
import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import { encodeCollateralFile, parseCollateralFile } from '../../../attestation/bundle/collateralFile.ts';
import {
  CHIP_ID,
  generateChipKeys,
  genoaReport,
  mintAuthority,
  type SnpAuthority,
} from '../../support/snpAuthority.ts';
import { issueBundle, makeWorld, type World } from '../../support/world.ts';
import { issueQuote, mintDcapAuthority } from '../../support/dcapAuthority.ts';
import { mintHclReport } from '../../support/hclReport.ts';
import { mintNitroAuthority } from '../../support/nitroAuthority.ts';
import { encodeError, revoked } from '../../support/ocspAuthority.ts';
import { startTestService } from '../client/service.ts';
import { FMSPC, mintIntel, pem, qeIdentity, rimAnswer, tcbInfo, vcekPath } from '../collateral/minted.ts';
import {
  mintChain,
  ocspService,
  statusesOf,
  type MintedChain,
  type OcspService,
} from '../collateral/responder.ts';
import { sends, startVendors, type VendorServer } from '../collateral/server.ts';
import { vouchsafe, type Ran } from './program.ts';

const DAY_MS = 86_400_000;
const CRL_PATH = '/vcek/v1/Genoa/crl';
const VCEK_PATH = vcekPath('genoa', CHIP_ID, Uint8Array.of(10, 0, 0, 0, 0, 0, 27, 200));

let root: string;
let folder: string;
let authority: SnpAuthority;
let world: World;
let vcek: Uint8Array;
let crl: Uint8Array;
let chain: MintedChain;
let statuses: readonly (readonly [string, Uint8Array])[];
let ocsp: OcspService;
let vendors: VendorServer;
let count = 0;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'vouchsafe-collateral-'));
  [authority, world] = await Promise.all([mintAuthority(), makeWorld()]);
  vcek = await authority.issueVek(await generateChipKeys());
  // In date for the clock of this machine, which is the program's.
  const inDate = {
    thisUpdate: new Date(Date.now() - DAY_MS),
    nextUpdate: new Date(Date.now() + 90 * DAY_MS),
  };
  crl = await authority.issueCrl(inDate);
  chain = mintChain();
  const thisUpdate = Date.now() - 3_600_000;
  statuses = [...chain.statuses({ thisUpdate }), ...statusesOf(undefined, { thisUpdate })];
});
afterAll(() => {
  rmSync(root, { recursive: true });
});

beforeEach(async () => {
  folder = join(root, String(count++));
  mkdirSync(folder);
  ocsp = ocspService(statuses);
  vendors = await startVendors({
    '/': ocsp.answer,
    [VCEK_PATH]: sends('application/pkix-cert', vcek),
    '/vcek/v1/Genoa/cert_chain': sends('application/x-pem-file', pem(authority.ask, authority.ark)),
    [CRL_PATH]: sends('application/pkix-crl', crl),
    ...Object.fromEntries(
      [...world.collateral.rims].map(([id, xml]) => [
        `/v1/rim/${id}`,
        sends('application/json', rimAnswer(id, xml)),
      ]),
    ),
  });
});

const file = (name: string) => join(folder, name);

function write(name: string, content: Uint8Array | string): string {
  writeFileSync(file(name), content);
  return file(name);
}

/** Never without addresses on this machine. */
function fetchIt(args: readonly string[], out = file('out.collateral')): Promise<Ran> {
  const options = ['--kds', '--pccs', '--rim-service', '--ocsp-responder'];
  const addresses = options.flatMap((option) => [option, vendors.url]);
  return vouchsafe(['collateral', 'fetch', ...args, '--out', out, '--cache', file('cache'), ...addresses]);
}

function saved(name = 'out.collateral') {
  return parseCollateralFile(new Uint8Array(readFileSync(file(name))));
}

/** A document whose hardware nobody knows to be simulated. */
function realDocument(): Uint8Array {
  const { keyset, statement, devices } = parseDocument(world.vouching.head.encoded);
  const cpu = { platform: 'snp', report: genoaReport(), certificates: [] } as const;
  const real = devices.map((device) => ({ ...device, certificates: chain.certificates }));
  return encodeDocument({ keyset, statement, cpu, devices: real });
}

interface FetchJson {
  readonly file: string | null;
  readonly gaps: readonly string[];
  readonly items: readonly { id: string; status: string; origin?: string; code?: string; until?: string }[];
}

describe('fetch', () => {
  test('saves what a raw report needs, and says so', async () => {
    const { code, stdout, stderr } = await fetchIt([write('report.bin', genoaReport())]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^saved .*out\.collateral: 3 statements, \d+ bytes\n$/);
    expect(stderr.match(/✓/g)).toHaveLength(3);
    const { certificates, crls } = saved();
    expect(certificates.map((der) => Buffer.from(der))).toEqual(
      [vcek, authority.ask, authority.ark].map((der) => Buffer.from(der)),
    );
    expect(crls).toHaveLength(1);
  });

  test('the same again is the same file, from the cache', async () => {
    const report = write('report.bin', genoaReport());
    await fetchIt([report], file('first'));
    const asked = vendors.asked.length;
    const { code, stderr } = await fetchIt([report], file('second'));
    expect([code, vendors.asked.length]).toEqual([0, asked]);
    expect(stderr).toContain('from the cache');
    expect(readFileSync(file('second'))).toEqual(readFileSync(file('first')));
  });

  test('offline the cache is all there is', async () => {
    const report = write('report.bin', genoaReport());
    const miss = await fetchIt([report, '--offline']);
    expect(miss.code).toBe(3);
    expect(miss.stderr).toContain('not-cached');
    expect(existsSync(file('out.collateral'))).toBe(false);
    await fetchIt([report]);
    const asked = vendors.asked.length;
    expect((await fetchIt([report, '--offline'])).code).toBe(0);
    expect(vendors.asked).toHaveLength(asked);
  });

  test('of a document, an attestation answer or a bundle', async () => {
    const document = realDocument();
    const bundle = parseBundle((await issueBundle(world)).bundle);
    const answer = {
      format: 'vouchsafe/attestation/1',
      hardware: 'hardware',
      document: Buffer.from(document).toString('base64url'),
      digest: '00'.repeat(32),
      nonce: { value: '00'.repeat(32), index: 0, count: 1, path: [] },
      collateral: 'oA',
    };
    const paths = [
      write('document.cbor', document),
      write('attestation.json', JSON.stringify(answer)),
      write('bundle.cbor', encodeBundle({ ...bundle, cited: document, covering: undefined })),
    ];
    for (const path of paths) {
      expect((await fetchIt([path])).code).toBe(0);
      expect(saved().rims).toEqual(world.collateral.rims);
      expect(saved().ocspResponses).toHaveLength(6);
    }
  });

  test('of an Intel platform, from a caching service', async () => {
    const intel = await mintIntel();
    const until = Date.now() + 20 * DAY_MS - (Date.now() % 1000);
    const chained = (header: string) => ({ [header]: intel.chain });
    const routes = {
      ...intel.routes,
      [`/tdx/certification/v4/tcb?fmspc=${FMSPC.toUpperCase()}`]: sends(
        'application/json',
        tcbInfo({ nextUpdate: until }),
        chained('TCB-Info-Issuer-Chain'),
      ),
      '/tdx/certification/v4/qe/identity': sends(
        'application/json',
        qeIdentity('TD_QE', until),
        chained('SGX-Enclave-Identity-Issuer-Chain'),
      ),
      '/sgx/certification/v4/pckcrl?ca=platform&encoding=der': sends(
        'application/pkix-crl',
        await intel.platformCa.crl(until),
        { 'SGX-PCK-CRL-Issuer-Chain': encodeURIComponent(pem(intel.platformCa.der, intel.root.der)) },
      ),
      '/sgx/certification/v4/rootcacrl': sends(
        'application/pkix-crl',
        Buffer.from(await intel.root.crl(until)).toString('hex'),
      ),
    };
    for (const [path, answer] of Object.entries(routes)) vendors.routes.set(path, answer);
    const { code } = await fetchIt(['--fmspc', FMSPC, '--pck-ca', 'platform']);
    expect(code).toBe(0);
    expect([saved().tcbInfos.length, saved().qeIdentities.length, saved().crls.length]).toEqual([1, 1, 2]);
  });

  test('of a live service whose hardware is simulated there is nothing to fetch', async () => {
    const service = await startTestService();
    try {
      const { code, stdout, stderr } = await fetchIt([service.url]);
      expect(code).toBe(3);
      expect(stdout).toBe('nothing was saved\n');
      expect(stderr).toContain('CPU is simulated');
      expect(service.requests).toEqual(['/v1/attestation']);
      expect(vendors.asked).toEqual([]);
    } finally {
      await service.stop();
    }
  });

  test('into a folder it has a name of its own', async () => {
    await fetchIt([write('report.bin', genoaReport())], folder);
    expect(saved('collateral.cbor').crls).toHaveLength(1);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('as JSON', async () => {
    const { stdout } = await fetchIt([write('report.bin', genoaReport()), '--json']);
    const { file: path, items, gaps } = JSON.parse(stdout) as FetchJson;
    expect([path, gaps]).toEqual([file('out.collateral'), []]);
    expect(items.map(({ status, origin }) => `${status} ${origin ?? ''}`)).toEqual([
      'ok network',
      'ok network',
      'ok network',
    ]);
    expect(items[2]).toMatchObject({ id: 'amd/crl/genoa', state: 'in date' });
  });
});

describe('the statuses of certificates', () => {
  const gpu = () => write('gpu.bin', parseDocument(world.vouching.head.encoded).devices[0]!.report);
  const withChain = () => [gpu(), '--chain', write('chain.pem', pem(...chain.certificates))];
  const bootRomSerial = () => statuses[0]![0];

  test('of a device report come with its chain, those of manifests after these', async () => {
    const { code, stderr } = await fetchIt(withChain());
    expect(code).toBe(0);
    expect(saved().rims.size).toBe(2);
    const all = statuses.map(([, response]) => toHex(response));
    const found = saved().ocspResponses.map(toHex);
    expect(found).toHaveLength(6);
    expect(found).toEqual(expect.arrayContaining(all.slice(0, 3)));
    expect(all).toEqual(expect.arrayContaining(found));
    expect(stderr).toMatch(
      /✓ OCSP status of .*stranger boot ROM, serial 41[0-9a-f]+, good,\s+fetched, until 2/,
    );
    expect(vendors.asked.indexOf('/')).toBeGreaterThan(
      vendors.asked.findLastIndex((path) => path.includes('/rim/')),
    );
  });

  test('a chain may be DER, in files of one certificate each', async () => {
    const files = chain.certificates.map((der, i) => write(`${i}.der`, der));
    expect((await fetchIt([gpu(), '--chain', ...files])).code).toBe(0);
  });

  test('without a chain there is a gap, and with --no-ocsp none', async () => {
    const bare = await fetchIt([gpu()]);
    expect([bare.code, saved().rims.size, saved().ocspResponses.length]).toEqual([3, 2, 3]);
    expect(bare.stderr).toContain('--chain');
    const without = await fetchIt([...withChain(), '--no-ocsp'], file('without'));
    expect([without.code, saved('without').ocspResponses, ocsp.asked.length]).toEqual([0, [], 3]);
  });

  test('of a request to NVIDIA’s attestation service', async () => {
    const { report } = parseDocument(world.vouching.head.encoded).devices[0]!;
    const request = {
      nonce: '5a'.repeat(32),
      arch: 'HOPPER',
      evidence_list: [
        {
          evidence: Buffer.from(report).toString('base64'),
          certificate: Buffer.from(pem(...chain.certificates)).toString('base64'),
        },
      ],
    };
    expect((await fetchIt([write('request.json', JSON.stringify(request))])).code).toBe(0);
    expect(saved().ocspResponses).toHaveLength(6);
  });

  test('revoked is said, and kept for the verifier', async () => {
    const thisUpdate = Date.now() - 60_000;
    for (const [serial, response] of chain.statuses({ thisUpdate, status: revoked(thisUpdate, 1) })) {
      ocsp.responses.set(serial, response);
    }
    const { code, stderr, stdout } = await fetchIt([...withChain(), '--json']);
    expect([code, saved().ocspResponses.length]).toEqual([0, 6]);
    expect(stderr).toMatch(/! OCSP status of [^]*revoked\s+since/);
    const says = (JSON.parse(stdout) as { items: { says?: string }[] }).items.flatMap(
      (item) => item.says ?? [],
    );
    expect(says.filter((status) => status === 'good')).toHaveLength(3);
    expect(says.filter((status) => status.startsWith('revoked since'))).toHaveLength(3);
  });

  test('a responder that does not speak for an issuer, and one that does not speak now', async () => {
    const serial = bootRomSerial();
    ocsp.responses.delete(serial);
    const unknown = await fetchIt([...withChain(), '--no-cache']);
    expect([unknown.code, unknown.stdout]).toEqual([3, 'nothing was saved\n']);
    expect(unknown.stderr).toContain('unauthorized');
    const MALFORMED_REQUEST = 1;
    ocsp.responses.set(serial, encodeError(MALFORMED_REQUEST));
    expect((await fetchIt([...withChain(), '--no-cache'])).code).toBe(4);
  });

  test('are kept until they end', async () => {
    await fetchIt(withChain());
    expect((await fetchIt([...withChain(), '--offline'])).code).toBe(0);
    expect(ocsp.asked).toHaveLength(6);
  });

  test('show lists responder, statuses and window', async () => {
    await fetchIt(withChain());
    const { stdout } = await vouchsafe(['collateral', 'show', file('out.collateral')]);
    expect(stdout).toMatch(/OCSP response .*OCSP responder\n\s+status\s+good: serial 41/);
    expect(stdout).toMatch(/state\s+in date: issued 1 hour ago, ends in 22 hours/);
    const json = await vouchsafe(['collateral', 'show', file('out.collateral'), '--json']);
    const { statements } = JSON.parse(json.stdout) as { statements: { kind: string; statuses?: object[] }[] };
    const responses = statements.filter(({ kind }) => kind === 'OCSP response');
    expect(responses).toHaveLength(6);
    expect(responses[0]!.statuses).toEqual([
      expect.objectContaining({ serial: bootRomSerial(), status: 'good', state: 'in date' }),
    ]);
  });
});

describe('of raw evidence', () => {
  /** Entries of GUID, offset and length, an empty one, and the certificates (GHCB specification). */
  function hostTable(certificates: Readonly<Record<string, Uint8Array>>): Uint8Array {
    const entries = Object.entries(certificates);
    const head = Buffer.alloc(24 * (entries.length + 1));
    let offset = head.length;
    for (const [i, [guid, der]] of entries.entries()) {
      head.write(guid, 24 * i, 'hex');
      head.writeUInt32LE(offset, 24 * i + 16);
      head.writeUInt32LE(der.length, 24 * i + 20);
      offset += der.length;
    }
    return Buffer.concat([head, ...Object.values(certificates)]);
  }

  test('an extended report brings its certificates', async () => {
    const table = hostTable({
      '63da758de6644564adc5f4b93be8accd': vcek,
      '4ab7b379bbac4fe4a02f05aef327c782': authority.ask,
      c0b406a4a803495297433fb6014cd0ae: authority.ark,
    });
    const { code } = await fetchIt([write('extended.bin', Buffer.concat([genoaReport(), table]))]);
    expect([code, vendors.asked]).toEqual([0, [CRL_PATH]]);
  });

  test('a report beside its certificates, a response of the firmware, a paravisor’s report', async () => {
    const certificates = write('all.pem', pem(vcek, authority.ask, authority.ark));
    expect((await fetchIt([write('report.bin', genoaReport()), '--chain', certificates])).code).toBe(0);
    expect(vendors.asked).toEqual([CRL_PATH]);
    const response = new Uint8Array(4096);
    new DataView(response.buffer).setUint32(4, 1184, true);
    response.set(genoaReport(), 32);
    for (const bytes of [response, mintHclReport({ hardwareReport: genoaReport() })]) {
      expect((await fetchIt([write('wrapped.bin', bytes)])).code).toBe(0);
      expect(saved().certificates).toHaveLength(3);
    }
  });

  test('a quote, also as hex', async () => {
    const quote = await issueQuote(await (await mintDcapAuthority()).mintMachine());
    for (const content of [quote, toHex(quote)]) {
      const { stdout } = await fetchIt([write('quote', content), '--partial', '--json']);
      expect((JSON.parse(stdout) as FetchJson).items.map(({ id }) => id)).toEqual([
        'intel/tcb-info/tdx/00906ed50000',
        'intel/qe-identity/tdx',
        'intel/pck-crl/platform',
        'intel/root-crl',
      ]);
    }
  });

  test('what brings everything along needs nothing', async () => {
    const document = await (await mintNitroAuthority()).mint({ user_data: utf8('hello') });
    const { code, stdout } = await fetchIt([write('nitro.cbor', document)]);
    expect(code).toBe(0);
    expect(stdout).toContain('0 statements');
    expect(vendors.asked).toEqual([]);
  });

  test('what is no evidence is misuse', async () => {
    for (const path of [write('a.crl', crl), write('a.pem', pem(vcek)), write('tcb.json', tcbInfo())]) {
      expect((await fetchIt([path])).code).toBe(64);
    }
    const args = [write('document.cbor', realDocument()), '--chain', write('chain.pem', pem(vcek))];
    expect((await fetchIt(args)).code).toBe(64);
    expect((await fetchIt([write('report.bin', genoaReport()), '--chain', write('noise', 'x')])).code).toBe(
      4,
    );
  });
});

describe('what goes wrong', () => {
  test('one missing statement saves nothing, unless asked otherwise', async () => {
    vendors.routes.delete(CRL_PATH);
    const report = write('report.bin', genoaReport());
    write('out.collateral', 'an older file');
    const whole = await fetchIt([report]);
    expect([whole.code, whole.stdout]).toEqual([3, 'nothing was saved\n']);
    expect(whole.stderr).toContain('not-found');
    expect(readFileSync(file('out.collateral'), 'utf8')).toBe('an older file');
    const partial = await fetchIt([report, '--partial']);
    expect([partial.code, saved().certificates.length, saved().crls.length]).toEqual([3, 3, 0]);
  });

  test('a service that fails is unreachable', async () => {
    vendors.routes.set(CRL_PATH, { status: 403 });
    expect((await fetchIt([write('report.bin', genoaReport())])).code).toBe(4);
  });

  test('a certificate of another chip is named', async () => {
    const other = await authority.issueVek(await generateChipKeys(), {
      extensions: { '4': new Uint8Array(64).fill(9) },
    });
    vendors.routes.set(VCEK_PATH, sends('application/pkix-cert', other));
    const { code, stderr } = await fetchIt([write('report.bin', genoaReport())]);
    expect(code).toBe(4);
    expect(stderr).toContain('wrong-certificate');
    expect(stderr).toContain('0909');
  });

  test('what is stale is saved, and said to be', async () => {
    const dates = { thisUpdate: new Date('2024-01-01'), nextUpdate: new Date('2025-01-01') };
    vendors.routes.set(CRL_PATH, sends('application/pkix-crl', await authority.issueCrl(dates)));
    const { code, stdout, stderr } = await fetchIt([write('report.bin', genoaReport()), '--json']);
    expect(code).toBe(3);
    expect(stderr).toContain('stale');
    expect((JSON.parse(stdout) as FetchJson).items[2]?.status).toBe('stale');
    expect(saved().crls).toHaveLength(1);
  });

  test('slowness has an end', async () => {
    vendors.routes.set(VCEK_PATH, () => undefined);
    const { code, stderr } = await fetchIt([write('report.bin', genoaReport()), '--timeout', '0.3']);
    expect(code).toBe(4);
    expect(stderr).toContain('timeout');
  });

  test('a version 2 report has to be given its product', async () => {
    const old = genoaReport();
    new DataView(old.buffer).setUint32(0, 2, true);
    old.fill(0, 0x188, 0x1a0);
    const report = write('old.bin', old);
    const unnamed = await fetchIt([report]);
    expect(unnamed.code).toBe(3);
    expect(unnamed.stderr).toContain('product');
    expect((await fetchIt([report, '--product', 'genoa'])).code).toBe(0);
  });

  test('plain HTTP to other machines is refused', async () => {
    const report = write('report.bin', genoaReport());
    const args = [
      'collateral',
      'fetch',
      report,
      '--out',
      file('x'),
      '--no-cache',
      '--kds',
      'http://mirror.invalid',
    ];
    const { code, stderr } = await vouchsafe(args);
    expect(code).toBe(4);
    expect(stderr).toContain('insecure-address');
  });

  test.each([
    [[]],
    [['receipt']],
    [['report', '--offline', '--refresh']],
    [['report', '--offline', '--no-cache']],
    [['report', '--timeout', 'soon']],
    [['report', '--product', 'rome']],
    [['report', '--kds', 'mirror']],
    [['--fmspc', FMSPC]],
    [['--fmspc', 'zz', '--pck-ca', 'platform']],
    [['http://user:secret@127.0.0.1']],
  ])('%j is misuse', async (given) => {
    const files: Record<string, string> = {
      report: write('report.bin', genoaReport()),
      receipt: write('policy.json', '{"version":"vouchsafe/policy/1"}'),
    };
    const args = given.map((argument) => files[argument] ?? argument);
    const { code, stdout } = await vouchsafe(['collateral', 'fetch', ...args, '--out', file('x')], {
      XDG_CACHE_HOME: file('caches'),
    });
    expect([code, stdout]).toEqual([64, '']);
    expect(existsSync(file('x'))).toBe(false);
  });

  test('--out is required', async () => {
    expect((await vouchsafe(['collateral', 'fetch', write('report.bin', genoaReport())])).code).toBe(64);
  });

  test.each([
    ['missing', undefined],
    ['noise', 'hello'],
  ])('a file that is %s is unreadable', async (name, content) => {
    if (content !== undefined) write(name, content);
    expect((await fetchIt([file(name)])).code).toBe(4);
  });

  test('nobody there exits with 4', async () => {
    expect((await fetchIt(['http://127.0.0.1:9'])).code).toBe(4);
  });
});

describe('show', () => {
  test('tells what is in a file, and when it ends', async () => {
    await fetchIt([write('report.bin', genoaReport())]);
    const { code, stdout } = await vouchsafe(['collateral', 'show', file('out.collateral')]);
    expect(code).toBe(0);
    expect(stdout).toContain('nothing here is verified');
    expect(stdout).toMatch(/CRL CN=ARK-Minted \(0 revoked\)[^]*in date: issued 1 day ago, ends in 89 days/);
  });

  test('as JSON, for another time', async () => {
    await fetchIt([write('report.bin', genoaReport())]);
    const at = ['--at', '2034-12-31T00:00:00Z', '--json'];
    const { stdout } = await vouchsafe(['collateral', 'show', file('out.collateral'), ...at]);
    const { verified, statements } = JSON.parse(stdout) as {
      verified: boolean;
      statements: { kind: string; state: string; ageSeconds: number }[];
    };
    expect(verified).toBe(false);
    expect(statements.map(({ kind, state }) => `${kind} ${state}`)).toEqual([
      'certificate in date',
      'certificate in date',
      'certificate in date',
      'CRL ended',
    ]);
    expect(statements[0]!.ageSeconds).toBeGreaterThan(9 * 365 * 86_400);
  });

  test('of bundles and CRLs too', async () => {
    const { bundle } = await issueBundle(world);
    for (const path of [write('bundle.cbor', bundle), write('a.crl', crl)]) {
      const { code, stdout } = await vouchsafe(['collateral', 'show', path]);
      expect(code).toBe(0);
      expect(stdout).toContain('CRL');
    }
  });

  test('text of a file cannot steer the terminal', async () => {
    const hostile = { ...NO_COLLATERAL, rims: new Map([['\u001b[2J', utf8('x')]]) };
    const { code, stdout } = await vouchsafe([
      'collateral',
      'show',
      write('hostile', encodeCollateralFile(hostile)),
    ]);
    expect(code).toBe(0);
    expect(stdout).not.toContain('\u001b');
  });

  test('what holds none is unreadable', async () => {
    expect((await vouchsafe(['collateral', 'show', write('noise', 'hello')])).code).toBe(4);
    expect((await vouchsafe(['collateral', 'show', file('missing')])).code).toBe(4);
  });

  test('inspect knows the file', async () => {
    await fetchIt([write('report.bin', genoaReport())]);
    const { code, stdout } = await vouchsafe(['inspect', file('out.collateral')]);
    expect(code).toBe(0);
    expect(stdout).toContain('collateral file');
  });
});

describe('verify --collateral', () => {
  test('reads the file', async () => {
    const { bundle } = await issueBundle(world);
    const { receipt, cited, collateral } = parseBundle(bundle);
    const at = ['--at', '2026-11-21T12:00:00Z', '--allow-simulated', '--json'];
    const judged = (...more: string[]) =>
      vouchsafe([
        'verify',
        '--receipt',
        write('receipt', receipt),
        '--evidence',
        write('cited', cited),
        ...more,
        ...at,
      ]);
    const without = JSON.parse((await judged()).stdout) as { verdict: Verdict };
    expect(without.verdict.decision).toBe('not-judged');
    const path = write('saved.collateral', encodeCollateralFile(collateral));
    const { verdict } = JSON.parse((await judged('--collateral', path)).stdout) as { verdict: Verdict };
    expect(verdict.decision).toBe('accepted');
  });

  test('a damaged file is unreadable', async () => {
    const damaged = Buffer.from(encodeCollateralFile({ ...NO_COLLATERAL, crls: [crl] })).subarray(0, -1);
    const { bundle } = await issueBundle(world);
    const args = ['verify', write('bundle', bundle), '--collateral', write('damaged', damaged)];
    expect((await vouchsafe(args)).code).toBe(4);
  });
});

test.each([['collateral'], ['collateral', 'fetch']])('help of %s %s has examples', async (...names) => {
  const { code, stdout } = await vouchsafe([...names.flatMap((name) => name), '--help']);
  expect(code).toBe(0);
  expect(stdout).toContain('Examples:');
});
