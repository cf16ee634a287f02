import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Check } from '../../../../attestation/checks.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import {
  judgeDeviceRevocation,
  judgeReferenceRevocation,
  type RevocationOptions,
} from '../../../../attestation/evidence/nvidia/revocation.ts';
import { verifyRim, type VerifiedRim } from '../../../../attestation/evidence/nvidia/rim.ts';
import { verifyDevice, type VerifiedDevice } from '../../../../attestation/evidence/nvidia/verify.ts';
import { SIMULATED_ANCHORS } from '../../../../attestation/evidence/simulatedAnchors.ts';
import type { NvidiaRevocationPolicy } from '../../../../attestation/policy/nvidia.ts';
import type { Certificate } from '../../../../attestation/x509/certificate.ts';
import { parseOcspResponse } from '../../../../attestation/x509/ocsp.ts';
import { OcspLibrary } from '../../../../attestation/x509/ocspLibrary.ts';
import { checkOcspAnswer } from '../../../../attestation/x509/ocspRequest.ts';
import type { Authority } from '../../../../enclave/collect/simulated/certificate.ts';
import { createSimulatedGpu } from '../../../../enclave/collect/simulated/nvidia.ts';
import { createSimulatedRims } from '../../../../enclave/collect/simulated/rim.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { refusalOf } from '../../../support/refusal.ts';
import * as ocsp from '../../../support/ocspAuthority.ts';
import { CaseFolder, CORPUS } from './corpusCases.ts';
import { verifyOnce } from '../../../support/verifyOnce.ts';

const CRYPTO = verifyOnce(nodeCrypto);

const { DAY, HOUR, NOW } = ocsp;
const HOLD = 6;
const STRICT: NvidiaRevocationPolicy = {
  device: 'required',
  references: 'required',
  hold: 'refused',
  toleranceSeconds: 0,
};
const LAX: NvidiaRevocationPolicy = { ...STRICT, device: 'when-present', references: 'when-present' };
const SUBJECT = 'gpu 0';

function optionsOf(
  responses: readonly Uint8Array[],
  revocation: RevocationOptions['policy']['revocation'] = STRICT,
  changes: Partial<RevocationOptions> = {},
): RevocationOptions {
  const ocspResponses = new OcspLibrary(responses);
  return {
    crypto: CRYPTO,
    now: NOW,
    ocspResponses,
    policy: { revocation },
    subject: SUBJECT,
    ...changes,
  };
}

function outcomeOf({ id, subject, result, code }: Check): string {
  expect(subject).toBe(SUBJECT);
  return `${id} ${result} ${code}`;
}

type Stated = Omit<ocsp.StatementParts, 'certId'>;
type Judge = (
  responses: readonly Uint8Array[],
  revocation?: RevocationOptions['policy']['revocation'],
  changes?: Partial<RevocationOptions>,
) => Promise<Check>;

const { AUTHORITY } = ocsp;
const DEVICE_ISSUERS = [AUTHORITY.deviceProvisioner, AUTHORITY.deviceIdentity, AUTHORITY.deviceRoot];
const RIM_ISSUERS = [AUTHORITY.rimIssuer, AUTHORITY.rimCa, AUTHORITY.rimRoot];

let device: VerifiedDevice;
let rim: VerifiedRim;

beforeAll(async () => {
  const nonce = new Uint8Array(32).fill(0x5a);
  const gpu = await createSimulatedGpu('spt');
  const [manifest] = (await createSimulatedRims()).values();
  const options = { crypto: nodeCrypto, now: NOW, anchors: SIMULATED_ANCHORS };
  const evidence = { kind: 'gpu', report: await gpu.report(nonce), certificates: gpu.certificates } as const;
  device = await verifyDevice(evidence, { ...options, nonce });
  rim = await verifyRim(manifest!, options);
});

/** Certificates that are looked up, with those who answer for them, nearest the leaf first. */
const CHAINS: readonly (readonly [string, Judge, () => readonly Certificate[], readonly Authority[]])[] = [
  [
    'device.revocation',
    (...given) => judgeDeviceRevocation(device, optionsOf(...given)),
    () => device.chain.slice(1, 4),
    DEVICE_ISSUERS,
  ],
  [
    'device.reference-revocation',
    (...given) => judgeReferenceRevocation(rim, optionsOf(...given)),
    () => rim.chain.slice(0, 3),
    RIM_ISSUERS,
  ],
];

describe.each(CHAINS)('%s', (id, judge, certificates, issuers) => {
  const respond = (i: number, stated: Stated = {}, responder?: ocsp.Responder): Uint8Array =>
    ocsp.respond(issuers[i]!, certificates()[i]!, stated, responder);
  /** Good responses for all, with some in place of those of their position. */
  const pool = (changed: Readonly<Record<number, Uint8Array>> = {}): readonly Uint8Array[] =>
    [0, 1, 2].map((i) => changed[i] ?? respond(i));

  test.each([
    ['node', nodeCrypto],
    ['portable', portableCrypto],
  ])('good responses for all three, in any order, pass with %s cryptography', async (_, crypto) => {
    const responses = pool();
    for (const order of [responses, responses.toReversed()]) {
      const check = await judge(order, STRICT, { crypto });
      expect(outcomeOf(check)).toBe(`${id} pass OK`);
      for (const { subject } of certificates()) expect(check.reason).toContain(subject);
    }
  });

  test('not asked for: skipped, whatever is supplied', async () => {
    const revoked = pool({ 0: respond(0, { status: ocsp.revoked(NOW - DAY, 1) }) });
    for (const responses of [[], revoked]) {
      expect(outcomeOf(await judge(responses, 'not-checked'))).toBe(`${id} skip NOT_REQUIRED`);
    }
  });

  test.each([0, 1, 2])('the response for certificate %i is missing', async (i) => {
    const responses = pool().toSpliced(i, 1);
    const required = await judge(responses);
    expect(outcomeOf(required)).toBe(`${id} fail COLLATERAL_MISSING`);
    expect(required.reason).toContain(certificates()[i]!.subject);
    expect(outcomeOf(await judge(responses, LAX))).toBe(`${id} skip NOT_REQUIRED`);
  });

  test('no response at all', async () => {
    expect(outcomeOf(await judge([]))).toBe(`${id} fail COLLATERAL_MISSING`);
    expect(outcomeOf(await judge([], LAX))).toBe(`${id} skip NOT_REQUIRED`);
  });

  test('when present, all present is a pass', async () => {
    expect(outcomeOf(await judge(pool(), LAX))).toBe(`${id} pass OK`);
  });

  const stale = { thisUpdate: NOW - 3 * DAY };
  const refused: readonly (readonly [string, Stated, string])[] = [
    ['revoked', { status: ocsp.revoked(NOW - DAY, 1) }, 'CERT_REVOKED'],
    ['revoked, stale', { ...stale, status: ocsp.revoked(NOW - 4 * DAY, 1) }, 'CERT_REVOKED'],
    ['on hold', { status: ocsp.revoked(NOW - DAY, HOLD) }, 'CERT_ON_HOLD'],
    ['unknown', { status: ocsp.UNKNOWN }, 'CERT_STATUS_UNKNOWN'],
    ['stale', stale, 'COLLATERAL_EXPIRED'],
    ['from after the judged time', { thisUpdate: NOW + HOUR }, 'COLLATERAL_NOT_YET_VALID'],
    ['without nextUpdate', { nextUpdate: 'none' }, 'COLLATERAL_EXPIRED'],
  ];

  describe.each([0, 1, 2])('certificate %i', (i) => {
    test.each(refused)('%s', async (_, stated, code) => {
      const responses = pool({ [i]: respond(i, stated) });
      expect(outcomeOf(await judge(responses))).toBe(`${id} fail ${code}`);
      expect(outcomeOf(await judge(responses, LAX))).toBe(`${id} fail ${code}`);
    });

    test('a responder that is expired, of another authority, or none', async () => {
      const issuer = issuers[i]!;
      for (const [responder, code] of [
        [ocsp.mintResponder(issuer, { notAfter: NOW - 1000 }), 'CERT_EXPIRED'],
        [ocsp.mintResponder(AUTHORITY.rimSigner), 'UNTRUSTED_KEY'],
        [ocsp.mintResponder(issuer, { purposes: [] }), 'UNTRUSTED_KEY'],
      ] as const) {
        const responses = pool({ [i]: respond(i, {}, responder) });
        expect(outcomeOf(await judge(responses))).toBe(`${id} fail ${code}`);
      }
    });

    test('a forged signature', async () => {
      const certId = ocsp.encodeCertId(issuers[i]!, certificates()[i]!.serial);
      const forged = ocsp.encodeResponse({
        responder: ocsp.mintResponder(issuers[i]!),
        statements: [ocsp.encodeStatement({ certId })],
        signedBy: ocsp.generateKey(),
      });
      const code = `${id} fail COLLATERAL_SIGNATURE_INVALID`;
      expect(outcomeOf(await judge(pool({ [i]: forged })))).toBe(code);
      expect(outcomeOf(await judge([...pool(), forged]))).toBe(code);
    });

    test('a response for its serial under another authority', async () => {
      const other = ocsp.respond(issuers[(i + 1) % 3]!, certificates()[i]!);
      expect(outcomeOf(await judge(pool({ [i]: other })))).toBe(`${id} fail COLLATERAL_MISMATCH`);
    });
  });

  test('on hold, where the policy accepts it, is skipped and named', async () => {
    const responses = pool({ 1: respond(1, { status: ocsp.revoked(NOW - DAY, HOLD) }) });
    const check = await judge(responses, { ...STRICT, hold: 'accepted' });
    expect(outcomeOf(check)).toBe(`${id} skip NOT_REQUIRED`);
    expect(check.reason).toContain(certificates()[1]!.subject);
  });

  test('a revocation is said even where another response is missing, stale or damaged', async () => {
    const revoked = respond(2, { status: ocsp.revoked(NOW - DAY, 1) });
    for (const first of [[], [respond(0, stale)], [respond(0).subarray(1)]]) {
      expect(outcomeOf(await judge([...first, revoked]))).toBe(`${id} fail CERT_REVOKED`);
    }
  });

  test('ocsp-replay: an old GOOD is bounded by its window and the tolerance of the policy', async () => {
    const replayed = pool({ 0: respond(0, { thisUpdate: NOW - DAY, nextUpdate: NOW - 30_000 }) });
    expect(outcomeOf(await judge(replayed))).toBe(`${id} fail COLLATERAL_EXPIRED`);
    expect(outcomeOf(await judge(replayed, { ...STRICT, toleranceSeconds: 30 }))).toBe(`${id} pass OK`);
    expect(outcomeOf(await judge(replayed, { ...STRICT, toleranceSeconds: 29 }))).toBe(
      `${id} fail COLLATERAL_EXPIRED`,
    );
  });

  test('ocsp-replay: beside the revocation it does not count', async () => {
    const revoked = respond(0, { status: ocsp.revoked(NOW - DAY, 1), thisUpdate: NOW - 2 * HOUR });
    expect(outcomeOf(await judge([...pool(), revoked]))).toBe(`${id} fail CERT_REVOKED`);
  });

  test('a response that does not parse, beside good ones', async () => {
    const damaged = respond(0).subarray(0, -1);
    for (const rules of [STRICT, LAX]) {
      expect(outcomeOf(await judge([...pool(), damaged], rules))).toBe(`${id} fail MALFORMED`);
    }
  });

  test('an error of a responder, beside good responses and in place of one', async () => {
    const unauthorized = ocsp.encodeError(6);
    expect(outcomeOf(await judge([...pool(), unauthorized]))).toBe(`${id} pass OK`);
    const check = await judge(pool({ 0: unauthorized }));
    expect(outcomeOf(check)).toBe(`${id} fail COLLATERAL_MISSING`);
    expect(check.reason).toContain('unauthorized');
  });

  test('a revocation of the root by itself is not looked up, nor of what nobody asked', async () => {
    const root = issuers[2]!;
    const rootRevoked = ocsp.respond(root, ocsp.certificateOf(root), { status: ocsp.revoked(NOW - DAY, 1) });
    expect(outcomeOf(await judge([...pool(), rootRevoked]))).toBe(`${id} pass OK`);
  });
});

test('the leaf of a device needs no response, the signer of a manifest does', async () => {
  const [leaf] = device.chain;
  const issuers = [...DEVICE_ISSUERS, ...RIM_ISSUERS];
  const certificates = [...device.chain.slice(1, 4), ...rim.chain.slice(0, 3)];
  const responses = certificates.map((certificate, i) => ocsp.respond(issuers[i]!, certificate));
  const deviceCheck = await judgeDeviceRevocation(device, optionsOf(responses));
  expect(outcomeOf(deviceCheck)).toBe('device.revocation pass OK');
  expect(deviceCheck.reason).not.toContain(leaf!.subject);
  const withoutSigner = responses.toSpliced(3, 1);
  const rimCheck = await judgeReferenceRevocation(rim, optionsOf(withoutSigner));
  expect(outcomeOf(rimCheck)).toBe('device.reference-revocation fail COLLATERAL_MISSING');
  expect(rimCheck.reason).toContain(rim.chain[0]!.subject);
});

test('each chain has its own demand', async () => {
  const rules: NvidiaRevocationPolicy = { ...STRICT, references: 'when-present' };
  const options = optionsOf([], rules);
  expect(outcomeOf(await judgeDeviceRevocation(device, options))).toBe(
    'device.revocation fail COLLATERAL_MISSING',
  );
  expect(outcomeOf(await judgeReferenceRevocation(rim, options))).toBe(
    'device.reference-revocation skip NOT_REQUIRED',
  );
});

test(
  'a changed byte of any response never gives a pass with another statement',
  async () => {
    const issuers = DEVICE_ISSUERS;
    const responses = issuers.map((issuer, i) => ocsp.respond(issuer, device.chain[i + 1]!));
    await fc.assert(
      fc.asyncProperty(
        fc.nat(2),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (which, position, mask) => {
          const bytes = responses[which]!;
          const changed = ocsp.xored(bytes, position % bytes.length, mask);
          const check = await judgeDeviceRevocation(device, optionsOf(responses.with(which, changed)));
          if (check.result === 'fail') return;
          expect(check.result).toBe('pass');
          expect(parseOcspResponse(changed).tbs).toEqual(parseOcspResponse(bytes).tbs);
        },
      ),
      propertyRuns(200),
    );
  },
  PROPERTY_TIMEOUT,
);

describeCorpus('the H100 with its seven responses', CORPUS, (corpus) => {
  const folder = new CaseFolder(corpus, 'h100-550.90.07-full');
  const data = folder.data as typeof folder.data & {
    readonly deviceOcspVerifyAt: string;
    readonly files: readonly { readonly path: string; readonly role: string }[];
  };
  type OcspChange = Partial<Record<'ocsp for chain[1]' | 'deviceOcspVerifyAt', string>> & {
    readonly drop?: readonly string[];
  };
  const paths = data.files.flatMap(({ path, role }) => (role.startsWith('ocsp-response') ? [path] : []));
  const deviceTime = Date.parse(data.deviceOcspVerifyAt);
  const now = Date.parse(data.verifyAt);
  const { anchors, nonce } = folder.options();

  const verifiedDevice = () =>
    verifyDevice(folder.device('gpu'), { crypto: nodeCrypto, now: deviceTime, anchors, nonce });
  const verifiedRim = (file: string) => verifyRim(folder.bytes(file), { crypto: nodeCrypto, now, anchors });
  const bytesOf = (files: readonly string[]) => files.map((file) => folder.bytes(file));

  test.each([
    ['node', nodeCrypto],
    ['portable', portableCrypto],
  ])('passes with %s cryptography, each at its time', async (_, crypto) => {
    expect(paths).toHaveLength(7);
    const options = optionsOf(bytesOf(paths), STRICT, { crypto, now });
    const check = await judgeDeviceRevocation(await verifiedDevice(), { ...options, now: deviceTime });
    expect(outcomeOf(check)).toBe('device.revocation pass OK');
    for (const file of ['driver.rim.xml', 'vbios.rim.xml']) {
      const reference = await judgeReferenceRevocation(await verifiedRim(file), options);
      expect(outcomeOf(reference)).toBe('device.reference-revocation pass OK');
    }
  });

  test('the manifests need two responses together and one each', async () => {
    for (const [file, foreign] of [
      ['driver.rim.xml', 'ocsp/vbios-rim-l4.der'],
      ['vbios.rim.xml', 'ocsp/driver-rim-l4.der'],
    ] as const) {
      const own = paths.filter((path) => path.includes('rim') && path !== foreign);
      const options = (files: readonly string[]) => optionsOf(bytesOf(files), STRICT, { now });
      const verified = await verifiedRim(file);
      expect(outcomeOf(await judgeReferenceRevocation(verified, options(own)))).toBe(
        'device.reference-revocation pass OK',
      );
      const others = paths.filter((path) => path !== own.find((name) => name.endsWith('rim-l4.der')));
      expect(outcomeOf(await judgeReferenceRevocation(verified, options(others)))).toBe(
        'device.reference-revocation fail COLLATERAL_MISSING',
      );
    }
  });

  test('the responses for the manifests are not in date at the time of those for the device', async () => {
    const options = optionsOf(bytesOf(paths), STRICT, { now: deviceTime });
    expect(outcomeOf(await judgeReferenceRevocation(await verifiedRim('driver.rim.xml'), options))).toBe(
      'device.reference-revocation fail COLLATERAL_NOT_YET_VALID',
    );
  });

  /** The pool that a variant leaves, and its time. */
  function variant(id: string) {
    const change = folder.change(id) as OcspChange;
    const replaced = change['ocsp for chain[1]'];
    const files = paths
      .filter((path) => change.drop?.includes(path) !== true)
      .map((path) => (replaced !== undefined && path === 'ocsp/device-l4-brom.der' ? replaced : path));
    return { files, now: Date.parse(change.deviceOcspVerifyAt ?? data.deviceOcspVerifyAt), replaced };
  }

  test.each([
    ['device-ocsp-stale', 'COLLATERAL_EXPIRED', 'in date from 2025-08-21'],
    ['ocsp-response-of-other-certificate', 'COLLATERAL_MISSING', 'GSP BROM'],
    ['ocsp-demanded-but-missing', 'COLLATERAL_MISSING', 'GSP BROM'],
  ])('%s: %s', async (id, code, reason) => {
    const { files, now: judged } = variant(id);
    const options = optionsOf(bytesOf(files), STRICT, { now: judged });
    const check = await judgeDeviceRevocation(await verifiedDevice(), options);
    expect(outcomeOf(check)).toBe(`device.revocation fail ${code}`);
    expect(check.reason).toContain(reason);
  });

  test('device-ocsp-stale: however much the clock may differ, the responder of chain[3] is expired', async () => {
    const { files, now: judged } = variant('device-ocsp-stale');
    const rules = { ...STRICT, toleranceSeconds: 90 * 24 * 3600 };
    const check = await judgeDeviceRevocation(
      await verifiedDevice(),
      optionsOf(bytesOf(files), rules, { now: judged }),
    );
    expect(outcomeOf(check)).toBe('device.revocation fail CERT_EXPIRED');
    expect(check.reason).toContain('2025-09-21T23:59:59');
  });

  test('ocsp-response-of-other-certificate: as the answer to the question it is refused as such', async () => {
    const { replaced } = variant('ocsp-response-of-other-certificate');
    const { chain } = await verifiedDevice();
    const question = { certificate: chain[1]!, issuer: chain[2]! };
    const response = parseOcspResponse(folder.bytes(replaced!));
    const refusal = refusalOf(() => checkOcspAnswer(response, question, nodeCrypto));
    expect(refusal?.code).toBe('COLLATERAL_MISMATCH');
    const own = parseOcspResponse(folder.bytes('ocsp/device-l4-brom.der'));
    expect(refusalOf(() => checkOcspAnswer(own, question, nodeCrypto))).toBeUndefined();
  });
});
