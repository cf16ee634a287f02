import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { fromHex, toHex } from '../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { parseDeviceReport } from '../../../attestation/evidence/nvidia/parse.ts';
import { AMD_ANCHORS } from '../../../attestation/evidence/snp/anchors.ts';
import { readVekCertificate } from '../../../attestation/evidence/snp/certificate.ts';
import { parseSnpReport } from '../../../attestation/evidence/snp/parse.ts';
import type { SnpProduct } from '../../../attestation/evidence/snp/product.ts';
import { verifySnp } from '../../../attestation/evidence/snp/verify.ts';
import { parseCertificate, parsePemChain } from '../../../attestation/x509/certificate.ts';
import { parseOcspResponse } from '../../../attestation/x509/ocsp.ts';
import { describeCollateral } from '../../../src/collateral/describe.ts';
import { dcapNeeds, deviceNeeds, snpNeeds } from '../../../src/collateral/evidenceNeeds.ts';
import { gatherCollateral, type Outcome } from '../../../src/collateral/gather.ts';
import { needKey, type CollateralNeed, type IntelTee, type PckCa } from '../../../src/collateral/need.ts';
import { describeCorpus } from '../../support/corpus.ts';
import { rimAnswer, vcekPath } from './minted.ts';
import { ocspService } from './responder.ts';
import { sends, startVendors, type Answer } from './server.ts';

/** Code of each need, `ok` where it was had; judged at `at`, so that nothing is stale. */
async function codes(
  needs: readonly CollateralNeed[],
  routes: Readonly<Record<string, Answer>>,
  at: number,
): Promise<{ readonly codes: Readonly<Record<string, string>>; readonly outcomes: readonly Outcome[] }> {
  const { url } = await startVendors(routes);
  const addresses = {
    amd: url,
    intel: url,
    intelRootCrl: `${url}/IntelSGXRootCA.der`,
    nvidia: url,
    ocsp: url,
  };
  const ocsp = routes['/'] !== undefined;
  const outcomes = await gatherCollateral(needs, { addresses, attempts: 1, now: () => at, ocsp });
  const found = outcomes.map((outcome): [string, string] => {
    if ('error' in outcome) return [outcome.need.kind, outcome.error.code];
    return [outcome.need.kind, outcome.obtained.remarks[0]?.code ?? 'ok'];
  });
  return { codes: Object.fromEntries(found), outcomes };
}

interface CorpusCase {
  readonly verifyAt: string | null;
  readonly expected: { readonly verdict: string };
  readonly facts: Readonly<Record<string, unknown>>;
}

function folders(corpus: string, ...files: readonly string[]) {
  return readdirSync(corpus)
    .map((id) => join(corpus, id))
    .filter((path) => files.every((file) => existsSync(join(path, file))))
    .map((path) => ({
      id: path.slice(corpus.length + 1),
      read: (file: string) => new Uint8Array(readFileSync(join(path, file))),
      has: (file: string) => existsSync(join(path, file)),
      data: JSON.parse(readFileSync(join(path, 'case.json'), 'utf8')) as CorpusCase,
    }));
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

describeCorpus('AMD', 'evidence/cpu/amd', (corpus) => {
  const cases = folders(corpus, 'report.bin', 'ask_ark.pem').filter(
    ({ has }) => has('vcek.der') || has('vcek.pem'),
  );
  const readable = cases.filter(({ id }) => !/truncated|overlong/.test(id));

  test.each(readable)(
    '$id: what its report asks for is what belongs to it',
    async ({ id, read, has, data }) => {
      const vcek = has('vcek.der') ? read('vcek.der') : parsePemChain(text(read('vcek.pem')))[0]!.der;
      const report = parseSnpReport(read('report.bin'));
      const product = productOf(vcek) ?? 'milan';
      const { needs, gaps } = snpNeeds(report, { product });
      expect(gaps).toEqual([]);
      const [first] = needs;
      if (first?.kind !== 'vcek') throw new Error('no VCEK is asked for');
      const name = product[0]!.toUpperCase() + product.slice(1);
      const crl = has(`${product}.crl`)
        ? { [`/vcek/v1/${name}/crl`]: sends('application/pkix-crl', read(`${product}.crl`)) }
        : {};
      const routes = {
        [vcekPath(product, first.hwid, first.tcb)]: sends('application/pkix-cert', vcek),
        [`/vcek/v1/${name}/cert_chain`]: sends('application/x-pem-file', read('ask_ark.pem')),
        ...crl,
      };
      const now = Date.parse(data.verifyAt ?? '');
      const found = await codes(needs, routes, now);
      const foreign = /wrong-vcek|swapped-vcek/.test(id);
      expect(found.codes['vcek']).toBe(foreign ? 'wrong-certificate' : 'ok');
      expect(found.codes['amd-chain']).toBe('ok');
      expect(found.codes['amd-crl']).toBe(has(`${product}.crl`) ? 'ok' : 'not-found');
      if (data.expected.verdict === 'accept' && !id.startsWith('synthetic'))
        await verifies(found.outcomes, read('report.bin'), now);
    },
  );

  async function verifies(outcomes: readonly Outcome[], report: Uint8Array, now: number): Promise<void> {
    const items = outcomes.flatMap((outcome) => ('obtained' in outcome ? [outcome.obtained.item] : []));
    const certificates = items.flatMap((item) => item.certificates);
    const crls = items.flatMap(({ need, body }) => (need.kind === 'amd-crl' ? [body] : []));
    const options = {
      crypto: nodeCrypto,
      now,
      anchors: AMD_ANCHORS,
      crls,
      revocation: 'when-present',
    } as const;
    await verifySnp({ report, certificates }, options);
  }

  function productOf(vcek: Uint8Array): SnpProduct | undefined {
    return readVekCertificate(parseCertificate(vcek)).product;
  }

  test('a report under a VLEK asks for the CA certificates alone', () => {
    const [vlek] = folders(corpus, 'vlek.der');
    const report = parseSnpReport(vlek!.read('report.bin'));
    expect(snpNeeds(report, { certificates: [vlek!.read('vlek.der')] }).needs.map(needKey)).toEqual([
      'amd/chain/milan/vlek',
      'amd/crl/milan',
    ]);
  });
});

describeCorpus('Intel', 'evidence/cpu/intel', (corpus) => {
  const files = [
    'tcb_info.json',
    'qe_identity.json',
    'pck_crl.der',
    'root_ca_crl.der',
    'pck_crl_issuer_chain.pem',
  ];
  const cases = folders(corpus, ...files).filter(({ id }) => !id.startsWith('synthetic'));

  test.each(cases)('$id: its statements are what they were asked to be', async ({ id, read, has }) => {
    const { tcbInfo } = JSON.parse(text(read('tcb_info.json'))) as { tcbInfo: Record<string, string> };
    const tee = tcbInfo['id']!.toLowerCase() as IntelTee;
    const crlChain = text(read('pck_crl_issuer_chain.pem'));
    const ca: PckCa = parsePemChain(crlChain)[0]!.subject.includes('Platform') ? 'platform' : 'processor';
    const chain = encodeURIComponent(text(read('tcb_info_issuer_chain.pem')));
    const identityChain = has('qe_identity_issuer_chain.pem')
      ? encodeURIComponent(text(read('qe_identity_issuer_chain.pem')))
      : chain;
    const { needs } = dcapNeeds({ tee, fmspc: tcbInfo['fmspc']!, ca });
    const routes = {
      [`/${tee}/certification/v4/tcb?fmspc=${tcbInfo['fmspc']!.toUpperCase()}`]: sends(
        'application/json',
        read('tcb_info.json'),
        { 'TCB-Info-Issuer-Chain': chain },
      ),
      [`/${tee}/certification/v4/qe/identity`]: sends('application/json', read('qe_identity.json'), {
        'SGX-Enclave-Identity-Issuer-Chain': identityChain,
      }),
      [`/sgx/certification/v4/pckcrl?ca=${ca}&encoding=der`]: sends(
        'application/pkix-crl',
        read('pck_crl.der'),
        { 'SGX-PCK-CRL-Issuer-Chain': encodeURIComponent(crlChain) },
      ),
      '/IntelSGXRootCA.der': sends('application/pkix-crl', read('root_ca_crl.der')),
    };
    const { codes: found } = await codes(needs, routes, Date.parse(tcbInfo['issueDate']!));
    expect(found).toEqual({
      'tcb-info': 'ok',
      'qe-identity': id === 'tdx-v4-collateral-wrong-qe-identity' ? 'wrong-statement' : 'ok',
      'pck-crl': 'ok',
      'intel-root-crl': 'ok',
    });
  });
});

describeCorpus('NVIDIA', 'evidence/gpu', (corpus) => {
  const devices = folders(corpus, 'report.hex').filter(
    ({ id, data: { facts } }) =>
      !id.endsWith('trailing-zero') && (facts['driverRimId'] ?? facts['biosRimId']) !== undefined,
  );

  test.each(devices)('$id: its report asks for the manifests of its versions', ({ read, data }) => {
    const { kind, driverRimId, vbiosRimId, biosRimId } = data.facts;
    const report = parseDeviceReport(
      fromHex(text(read('report.hex')).trim()),
      kind === 'gpu' ? 'gpu' : 'switch',
    );
    const expected = [driverRimId, vbiosRimId, biosRimId].filter((id) => typeof id === 'string');
    expect(deviceNeeds(report).needs).toEqual(expected.map((id) => ({ kind: 'rim', id })));
  });

  test.each([
    ['h100-550.90.07-full', 'driver.rim.xml'],
    ['h100-550.90.07-full', 'vbios.rim.xml'],
    ['ls10-96.10.55.00.01-full', 'bios.rim.xml'],
  ])('%s: %s is a manifest', async (id, file) => {
    const xml = new Uint8Array(readFileSync(join(corpus, id, file)));
    const routes = { '/v1/rim/ID': sends('application/json', rimAnswer('ID', xml)) };
    expect((await codes([{ kind: 'rim', id: 'ID' }], routes, 0)).codes).toEqual({ rim: 'ok' });
  });

  describe('h100-550.90.07-full, whose OCSP responses are there', () => {
    const folder = join(corpus, 'h100-550.90.07-full');
    const read = (file: string) => new Uint8Array(readFileSync(join(folder, file)));
    const responses = readdirSync(join(folder, 'ocsp')).map((file) => read(`ocsp/${file}`));
    const bySerial = responses.map((der) => {
      const [statement] = parseOcspResponse(der).statements;
      return [toHex(statement!.certId.serial), der] as const;
    });
    const chain = parsePemChain(text(read('certchain.pem'))).map(({ der }) => der);
    const report = parseDeviceReport(fromHex(text(read('report.hex')).trim()), 'gpu');
    const { needs } = deviceNeeds(report, chain);
    const routes = (): Readonly<Record<string, Answer>> => ({
      '/': ocspService(bySerial).answer,
      ...Object.fromEntries(
        needs.flatMap((need) => {
          if (need.kind !== 'rim') return [];
          const xml = read(need.id.includes('VBIOS') ? 'vbios.rim.xml' : 'driver.rim.xml');
          return [[`/v1/rim/${need.id}`, sends('application/json', rimAnswer(need.id, xml))]];
        }),
      ),
    });

    test('its chain asks for three of them, its manifests for the four others', async () => {
      const { outcomes } = await codes(needs, routes(), Date.parse('2025-08-21T12:00:00Z'));
      const items = outcomes.flatMap((outcome) => ('obtained' in outcome ? [outcome.obtained] : []));
      expect(items.map(({ item, remarks }) => [item.need.kind, item.status, ...remarks])).toEqual([
        ...Array<unknown>(2).fill(['rim', undefined]),
        ...Array<unknown>(7).fill(['ocsp', 'good']),
      ]);
      const found = new Set(items.slice(2).map(({ item }) => toHex(item.body)));
      expect(found).toEqual(new Set(responses.map(toHex)));
    });

    test('a day later they are stale', async () => {
      const found = await codes(needs, routes(), Date.parse('2025-10-26T00:00:00Z'));
      expect(found.codes).toEqual({ rim: 'ok', ocsp: 'stale' });
    });

    test('they say who answers', () => {
      const names = describeCollateral({ ...NO_COLLATERAL, ocspResponses: responses }).map(
        ({ name }) => name,
      );
      expect(new Set(names).size).toBe(6);
      expect(names.every((name) => name.includes('NVIDIA OCSP Responder'))).toBe(true);
    });
  });
});
