import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { equalBytes, toHex } from '../../../attestation/bytes/bytes.ts';
import type { Collateral } from '../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { parseSnpReport } from '../../../attestation/evidence/snp/parse.ts';
import { verifySnp } from '../../../attestation/evidence/snp/verify.ts';
import { CollateralError } from '../../../src/collateral/errors.ts';
import { snpNeeds } from '../../../src/collateral/evidenceNeeds.ts';
import {
  fetchCollateral,
  gatherCollateral,
  MAX_NEEDS,
  type CollateralOptions,
} from '../../../src/collateral/gather.ts';
import { needKey, type CollateralNeed } from '../../../src/collateral/need.ts';
import {
  CHIP_ID,
  derInteger,
  generateChipKeys,
  genoaReport,
  ia5String,
  mintAuthority,
  signReport,
  type SnpAuthority,
} from '../../support/snpAuthority.ts';
import { makeWorld } from '../../support/world.ts';
import {
  FMSPC,
  INTEL_NEEDS,
  mintIntel,
  mintIssuer,
  NOW,
  pem,
  qeIdentity,
  rimAnswer,
  tcbInfo,
  vcekPath,
  type MintedIntel,
} from './minted.ts';
import { sends, startVendors, type Answer, type VendorServer } from './server.ts';

const TCB = Uint8Array.of(10, 0, 0, 0, 0, 0, 27, 200);
const VCEK_PATH = vcekPath('genoa', CHIP_ID, TCB);
const CRL_PATH = '/vcek/v1/Genoa/crl';
const CHAIN_PATH = '/vcek/v1/Genoa/cert_chain';
const VCEK: CollateralNeed = { kind: 'vcek', product: 'genoa', hwid: CHIP_ID, tcb: TCB };
const CHAIN: CollateralNeed = { kind: 'amd-chain', product: 'genoa', endorses: 'vcek' };
const CRL: CollateralNeed = { kind: 'amd-crl', product: 'genoa' };

let authority: SnpAuthority;
let intel: MintedIntel;
let rims: ReadonlyMap<string, Uint8Array>;
let chipKeys: Awaited<ReturnType<typeof generateChipKeys>>;
let vcek: Uint8Array;
let crl: Uint8Array;
beforeAll(async () => {
  chipKeys = await generateChipKeys();
  authority = await mintAuthority();
  intel = await mintIntel();
  rims = (await makeWorld()).collateral.rims;
  [vcek, crl] = await Promise.all([authority.issueVek(chipKeys), authority.issueCrl({})]);
});

let vendors: VendorServer;
beforeEach(async () => {
  vendors = await startVendors({
    ...intel.routes,
    [VCEK_PATH]: sends('application/pkix-cert', vcek),
    [CHAIN_PATH]: sends('application/x-pem-file', pem(authority.ask, authority.ark)),
    [CRL_PATH]: sends('application/pkix-crl', crl),
    ...Object.fromEntries(
      [...rims].map(([id, xml]) => [`/v1/rim/${id}`, sends('application/json', rimAnswer(id, xml))]),
    ),
  });
});

function options(changes: CollateralOptions = {}): CollateralOptions {
  const { url } = vendors;
  const addresses = { amd: url, intel: url, intelRootCrl: `${url}/IntelSGXRootCA.der`, nvidia: url };
  // Responders have a test file of their own.
  return { addresses, now: () => NOW, attempts: 2, backoffMs: 1, ocsp: false, ...changes };
}

function fetchThem(needs: readonly CollateralNeed[], changes: CollateralOptions = {}): Promise<Collateral> {
  return fetchCollateral(needs, options(changes));
}

/** Code of the error that fetching gives when one path answers so. */
async function codeWith(path: string, answer: Answer, ...needs: CollateralNeed[]): Promise<string> {
  expect([...vendors.routes.keys()]).toContain(path);
  vendors.routes.set(path, answer);
  const error = await fetchThem(needs).catch((caught: unknown) => caught);
  if (error instanceof CollateralError) return error.code;
  throw error instanceof Error ? error : new Error('it was accepted');
}

describe('AMD', () => {
  test('a report verifies with what was fetched for it', async () => {
    const report = await signReport(genoaReport(), chipKeys);
    const { needs } = snpNeeds(parseSnpReport(report));
    const { certificates, crls } = await fetchThem(needs);
    expect(vendors.asked).toEqual([VCEK_PATH, CHAIN_PATH, CRL_PATH]);
    const verified = await verifySnp(
      { report, certificates },
      { crypto: nodeCrypto, now: NOW, anchors: [authority.anchor], crls, revocation: 'required' },
    );
    expect(verified.revocation.status).toBe('not-revoked');
  });

  test('Turin is asked with the level of its FMC and a short hwid', async () => {
    const hwid = CHIP_ID.subarray(0, 8);
    const tcb = Uint8Array.of(1, 2, 3, 4, 0, 0, 0, 255);
    const extensions = {
      '1': derInteger(1),
      '2': ia5String('Turin'),
      '3.9': derInteger(1),
      '3.1': derInteger(2),
      '3.2': derInteger(3),
      '3.3': derInteger(4),
      '3.8': derInteger(255),
      '4': hwid,
    };
    const path = `/vcek/v1/Turin/${toHex(hwid)}?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=255`;
    const turin = await authority.issueVek(chipKeys, { extensions });
    vendors.routes.set(path, sends('application/pkix-cert', turin));
    const found = await fetchThem([{ kind: 'vcek', product: 'turin', hwid, tcb }]);
    expect(found.certificates).toEqual([turin]);
  });

  test('the CA certificates of a VLEK have their own address', async () => {
    vendors.routes.set('/vlek/v1/Genoa/cert_chain', sends('text/plain', pem(authority.ask, authority.ark)));
    const { certificates } = await fetchThem([{ kind: 'amd-chain', product: 'genoa', endorses: 'vlek' }]);
    expect(certificates).toEqual([authority.ask, authority.ark]);
  });

  test.each([
    ['another chip', { '4': new Uint8Array(64).fill(9) }],
    ['another firmware', { '3.8': derInteger(201) }],
    ['another product', { '2': ia5String('Milan-B0') }],
    ['a provider', { '4': undefined, '5': ia5String('provider') }],
  ])('a certificate for %s is the wrong one', async (_for, extensions) => {
    const other = await authority.issueVek(chipKeys, { extensions });
    expect(await codeWith(VCEK_PATH, sends('application/pkix-cert', other), VCEK)).toBe('wrong-certificate');
  });

  test.each([
    ['cut', () => vcek.subarray(0, -1)],
    ['with something behind it', () => Buffer.concat([vcek, Buffer.from('x')])],
    ['empty', () => ''],
    ['of a certificate authority', () => authority.ask],
  ])('a VCEK certificate %s is malformed', async (_how, body) => {
    expect(await codeWith(VCEK_PATH, sends('application/pkix-cert', body()), VCEK)).toBe('malformed');
  });

  test('CA certificates are exactly two, the second a root', async () => {
    const { ask, ark } = authority;
    const send = (...ders: Uint8Array[]) => sends('application/x-pem-file', pem(...ders));
    expect(await codeWith(CHAIN_PATH, send(ask), CHAIN)).toBe('malformed');
    expect(await codeWith(CHAIN_PATH, send(ask, ark, ark), CHAIN)).toBe('malformed');
    expect(await codeWith(CHAIN_PATH, send(ark, ask), CHAIN)).toBe('wrong-certificate');
    expect(await codeWith(CHAIN_PATH, sends('application/x-pem-file', 'no PEM'), CHAIN)).toBe('malformed');
  });

  test('a CRL that is none is malformed', async () => {
    expect(await codeWith(CRL_PATH, sends('application/pkix-crl', vcek), CRL)).toBe('malformed');
    expect(await codeWith(CRL_PATH, sends('application/pkix-crl', '<html>'), CRL)).toBe('malformed');
  });

  test('429 with a pause is waited for', async () => {
    let times = 0;
    const pauses: number[] = [];
    vendors.routes.set(CRL_PATH, (_request, response) => {
      if (times++ === 0) response.writeHead(429, { 'retry-after': '1' }).end();
      else response.writeHead(200, { 'content-type': 'application/pkix-crl' }).end(crl);
    });
    const observer = { pausing: (ms: number) => pauses.push(ms) };
    const found = await fetchThem([CRL], { observer });
    expect([found.crls, pauses]).toEqual([[crl], [1000]]);
  });
});

describe('Intel', () => {
  test('four statements, with the certificates of their signers', async () => {
    const found = await fetchThem(INTEL_NEEDS);
    expect(found.tcbInfos).toHaveLength(1);
    expect(found.tcbInfos[0]!.issuerChain).toHaveLength(2);
    expect(found.qeIdentities[0]!.issuerChain).toHaveLength(2);
    expect(Buffer.from(found.tcbInfos[0]!.body).toString()).toBe(tcbInfo());
    expect(found.crls).toHaveLength(2);
    expect(found.certificates).toEqual([intel.platformCa.der, intel.root.der]);
  });

  describe('from a caching service', () => {
    const toPccs = (path = '') => options({ addresses: { pccs: vendors.url + path } });

    test.each(['', '/', '/sgx/certification/v4', '/sgx/certification/v4/'])(
      'named with path %j, nobody else is asked',
      async (path) => {
        const hex = toHex(await intel.root.crl());
        vendors.routes.set('/sgx/certification/v4/rootcacrl', sends('application/pkix-crl', hex));
        const found = await fetchCollateral(INTEL_NEEDS, toPccs(path));
        expect(found.crls.map((der) => der[0])).toEqual([0x30, 0x30]);
        expect(vendors.asked.at(-1)).toBe('/sgx/certification/v4/rootcacrl');
      },
    );

    test.each([
      ['hex in capitals', (der: Uint8Array) => toHex(der).toUpperCase()],
      [
        'PEM',
        (der: Uint8Array) =>
          `-----BEGIN X509 CRL-----\n${Buffer.from(der).toString('base64')}\n-----END X509 CRL-----\n`,
      ],
    ])('a CRL as %s is read', async (_form, write) => {
      const der = await intel.root.crl();
      vendors.routes.set('/sgx/certification/v4/rootcacrl', sends('application/pkix-crl', write(der)));
      const { crls } = await fetchCollateral([{ kind: 'intel-root-crl' }], toPccs());
      expect(crls.every((found) => equalBytes(found, der))).toBe(true);
    });
  });

  const TCB_PATH = `/tdx/certification/v4/tcb?fmspc=${FMSPC.toUpperCase()}`;
  const QE_PATH = '/tdx/certification/v4/qe/identity';
  const PCK_PATH = '/sgx/certification/v4/pckcrl?ca=platform&encoding=der';
  const [TCB_INFO, QE, PCK, ROOT] = INTEL_NEEDS as [
    CollateralNeed,
    CollateralNeed,
    CollateralNeed,
    CollateralNeed,
  ];
  const json = (body: string, header?: string, value = intel.chain): Answer =>
    sends('application/json', body, header === undefined ? {} : { [header]: value });

  test('the name of the header before version 4 is known', async () => {
    vendors.routes.set(TCB_PATH, json(tcbInfo(), 'SGX-TCB-Info-Issuer-Chain'));
    expect((await fetchThem([TCB_INFO])).tcbInfos).toHaveLength(1);
  });

  test.each([
    ['of another platform', tcbInfo({ fmspc: '00906ED50000' }), 'wrong-statement'],
    ['of SGX', tcbInfo({ id: 'SGX' }), 'wrong-statement'],
    ['that is no JSON', '{', 'malformed'],
    ['with a member twice', tcbInfo().replace('{', '{"signature":"00",'), 'malformed'],
    ['without a signature', '{"tcbInfo":{}}', 'malformed'],
    ['without dates', tcbInfo().replace('nextUpdate', 'lastUpdate'), 'malformed'],
  ])('TCB info %s is %s', async (_what, body, code) => {
    expect(await codeWith(TCB_PATH, json(body, 'TCB-Info-Issuer-Chain'), TCB_INFO)).toBe(code);
  });

  test('an identity of another enclave is the wrong one', async () => {
    const other = json(qeIdentity('QE'), 'SGX-Enclave-Identity-Issuer-Chain');
    expect(await codeWith(QE_PATH, other, QE)).toBe('wrong-statement');
  });

  test.each([
    ['absent', undefined],
    ['not URL-encoded', '%zz'],
    ['no certificates', 'hello'],
    ['of too many', 'x'],
  ])('a header of signers that is %s is malformed', async (how, value) => {
    const many = encodeURIComponent(pem(...Array.from({ length: 5 }, () => intel.root.der)));
    const header = how === 'absent' ? undefined : 'TCB-Info-Issuer-Chain';
    const chain = how === 'of too many' ? many : value;
    expect(await codeWith(TCB_PATH, json(tcbInfo(), header, chain), TCB_INFO)).toBe('malformed');
  });

  test('a CRL of another authority is the wrong one', async () => {
    const headers = { 'SGX-PCK-CRL-Issuer-Chain': encodeURIComponent(pem(intel.platformCa.der)) };
    const root = sends('application/pkix-crl', await intel.root.crl(), headers);
    expect(await codeWith(PCK_PATH, root, PCK)).toBe('wrong-statement');
    const platform = sends('application/pkix-crl', await intel.platformCa.crl());
    expect(await codeWith('/IntelSGXRootCA.der', platform, ROOT)).toBe('wrong-statement');
  });

  test('a CRL beside another certificate than its issuer’s', async () => {
    const other = await mintIssuer('Intel SGX PCK Processor CA');
    const headers = { 'SGX-PCK-CRL-Issuer-Chain': encodeURIComponent(pem(other.der)) };
    const answer = sends('application/pkix-crl', await intel.platformCa.crl(), headers);
    expect(await codeWith(PCK_PATH, answer, PCK)).toBe('wrong-certificate');
  });
});

describe('NVIDIA', () => {
  const first = () => [...rims][0]!;
  const needOf = (id: string): CollateralNeed => ({ kind: 'rim', id });

  test('manifests by id', async () => {
    const found = await fetchThem([...rims.keys()].map(needOf));
    expect(new Map(found.rims)).toEqual(new Map(rims));
  });

  test.each([
    ['of another id', { id: 'NV_GPU_DRIVER_GH100_1.2.3' }, 'wrong-statement'],
    ['in another format', { rim_format: 'CORIM' }, 'malformed'],
    ['with another digest', { sha256: '00'.repeat(32) }, 'malformed'],
    ['that is no base64', { rim: '?', sha256: undefined }, 'malformed'],
    ['that is no manifest', { rim: 'aGVsbG8=', sha256: undefined }, 'malformed'],
    ['without one', { rim: undefined }, 'malformed'],
  ])('an answer %s is refused', async (_what, changes, code) => {
    const [id, xml] = first();
    const answer = sends('application/json', rimAnswer(id, xml, changes));
    expect(await codeWith(`/v1/rim/${id}`, answer, needOf(id))).toBe(code);
  });

  test('a manifest that the service does not have is not found', async () => {
    const error = await fetchThem([needOf('NV_GPU_DRIVER_GH100_0.0')]).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'not-found' });
  });
});

describe('all together', () => {
  test('one failure does not hide the others', async () => {
    vendors.routes.delete(CRL_PATH);
    const outcomes = await gatherCollateral([CRL, VCEK, ...INTEL_NEEDS], options());
    const summary = outcomes.map((outcome) =>
      'error' in outcome ? outcome.error.code : needKey(outcome.need),
    );
    expect(summary).toEqual(['not-found', needKey(VCEK), ...INTEL_NEEDS.map(needKey)]);
  });

  test('each thing is asked for once, and each vendor one thing at a time', async () => {
    let open = 0;
    let most = 0;
    for (const [path, body] of [
      [VCEK_PATH, vcek],
      [CRL_PATH, crl],
    ] as const) {
      vendors.routes.set(path, (_request, response) => {
        most = Math.max(most, ++open);
        setTimeout(() => {
          open--;
          response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(body);
        }, 20);
      });
    }
    await fetchThem([VCEK, CRL, VCEK, CRL]);
    expect([vendors.asked, most]).toEqual([[VCEK_PATH, CRL_PATH], 1]);
  });

  test('the time for everything is bounded', async () => {
    vendors.routes.set(VCEK_PATH, () => undefined);
    const started = Date.now();
    const outcomes = await gatherCollateral([VCEK, CHAIN, CRL], options({ totalTimeoutMs: 100 }));
    expect(Date.now() - started).toBeLessThan(2000);
    expect(outcomes.map((outcome) => 'error' in outcome && outcome.error.code)).toEqual([
      'timeout',
      'timeout',
      'timeout',
    ]);
    expect(vendors.asked).toEqual([VCEK_PATH]);
  });

  test('the caller can end it', async () => {
    vendors.routes.set(VCEK_PATH, () => undefined);
    const reason = new Error('enough');
    const controller = new AbortController();
    setTimeout(() => {
      controller.abort(reason);
    }, 30);
    await expect(fetchThem([VCEK], { signal: controller.signal })).rejects.toBe(reason);
  });

  test('what is past its end comes with its age', async () => {
    const late = () => Date.parse('2027-03-11T12:00:00Z');
    const [outcome] = await gatherCollateral([CRL], options({ now: late }));
    if (!outcome || !('obtained' in outcome)) throw new Error('no outcome');
    expect(outcome.obtained.remarks.map(({ code }) => code)).toEqual(['stale']);
    expect(outcome.obtained.remarks[0]!.message).toContain('10 days ago');
    expect((await fetchThem([CRL], { now: late })).crls).toEqual([crl]);
  });

  test.each([
    ['amd', 'ftp://mirror.example'],
    ['pccs', 'https://user:secret@mirror.example'],
    ['nvidia', 'https://mirror.example/?query'],
    ['intel', 'mirror.example'],
  ])('a mirror of %s at %s is misuse', async (vendor, address) => {
    await expect(gatherCollateral([], { addresses: { [vendor]: address } })).rejects.toThrow(TypeError);
  });

  test('more than any machine needs is misuse', async () => {
    const many = Array.from({ length: MAX_NEEDS + 1 }, (_, i): CollateralNeed => ({
      kind: 'rim',
      id: `R${i}`,
    }));
    await expect(gatherCollateral(many, options())).rejects.toThrow(TypeError);
    expect(vendors.asked).toEqual([]);
  });

  test('nothing is nothing', async () => {
    const nothing = await fetchThem([]);
    expect([nothing.rims.size, nothing.crls, nothing.certificates]).toEqual([0, [], []]);
  });
});
