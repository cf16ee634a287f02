import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { concat, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL, type Collateral } from '../../../attestation/collateral.ts';
import { parseCertificate, parsePemChain } from '../../../attestation/x509/certificate.ts';
import { encodeCollateralFile } from '../../../attestation/bundle/collateralFile.ts';
import { readCollateral } from '../../../src/cli/collateralInput.ts';
import { CliError } from '../../../src/cli/exit.ts';
import { describeCorpus } from '../../support/corpus.ts';
import { mintDcapAuthority } from '../../support/dcapAuthority.ts';
import { AUTHORITY, certificateOf, respond } from '../../support/ocspAuthority.ts';
import { mintRoot, mintSigner, signStatement, tdxTcbInfo } from '../../support/intelStatements.ts';
import { mintIssuer, pem } from '../collateral/minted.ts';

let folder: string;
let intel: Collateral;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-input-'));
  intel = await (await mintDcapAuthority()).issueCollateral('tdx');
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function write(name: string, content: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const hex = (all: readonly Uint8Array[]) => all.map(toHex);

describe('statements as vendors send them', () => {
  test('CRLs in DER, PEM and hex', async () => {
    const [crl] = intel.crls;
    const base64 = Buffer.from(crl!).toString('base64');
    const paths = [
      write('a.crl', crl!),
      write('b.pem', `-----BEGIN X509 CRL-----\n${base64}\n-----END X509 CRL-----\n`),
      write('c.hex', toHex(crl!).toUpperCase()),
    ];
    expect(hex((await readCollateral(paths)).crls)).toEqual(Array(3).fill(toHex(crl!)));
  });

  test('certificates in DER, several of them, PEM and what Azure’s host answers', async () => {
    const [ask, ark] = [(await mintIssuer('ask')).der, (await mintIssuer('ark')).der];
    const host = { vcekCert: pem(ask), certificateChain: pem(ark), tcbm: '0000000000000000' };
    const paths = [
      write('a.der', ask),
      write('all.der', concat(ask, ark, new Uint8Array(7))),
      write('all.pem', `some text\n${pem(ask, ark)}`),
      write('thim.json', JSON.stringify(host)),
    ];
    for (const path of paths.slice(1)) {
      expect(hex((await readCollateral([path])).certificates)).toEqual(hex([ask, ark]));
    }
    expect((await readCollateral(paths)).certificates).toHaveLength(7);
  });

  test('OCSP responses', async () => {
    const response = respond(AUTHORITY.rimCa, certificateOf(AUTHORITY.rimIssuer));
    const { ocspResponses, crls } = await readCollateral([write('status.der', response)]);
    expect([hex(ocspResponses), crls]).toEqual([[toHex(response)], []]);
  });

  test('beside a file of `collateral fetch`, in the order in which they are named', async () => {
    const file = write('saved', encodeCollateralFile({ ...NO_COLLATERAL, crls: [intel.crls[1]!] }));
    const found = await readCollateral([file, write('a.crl', intel.crls[0]!)]);
    expect(hex(found.crls)).toEqual(hex([intel.crls[1]!, intel.crls[0]!]));
  });

  test('nothing is nothing', async () => {
    expect(await readCollateral([])).toEqual(NO_COLLATERAL);
  });

  test.each([
    ['noise', 'hello'],
    ['a policy', '{"version":"vouchsafe/policy/1"}'],
    ['DER of nothing known', Buffer.from('3003020101', 'hex')],
    ['nothing', ''],
  ])('%s is unreadable', async (_what, content) => {
    const error: unknown = await readCollateral([write('unfit', content)]).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CliError);
    expect(error).toMatchObject({ exit: 4 });
  });
});

describe('Intel’s statements and their signers, in files of their own', () => {
  const tcbInfo = () => write('tcb_info.json', intel.tcbInfos[0]!.body);
  const identity = () => write('qe_identity.json', intel.qeIdentities[0]!.body);
  const chain = () => intel.tcbInfos[0]!.issuerChain;

  test('are put together, in whatever order', async () => {
    const pemFile = write('chain.pem', pem(...chain()));
    for (const paths of [
      [tcbInfo(), identity(), pemFile],
      [pemFile, identity(), tcbInfo()],
    ]) {
      const found = await readCollateral(paths);
      expect(found.tcbInfos).toEqual(intel.tcbInfos);
      expect(found.qeIdentities[0]!.issuerChain).toEqual(chain());
    }
  });

  test('also where signer and root are apart, among others', async () => {
    const [signer, root] = chain();
    const stranger = await mintIssuer('Intel SGX PCK Platform CA');
    const paths = [
      write('root.der', root!),
      write('x.der', stranger.der),
      write('signer.der', signer!),
      tcbInfo(),
    ];
    expect((await readCollateral(paths)).tcbInfos).toEqual(intel.tcbInfos);
  });

  test('the signer is the one of the statement’s time', async () => {
    const root = await mintRoot();
    const signer = await mintSigner(root);
    const signed = await signStatement(signer, 'tcbInfo', tdxTcbInfo());
    const [current] = signed.issuerChain;
    const times = { notBefore: new Date('2018-01-01'), notAfter: new Date('2025-05-01') };
    const [older] = (await mintSigner(root, { keys: signer.keys, ...times })).issuerChain;
    for (const certificates of [
      [older!, current!],
      [current!, older!],
    ]) {
      const paths = [write('signed.json', signed.body), write('signers.pem', pem(...certificates, root.der))];
      expect(hex((await readCollateral(paths)).tcbInfos[0]!.issuerChain)).toEqual(hex([current!, root.der]));
    }
  });

  test('without signers the verifier will say so; a statement that has its own keeps them', async () => {
    expect((await readCollateral([tcbInfo()])).tcbInfos[0]!.issuerChain).toEqual([]);
    const saved = write('saved', encodeCollateralFile({ ...NO_COLLATERAL, tcbInfos: intel.tcbInfos }));
    const other = await mintIssuer('Intel SGX TCB Signing');
    const found = await readCollateral([saved, write('other.pem', pem(other.der))]);
    expect(found.tcbInfos).toEqual(intel.tcbInfos);
  });

  test('one that cannot be read is passed on as it is', async () => {
    const broken = write('broken.json', utf8('{"tcbInfo":1,"tcbInfo":2}'));
    expect((await readCollateral([broken, write('chain.pem', pem(...chain()))])).tcbInfos).toHaveLength(1);
  });
});

describeCorpus('the files of Intel’s cases', 'evidence/cpu/intel', (corpus) => {
  const FILES = [
    'tcb_info.json',
    'qe_identity.json',
    'tcb_info_issuer_chain.pem',
    'pck_crl.der',
    'root_ca_crl.der',
  ];
  const cases = readdirSync(corpus).filter((id) => FILES.every((file) => existsSync(join(corpus, id, file))));

  test.each(cases)('%s: read together are its collateral', async (id) => {
    const path = (file: string) => join(corpus, id, file);
    const found = await readCollateral(FILES.map(path));
    const chain = parsePemChain(readFileSync(path('tcb_info_issuer_chain.pem'), 'utf8'));
    expect([found.crls.length, found.qeIdentities.length]).toEqual([2, 1]);
    expect(hex(found.tcbInfos[0]!.issuerChain)).toEqual(chain.map(({ der }) => toHex(der)));
    expect(parseCertificate(found.qeIdentities[0]!.issuerChain[0]!).subject).toContain('TCB Signing');
  });
});
