import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Anchor } from '../../../../attestation/anchors.ts';
import { fromHex, fromUtf8, utf8 } from '../../../../attestation/bytes/bytes.ts';
import type { SignedJson } from '../../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { judgeTcb } from '../../../../attestation/evidence/dcap/tcbLevel.ts';
import {
  verifyDcapCollateral,
  type DcapCollateralOptions,
  type VerifiedDcapCollateral,
} from '../../../../attestation/evidence/dcap/collateral.ts';
import {
  parseCertificate,
  parsePemChain,
  type Certificate,
} from '../../../../attestation/x509/certificate.ts';
import { spkiSha256 } from '../../../../attestation/x509/chain.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import {
  CA_SERIAL,
  FMSPC,
  issueCertificate,
  issueCrl,
  issuePck,
  issuePckCa,
  mintRoot,
  mintSigner,
  PCK_SERIAL,
  qeIdentity,
  sgxExtension,
  sgxTcbInfo,
  signStatement,
  STATEMENT_TIME,
  tcbInfoV2,
  TCB_SIGNER_SERIAL,
  tdxTcbInfo,
  type CrlOptions,
  type Issuer,
  type Json,
  type StatementSigner,
} from '../../../support/intelStatements.ts';
import { refusalOfAsync } from '../../../support/refusal.ts';
import { propertyRuns, PROPERTY_TIMEOUT } from '../../../support/runs.ts';
import {
  INTEL_ROOT,
  loadDcapCases,
  readAnchors,
  readCollateral,
  readPckChain,
  teeOf,
} from './collateralCases.ts';

interface Platform {
  readonly root: Issuer & { readonly anchor: Anchor };
  readonly ca: Issuer;
  readonly chain: { readonly pck: Certificate; readonly ca: Certificate; readonly root: Certificate };
  readonly signer: StatementSigner;
  readonly rootCrl: Uint8Array;
  readonly caCrl: Uint8Array;
  readonly tcbInfo: SignedJson;
  readonly identity: SignedJson;
}

let platform: Platform;

beforeAll(async () => {
  platform = await mintPlatform();
});

async function mintPlatform(): Promise<Platform> {
  const root = await mintRoot();
  const ca = await issuePckCa(root);
  const pck = await issuePck(ca);
  const signer = await mintSigner(root);
  return {
    root,
    ca,
    chain: {
      pck: parseCertificate(pck),
      ca: parseCertificate(ca.der),
      root: parseCertificate(root.der),
    },
    signer,
    rootCrl: await issueCrl(root),
    caCrl: await issueCrl(ca),
    tcbInfo: await signStatement(signer, 'tcbInfo', tdxTcbInfo()),
    identity: await signStatement(signer, 'enclaveIdentity', qeIdentity()),
  };
}

interface Changes extends Partial<Omit<DcapCollateralOptions, 'collateral'>> {
  readonly tcbInfos?: readonly SignedJson[];
  readonly qeIdentities?: readonly SignedJson[];
  readonly crls?: readonly Uint8Array[];
  readonly tee?: 'sgx' | 'tdx';
  readonly chain?: Platform['chain'];
}

function verify(changes: Changes = {}): Promise<VerifiedDcapCollateral> {
  const { tee = 'tdx', chain = platform.chain, tcbInfos, qeIdentities, crls, ...rest } = changes;
  return verifyDcapCollateral(chain, tee, {
    crypto: nodeCrypto,
    now: STATEMENT_TIME,
    anchors: [platform.root.anchor],
    collateral: {
      tcbInfos: tcbInfos ?? [platform.tcbInfo],
      qeIdentities: qeIdentities ?? [platform.identity],
      crls: crls ?? [platform.rootCrl, platform.caCrl],
    },
    ...rest,
  });
}

async function refused(changes: Changes) {
  const refusal = await refusalOfAsync(() => verify(changes));
  return refusal && `${refusal.check} ${refusal.code}`;
}

const tcbInfo = (changes: Json, signer = platform.signer) =>
  signStatement(signer, 'tcbInfo', tdxTcbInfo(changes));
const identity = (changes: Json, signer = platform.signer) =>
  signStatement(signer, 'enclaveIdentity', qeIdentity(changes));
const rootCrl = (options: CrlOptions) => issueCrl(platform.root, options);
const caCrl = (options: CrlOptions) => issueCrl(platform.ca, options);

describe.each([
  ['node', nodeCrypto],
  ['portable', portableCrypto],
])('verifyDcapCollateral with %s cryptography', (_name, crypto) => {
  test('accepts statements and lists that are genuine, fitting and in date', async () => {
    const verified = await verify({ crypto });
    expect(verified.pck.fmspc).toBe(FMSPC);
    expect(verified.tcbInfo).toMatchObject({ tee: 'tdx', fmspc: FMSPC });
    expect(verified.qeIdentity.id).toBe('TD_QE');
    expect(verified.validUntil).toBe(Date.parse('2026-07-10T00:00:00Z'));
    expect(verified.checks.map(({ id, result }) => `${id} ${result}`)).toEqual([
      'cpu.revocation pass',
      'cpu.collateral pass',
    ]);
  });

  test.each(['tcbInfos', 'qeIdentities'] as const)(
    'any byte of %s changed says the same or is refused',
    async (kind) => {
      const before = await verify({ crypto });
      const { body } = kind === 'tcbInfos' ? platform.tcbInfo : platform.identity;
      const change = fc.tuple(fc.nat(body.length - 1), fc.integer({ min: 1, max: 255 }));
      await fc.assert(
        fc.asyncProperty(change, async ([offset, mask]) => {
          const forged = { body: altered(body, offset, mask), issuerChain: platform.signer.issuerChain };
          const refusal = await refusalOfAsync(async () => {
            const after = await verify({ crypto, [kind]: [forged] });
            expect(after).toEqual(before);
          });
          if (!refusal) return;
          expect(refusal.check).toBe('cpu.collateral');
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'any byte of lists and of the issuer chain changed is refused',
    async () => {
      const parts = [platform.rootCrl, platform.caCrl, ...platform.signer.issuerChain];
      const change = fc.tuple(fc.nat(3), fc.nat(), fc.integer({ min: 1, max: 255 }));
      await fc.assert(
        fc.asyncProperty(change, async ([which, position, mask]) => {
          const forged = parts.map((der, i) =>
            i === which ? altered(der, position % der.length, mask) : der,
          );
          const issuerChain = forged.slice(2);
          const tcbInfos = [{ ...platform.tcbInfo, issuerChain }];
          expect(await refused({ crypto, crls: forged.slice(0, 2), tcbInfos })).toBeDefined();
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

function altered(bytes: Uint8Array, offset: number, mask: number): Uint8Array {
  const copy = bytes.slice();
  copy[offset] = copy[offset]! ^ mask;
  return copy;
}

describe('verifyDcapCollateral accepts', () => {
  test('SGX of version 3 and of version 2', async () => {
    const qeIdentities = [await identity({ id: 'QE' })];
    for (const info of [sgxTcbInfo(), tcbInfoV2()]) {
      const tcbInfos = [await signStatement(platform.signer, 'tcbInfo', info)];
      expect((await verify({ tee: 'sgx', tcbInfos, qeIdentities })).tcbInfo.version).toBe(info['version']);
    }
  });

  test('an FMSPC in either case', async () => {
    const tcbInfos = [await tcbInfo({ fmspc: FMSPC })];
    expect((await verify({ tcbInfos })).tcbInfo.fmspc).toBe(FMSPC);
  });

  test('another certificate with serial and key of the signer, as Intel issued two', async () => {
    const renewed = await mintSigner(platform.root, { keys: platform.signer.keys });
    expect(renewed.issuerChain[0]).not.toEqual(platform.signer.issuerChain[0]);
    const tcbInfos = [{ ...platform.tcbInfo, issuerChain: renewed.issuerChain }];
    expect((await verify({ tcbInfos })).tcbInfo.tee).toBe('tdx');
  });

  test('statements of both TEEs and other platforms beside the fitting one', async () => {
    const others = [await tcbInfo({ fmspc: '000000000000' }), await tcbInfo({ pceId: 'ffff' })];
    const sgx = await signStatement(platform.signer, 'tcbInfo', sgxTcbInfo());
    const identities = [await identity({ id: 'QE', isvprodid: 1 }), await identity({ id: 'QVE' })];
    const verified = await verify({
      tcbInfos: [...others, sgx, platform.tcbInfo],
      qeIdentities: [...identities, platform.identity],
    });
    expect([verified.tcbInfo.fmspc, verified.qeIdentity.id]).toEqual([FMSPC, 'TD_QE']);
  });

  test('lists of other issuers beside those of the chain', async () => {
    const other = await mintRoot('CN=Another Root');
    const processor = await issuePckCa(platform.root, { subject: 'CN=Intel SGX PCK Processor CA, O=Minted' });
    const crls = [await issueCrl(other), await issueCrl(processor), platform.caCrl, platform.rootCrl];
    expect((await verify({ crls })).tcbInfo.fmspc).toBe(FMSPC);
  });

  test('the first and the last instant of a statement', async () => {
    const dates = { issueDate: '2026-06-15T12:00:00Z', nextUpdate: '2026-06-15T12:00:00Z' };
    expect((await verify({ tcbInfos: [await tcbInfo(dates)] })).validUntil).toBe(STATEMENT_TIME);
  });
});

describe('of several statements that fit', () => {
  const evaluations = async (statements: readonly Json[], now?: number) => {
    const tcbInfos = await Promise.all(statements.map((changes) => tcbInfo(changes)));
    const qeIdentities = await Promise.all(statements.map((changes) => identity(changes)));
    const verified = await verify({ tcbInfos, qeIdentities, ...(now !== undefined && { now }) });
    return [verified.tcbInfo, verified.qeIdentity].map(({ tcbEvaluationDataNumber, issueDate }) => [
      tcbEvaluationDataNumber,
      new Date(issueDate).toISOString().slice(0, 10),
    ]);
  };

  test('the one with the highest evaluation number counts', async () => {
    const statements = [19, 21, 20].map((tcbEvaluationDataNumber) => ({ tcbEvaluationDataNumber }));
    expect(await evaluations(statements)).toEqual([
      [21, '2026-06-10'],
      [21, '2026-06-10'],
    ]);
  });

  test('the newest of one evaluation number counts', async () => {
    const statements = ['09', '12', '11'].map((day) => ({ issueDate: `2026-06-${day}T08:00:00Z` }));
    expect((await evaluations(statements))[0]).toEqual([20, '2026-06-12']);
  });

  test('one that is out of date is passed over', async () => {
    const past = { tcbEvaluationDataNumber: 30, nextUpdate: '2026-06-11T00:00:00Z' };
    const future = { tcbEvaluationDataNumber: 31, issueDate: '2026-06-20T00:00:00Z' };
    expect((await evaluations([past, {}, future]))[0]).toEqual([20, '2026-06-10']);
  });

  test('the one that counts must verify, others are not looked at', async () => {
    const other = await mintSigner(await mintRoot());
    const forged = await tcbInfo({ tcbEvaluationDataNumber: 21 }, other);
    const forgedChain = { ...forged, issuerChain: platform.signer.issuerChain };
    expect(await refused({ tcbInfos: [platform.tcbInfo, forgedChain] })).toBe(
      'cpu.collateral COLLATERAL_SIGNATURE_INVALID',
    );
    const older = await tcbInfo({ tcbEvaluationDataNumber: 19 }, other);
    expect(await refused({ tcbInfos: [platform.tcbInfo, older] })).toBeUndefined();
  });
});

describe('verifyDcapCollateral refuses at cpu.collateral', () => {
  const at = (code: string) => `cpu.collateral ${code}`;

  test('no TCB info, no identity, and none but that of the verifying enclave', async () => {
    expect(await refused({ tcbInfos: [] })).toBe(at('COLLATERAL_MISSING'));
    expect(await refused({ qeIdentities: [] })).toBe(at('COLLATERAL_MISSING'));
    expect(await refused({ qeIdentities: [await identity({ id: 'QVE' })] })).toBe(at('COLLATERAL_MISSING'));
  });

  test('TCB info of another platform, PCE or TEE only', async () => {
    expect(await refused({ tcbInfos: [await tcbInfo({ fmspc: '00906ed50001' })] })).toBe(
      at('COLLATERAL_MISMATCH'),
    );
    expect(await refused({ tcbInfos: [await tcbInfo({ pceId: '0001' })] })).toBe(at('COLLATERAL_MISMATCH'));
    const sgx = await signStatement(platform.signer, 'tcbInfo', sgxTcbInfo());
    const older = await signStatement(platform.signer, 'tcbInfo', tcbInfoV2());
    expect(await refused({ tcbInfos: [sgx, older] })).toBe(at('COLLATERAL_MISMATCH'));
    expect(await refused({ tee: 'sgx' })).toBe(at('COLLATERAL_MISMATCH'));
  });

  test('the identity of the quoting enclave of the other TEE only', async () => {
    const qeIdentities = [await identity({ id: 'QE' })];
    expect(await refused({ qeIdentities })).toBe(at('QE_IDENTITY_MISMATCH'));
  });

  test.each([
    ['a minute before it was issued', { issueDate: '2026-06-15T12:01:00Z' }, 'COLLATERAL_NOT_YET_VALID'],
    ['a second after its end', { nextUpdate: '2026-06-15T11:59:59Z' }, 'COLLATERAL_EXPIRED'],
  ])('a statement %s', async (_name, dates, code) => {
    expect(await refused({ tcbInfos: [await tcbInfo(dates)] })).toBe(at(code));
    expect(await refused({ qeIdentities: [await identity(dates)] })).toBe(at(code));
  });

  test('statements before and after the judged time only', async () => {
    const past = await tcbInfo({ nextUpdate: '2026-06-15T11:59:59Z' });
    const future = await tcbInfo({ issueDate: '2026-06-15T12:01:00Z' });
    expect(await refused({ tcbInfos: [future, past] })).toBe(at('COLLATERAL_EXPIRED'));
  });

  test('a forged status', async () => {
    const body = utf8(fromUtf8(platform.tcbInfo.body).replace('OutOfDate', 'UpToDate'));
    expect(await refused({ tcbInfos: [{ ...platform.tcbInfo, body }] })).toBe(
      at('COLLATERAL_SIGNATURE_INVALID'),
    );
  });

  test('the signature of another statement of the same signer', async () => {
    const other = await tcbInfo({ tcbEvaluationDataNumber: 1 });
    const [inner] = fromUtf8(platform.tcbInfo.body).split(',"signature"');
    const [, signature] = fromUtf8(other.body).split(',"signature"');
    const body = utf8(`${inner},"signature"${signature}`);
    expect(await refused({ tcbInfos: [{ ...other, body }] })).toBe(at('COLLATERAL_SIGNATURE_INVALID'));
  });

  test('an identity in place of TCB info', async () => {
    expect(await refused({ tcbInfos: [platform.identity] })).toBe(at('MALFORMED'));
  });

  test('genuine TCB info of a form that is not known', async () => {
    expect(await refused({ tcbInfos: [await tcbInfo({ later: 1 })] })).toBe(at('UNSUPPORTED'));
    expect(await refused({ tcbInfos: [await tcbInfo({ version: 4 })] })).toBe(at('UNSUPPORTED'));
  });

  test('a signer without its root, and a chain that is too long', async () => {
    const [signer, root] = platform.signer.issuerChain;
    const chain = (...issuerChain: readonly Uint8Array[]) => [{ ...platform.tcbInfo, issuerChain }];
    expect(await refused({ tcbInfos: chain() })).toBe(at('CERT_MISSING'));
    expect(await refused({ tcbInfos: chain(signer!) })).toBe(at('CERT_MISSING'));
    expect(await refused({ tcbInfos: chain(signer!, root!, root!) })).toBe(at('MALFORMED'));
  });

  test('a look-alike root with the same name', async () => {
    const lookAlike = await mintSigner(await mintRoot());
    expect(await refused({ tcbInfos: [await tcbInfo({}, lookAlike)] })).toBe(at('UNTRUSTED_ROOT'));
    expect(await refused({ qeIdentities: [await identity({}, lookAlike)] })).toBe(at('UNTRUSTED_ROOT'));
  });

  test('a pinned root that is not the root of the PCK chain', async () => {
    const simulated = await mintRoot();
    const anchors = [platform.root.anchor, simulated.anchor];
    const tcbInfos = [await tcbInfo({}, await mintSigner(simulated))];
    expect(await refused({ anchors, tcbInfos })).toBe(at('UNTRUSTED_ROOT'));
  });

  test('a root that is pinned for another role', async () => {
    const anchors = [{ ...platform.root.anchor, role: 'amd-ark' as const }];
    expect(await refused({ anchors })).toBe(at('UNTRUSTED_ROOT'));
  });

  test('a signer of another root below the genuine one', async () => {
    const other = await mintSigner(await mintRoot());
    const issuerChain = [other.issuerChain[0]!, platform.root.der];
    const tcbInfos = [{ ...(await tcbInfo({}, other)), issuerChain }];
    expect(await refused({ tcbInfos })).toBe(at('CERT_CHAIN_INVALID'));
  });

  test.each([
    ['with another name', { subject: 'CN=Intel SGX PCK Platform CA, O=Minted' }],
    ['with the name elsewhere', { subject: 'O=Intel SGX TCB Signing, CN=Other' }],
    ['with two names', { subject: 'CN=Intel SGX TCB Signing, CN=Other' }],
    ['that is an authority', { isCa: true }],
  ])('a signer %s', async (_name, options) => {
    const signer = await mintSigner(platform.root, options);
    expect(await refused({ tcbInfos: [await tcbInfo({}, signer)] })).toBe(at('CERT_CHAIN_INVALID'));
  });

  test('a PCK certificate as the signer', async () => {
    const { keys } = platform.signer;
    const pck = await issuePck(platform.ca, sgxExtension(), { keys, subject: 'CN=Intel SGX TCB Signing' });
    const issuerChain = [pck, platform.root.der];
    expect(await refused({ tcbInfos: [{ ...platform.tcbInfo, issuerChain }] })).toBe(
      at('CERT_CHAIN_INVALID'),
    );
  });

  test('a signer that is out of date', async () => {
    const signer = await mintSigner(platform.root, { notAfter: new Date('2026-06-15T00:00:00Z') });
    expect(await refused({ tcbInfos: [await tcbInfo({}, signer)] })).toBe(at('CERT_EXPIRED'));
  });

  test('a signer that the root has revoked, of either statement', async () => {
    const crls = [platform.caCrl, await rootCrl({ revoked: [TCB_SIGNER_SERIAL] })];
    expect(await refused({ crls })).toBe(at('CERT_REVOKED'));
    const other = await mintSigner(platform.root, { serialNumber: '77' });
    const revoked = [platform.caCrl, await rootCrl({ revoked: ['77'] })];
    expect(await refused({ crls: revoked, qeIdentities: [await identity({}, other)] })).toBe(
      at('CERT_REVOKED'),
    );
  });

  test('more statements than any machine needs', async () => {
    expect(await refused({ tcbInfos: new Array<SignedJson>(65).fill(platform.tcbInfo) })).toBe(
      at('MALFORMED'),
    );
    expect(await refused({ qeIdentities: new Array<SignedJson>(65).fill(platform.identity) })).toBe(
      at('MALFORMED'),
    );
  });
});

describe('verifyDcapCollateral refuses at cpu.revocation', () => {
  const at = (code: string) => `cpu.revocation ${code}`;

  test('no list of the CA, no list of the root, none at all', async () => {
    expect(await refused({ crls: [platform.rootCrl] })).toBe(at('COLLATERAL_MISSING'));
    expect(await refused({ crls: [platform.caCrl] })).toBe(at('COLLATERAL_MISSING'));
    expect(await refused({ crls: [] })).toBe(at('COLLATERAL_MISSING'));
  });

  test('a list of the other PCK CA only', async () => {
    const processor = await issuePckCa(platform.root, { subject: 'CN=Intel SGX PCK Processor CA, O=Minted' });
    expect(await refused({ crls: [platform.rootCrl, await issueCrl(processor)] })).toBe(
      at('COLLATERAL_MISMATCH'),
    );
  });

  test.each<readonly [string, () => Promise<readonly Uint8Array[]>]>([
    ['the PCK certificate', async () => [platform.rootCrl, await caCrl({ revoked: [PCK_SERIAL] })]],
    ['the PCK CA', async () => [await rootCrl({ revoked: [CA_SERIAL] }), platform.caCrl]],
    ['the root', async () => [await rootCrl({ revoked: ['01'] }), platform.caCrl]],
  ])('%s that is revoked', async (_name, mint) => {
    expect(await refused({ crls: await mint() })).toBe(at('CERT_REVOKED'));
  });

  test('a revocation in an older list beside a newer one', async () => {
    const older = await caCrl({ revoked: [PCK_SERIAL], thisUpdate: new Date('2026-06-05T00:00:00Z') });
    const stale = await caCrl({ revoked: [PCK_SERIAL], nextUpdate: new Date('2026-06-11T00:00:00Z') });
    for (const list of [older, stale]) {
      expect(await refused({ crls: [platform.rootCrl, platform.caCrl, list] })).toBe(at('CERT_REVOKED'));
    }
  });

  test('lists of one issuer do not speak for the other', async () => {
    const crls = [await rootCrl({ revoked: [PCK_SERIAL] }), await caCrl({ revoked: [CA_SERIAL] })];
    expect(await refused({ crls })).toBeUndefined();
  });

  test('a later list counts only what was revoked by the judged time', async () => {
    const later = { thisUpdate: new Date('2026-06-20T00:00:00Z'), revoked: [PCK_SERIAL] };
    const before = await caCrl({ ...later, revokedAt: new Date('2026-06-14T00:00:00Z') });
    const after = await caCrl({ ...later, revokedAt: new Date('2026-06-16T00:00:00Z') });
    const crls = [platform.rootCrl, platform.caCrl];
    expect(await refused({ crls: [...crls, before] })).toBe(at('CERT_REVOKED'));
    expect(await refused({ crls: [...crls, after] })).toBeUndefined();
  });

  test('lists that are out of date', async () => {
    const ended = { nextUpdate: new Date('2026-06-15T11:59:59Z') };
    const begins = { thisUpdate: new Date('2026-06-15T12:00:01Z') };
    expect(await refused({ crls: [platform.rootCrl, await caCrl(ended)] })).toBe(at('COLLATERAL_EXPIRED'));
    expect(await refused({ crls: [await rootCrl(ended), platform.caCrl] })).toBe(at('COLLATERAL_EXPIRED'));
    expect(await refused({ crls: [platform.rootCrl, await caCrl(begins)] })).toBe(
      at('COLLATERAL_NOT_YET_VALID'),
    );
  });

  test('a list under the name of the CA that it did not sign', async () => {
    const forged = await rootCrl({ name: platform.ca.name });
    expect(await refused({ crls: [platform.rootCrl, forged] })).toBe(at('SIGNATURE_INVALID'));
    expect(await refused({ crls: [platform.rootCrl, platform.caCrl, forged] })).toBe(at('SIGNATURE_INVALID'));
  });

  test('a list of a look-alike CA with the same name', async () => {
    const other = await mintPlatform();
    expect(await refused({ crls: [platform.rootCrl, other.caCrl] })).toBe(at('SIGNATURE_INVALID'));
  });

  test('a list that cannot be read, and more lists than Intel has CAs', async () => {
    expect(await refused({ crls: [platform.rootCrl, platform.caCrl, new Uint8Array(9)] })).toBe(
      at('MALFORMED'),
    );
    const many = new Array<Uint8Array>(65).fill(platform.caCrl);
    expect(await refused({ crls: many })).toBe(at('MALFORMED'));
  });
});

describe('verifyDcapCollateral refuses at cpu.chain', () => {
  test('a PCK certificate without its extension', async () => {
    const options = { subject: 'CN=Intel SGX PCK Certificate', serialNumber: '09' };
    const pck = parseCertificate(await issueCertificate(platform.ca, options));
    expect(await refused({ chain: { ...platform.chain, pck } })).toBe('cpu.chain MALFORMED');
  });

  test('statements are for the platform of the certificate, whatever it is', async () => {
    const pck = parseCertificate(
      await issuePck(platform.ca, sgxExtension({ fmspc: fromHex('00606a000000') })),
    );
    expect(await refused({ chain: { ...platform.chain, pck } })).toBe('cpu.collateral COLLATERAL_MISMATCH');
  });
});

/** Codes that say something of quote or platform: what is verified here has none of them. */
const BEYOND = /^(?:TCB_|SIGNATURE_INVALID|DEBUG_ENABLED|QE_BINDING|EVENT_LOG|MALFORMED)/;

for (const folder of ['evidence/cpu/intel', 'evidence/cpu/azure']) {
  describeCorpus(`collateral of ${folder}`, folder, (root) => {
    const cases = loadDcapCases(root).filter(({ id }) => id !== 'tdx-v4-truncated');
    const providers = { nodeCrypto, portableCrypto };

    for (const [name, crypto] of Object.entries(providers)) {
      for (const item of cases) {
        for (const { at, reasons } of item.judgements) {
          const wanted = reasons.filter((code) => !BEYOND.test(code));
          test(`${item.id} at ${at} with ${name}: ${wanted.join(' or ') || 'verified'}`, async () => {
            const options = { crypto, now: Date.parse(at), anchors: readAnchors(item) };
            const refusal = await refusalOfAsync(() =>
              verifyDcapCollateral(readPckChain(item), teeOf(item), {
                ...options,
                collateral: readCollateral(item),
              }),
            );
            if (wanted.length === 0) expect(refusal).toBeUndefined();
            else expect(wanted).toContain(refusal?.code);
          });
        }
      }
    }

    test('has every case', () => {
      expect(cases).toHaveLength(folder.endsWith('intel') ? 27 : 3);
    });

    for (const item of cases.filter(({ facts }) => facts.tcb && !facts.trustAnchor)) {
      test(`${item.id}: without each part it is refused, and under another root`, async () => {
        const now = Date.parse(item.judgements[0]!.at);
        const whole = readCollateral(item);
        const code = async (collateral: typeof whole, anchors: readonly Anchor[] = [INTEL_ROOT]) => {
          const options = { crypto: nodeCrypto, now, anchors, collateral };
          const refusal = await refusalOfAsync(() =>
            verifyDcapCollateral(readPckChain(item), teeOf(item), options),
          );
          return refusal?.code;
        };
        expect(await code({ ...whole, tcbInfos: [] })).toBe('COLLATERAL_MISSING');
        expect(await code({ ...whole, qeIdentities: [] })).toBe('COLLATERAL_MISSING');
        for (const crl of whole.crls)
          expect(await code({ ...whole, crls: [crl] })).toBe('COLLATERAL_MISSING');
        expect(await code(whole, [])).toBe('UNTRUSTED_ROOT');
      });
    }

    test('statements of one case do not serve another platform', async () => {
      const whole = cases.filter(({ facts }) => facts.tcb && !facts.trustAnchor);
      for (const item of whole) {
        const now = Date.parse(item.judgements[0]!.at);
        const { crls, qeIdentities } = readCollateral(item);
        const fmspc = item.facts.pck!['fmspc'];
        const others = whole.filter(({ facts }) => facts.pck!['fmspc'] !== fmspc);
        const tcbInfos = others.flatMap((other) => readCollateral(other).tcbInfos).slice(0, 64);
        const collateral = { tcbInfos, qeIdentities, crls };
        const options = { crypto: nodeCrypto, now, anchors: [INTEL_ROOT], collateral };
        const refusal = await refusalOfAsync(() =>
          verifyDcapCollateral(readPckChain(item), teeOf(item), options),
        );
        expect(refusal?.code).toBe('COLLATERAL_MISMATCH');
      }
    });
  });
}

/** Intel's own samples, of a look-alike root: TCB info of version 2 and an early one of version 3. */
describeCorpus('collateral of samples', 'evidence/cpu/intel', (root) => {
  const readSample = (id: string) => {
    const read = (name: string) => new Uint8Array(readFileSync(join(root, id, name)));
    const readPem = (name: string) => parsePemChain(Buffer.from(read(name)).toString('latin1'));
    const [pck] = readPem('pckCert.pem');
    const [own] = readPem('trustedRootCaCert.pem');
    const below = (name: string) => readPem(name).find(({ subject }) => subject !== own!.subject)!;
    const issuerChain = [below('tcbSignChain.pem').der, own!.der];
    const collateral = {
      crls: [read('rootCaCrl.der'), read('intermediateCaCrl.der')],
      tcbInfos: [{ body: read('tcbInfo.json'), issuerChain }],
      qeIdentities: [{ body: read('qeIdentity.json'), issuerChain }],
    };
    const pinned = { ...INTEL_ROOT, spkiSha256: spkiSha256(own!, nodeCrypto) };
    const chain = { pck: pck!, ca: below('pckSignChain.pem'), root: own! };
    const options = { crypto: nodeCrypto, now: Date.parse('2024-01-01T00:00:00Z'), collateral };
    return (tee: 'sgx' | 'tdx', anchors = [pinned]) =>
      verifyDcapCollateral(chain, tee, { ...options, anchors });
  };

  test('that of SGX, version 2, verifies under its own root and is judged up to date', async () => {
    const verifySample = readSample('sgx-v3-untrusted-root-cert-type-1');
    const verified = await verifySample('sgx');
    expect(verified.tcbInfo).toMatchObject({ version: 2, tee: 'sgx', tcbEvaluationDataNumber: 3 });
    const [lowest] = verified.qeIdentity.tcbLevels;
    expect(judgeTcb(verified, { qeIsvSvn: lowest!.isvSvn }).status).toBe('UpToDate');
    expect((await refusalOfAsync(() => verifySample('sgx', [INTEL_ROOT])))?.code).toBe('UNTRUSTED_ROOT');
  });

  test('that of TDX verifies under its own root and is refused for components above 255', async () => {
    const refusal = await refusalOfAsync(() => readSample('tdx-v4-untrusted-root')('tdx'));
    expect([refusal?.check, refusal?.code]).toEqual(['cpu.collateral', 'MALFORMED']);
    expect(refusal?.message).toContain('expected number to be <=255');
  });
});
