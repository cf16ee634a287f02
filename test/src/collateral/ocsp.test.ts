import { createPublicKey } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, toHex } from '../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { parseCertificate } from '../../../attestation/x509/certificate.ts';
import { isCertIdOf } from '../../../attestation/x509/ocspCertId.ts';
import { OcspLibrary } from '../../../attestation/x509/ocspLibrary.ts';
import { lookUpOcspStatus } from '../../../attestation/x509/ocspStatus.ts';
import { issueCertificate, simulatedName } from '../../../enclave/collect/simulated/certificate.ts';
import { describeCollateral } from '../../../src/collateral/describe.ts';
import { CollateralError } from '../../../src/collateral/errors.ts';
import { fetchCollateral, gatherCollateral, type CollateralOptions } from '../../../src/collateral/gather.ts';
import { needKey, needName, type CollateralNeed, type OcspNeed } from '../../../src/collateral/need.ts';
import { looksLikeOcspResponse, NVIDIA_OCSP, ocspNeed } from '../../../src/collateral/ocsp.ts';
import { checkReceived } from '../../../src/collateral/source.ts';
import { deviceStatusNeeds, manifestStatusNeeds } from '../../../src/collateral/statusNeeds.ts';
import { mintDevice } from '../../support/nvidiaMachine.ts';
import {
  AUTHORITY,
  byName,
  certificateOf,
  DAY,
  encodeCertId,
  encodeError,
  encodeResponse,
  encodeStatement,
  HOUR,
  mintResponder,
  NOW,
  ownResponder,
  respond,
  revoked,
  SIGNATURES_ONLY,
  UNKNOWN,
} from '../../support/ocspAuthority.ts';
import { propertyRuns, PROPERTY_TIMEOUT } from '../../support/runs.ts';
import { makeWorld } from '../../support/world.ts';
import { rimAnswer } from './minted.ts';
import { ocspService, serialOf, statusesOf, type OcspService } from './responder.ts';
import { sends, startVendors, type Answer, type VendorServer } from './server.ts';

const ISSUER = AUTHORITY.deviceIdentity;
const CERTIFICATE = certificateOf(AUTHORITY.deviceProvisioner);
const NEED = ocspNeed(CERTIFICATE, certificateOf(ISSUER));
const OCSP = 'application/ocsp-response';

let chain: readonly Uint8Array[];
let rims: ReadonlyMap<string, Uint8Array>;
beforeAll(async () => {
  chain = (await mintDevice()).certificates;
  rims = (await makeWorld()).collateral.rims;
});

let service: OcspService;
let vendors: VendorServer;
beforeEach(async () => {
  service = ocspService(statusesOf(chain[1]));
  vendors = await startVendors({
    '/': service.answer,
    ...Object.fromEntries(
      [...rims].map(([id, xml]) => [`/v1/rim/${id}`, sends('application/json', rimAnswer(id, xml))]),
    ),
  });
});

function options(changes: CollateralOptions = {}): CollateralOptions {
  const addresses = { nvidia: vendors.url, ocsp: vendors.url };
  return { addresses, now: () => NOW, attempts: 3, backoffMs: 1, ...changes };
}

/** What one need comes to: where it is from or the code of its error, then what was said about it. */
async function outcomeOf(changes: CollateralOptions = {}, need: CollateralNeed = NEED) {
  const [outcome] = await gatherCollateral([need], options(changes));
  if (!outcome) throw new Error('no outcome');
  if ('error' in outcome) return [outcome.error.code];
  const { from, item, remarks } = outcome.obtained;
  return [from, item.status, ...remarks.map(({ code }) => code)];
}

async function answered(answer: Answer, changes: CollateralOptions = {}) {
  vendors.routes.set('/', answer);
  return outcomeOf(changes);
}

describe('the question', () => {
  test('is a POST for the certificate of its issuer, by SHA-384 and without a nonce', async () => {
    expect(await outcomeOf()).toEqual(['network', 'good']);
    const [asked] = service.asked;
    expect(asked).toMatchObject({ method: 'POST', type: 'application/ocsp-request', extended: false });
    expect(asked!.certId.hash).toBe('sha384');
    expect(isCertIdOf(asked!.certId, CERTIFICATE, certificateOf(ISSUER), nodeCrypto)).toBe(true);
  });

  test('may name the issuer by SHA-1', async () => {
    await outcomeOf({}, { ...NEED, hash: 'sha1' });
    expect(service.asked[0]!.certId.hash).toBe('sha1');
  });

  test('goes to NVIDIA over https unless another responder is named, whatever the certificate says', async () => {
    const asked: string[] = [];
    const fetch = (url: string) => {
      asked.push(url);
      return Promise.resolve(new Response(null, { status: 404 }));
    };
    await gatherCollateral([NEED], { fetch, now: () => NOW });
    await gatherCollateral([{ ...NEED, responder: `${vendors.url}/of/another` }], options({ fetch }));
    expect(asked).toEqual([`${NVIDIA_OCSP}/`, `${vendors.url}/of/another`]);
  });

  test('goes nowhere over plain HTTP', async () => {
    expect(await outcomeOf({}, { ...NEED, responder: 'http://responder.invalid' })).toEqual([
      'insecure-address',
    ]);
  });

  test('follows a redirect that keeps it, and no other', async () => {
    vendors.routes.set('/there', service.answer);
    const to = (status: number): Answer => ({ status, headers: { location: '/there' } });
    expect(await answered(to(307))).toEqual(['network', 'good']);
    expect(service.asked).toHaveLength(1);
    for (const status of [301, 302, 303]) expect(await answered(to(status))).toEqual(['redirect']);
    expect(service.asked).toHaveLength(1);
  });
});

describe('the answer', () => {
  test('is what the verifier takes', async () => {
    const { ocspResponses } = await fetchCollateral([NEED], options());
    const status = { crypto: nodeCrypto, now: NOW, tolerance: 0, hold: 'refused' } as const;
    const library = new OcspLibrary(ocspResponses);
    expect((await lookUpOcspStatus(CERTIFICATE, certificateOf(ISSUER), library, status)).kind).toBe('good');
  });

  test.each([
    ['revoked since 2026-05-01T00:00:00Z (keyCompromise)', revoked(Date.parse('2026-05-01'), 1)],
    ['revoked since 2026-05-01T00:00:00Z (certificateHold)', revoked(Date.parse('2026-05-01'), 6)],
    ['revoked since 2026-05-01T00:00:00Z (reason 42)', revoked(Date.parse('2026-05-01'), 42)],
    ['revoked since 2026-05-01T00:00:00Z', revoked(Date.parse('2026-05-01'))],
    ['unknown', UNKNOWN],
  ])('%s is a statement like others', async (text, status) => {
    service.responses.set(serialOf(CERTIFICATE), respond(ISSUER, CERTIFICATE, { status }));
    expect(await outcomeOf()).toEqual(['network', text]);
  });

  test('about more certificates than one counts for the one asked for', async () => {
    const about = (serial: Uint8Array, status?: Uint8Array) =>
      encodeStatement({ certId: encodeCertId(ISSUER, serial), ...(status && { status }) });
    const statements = [about(Uint8Array.of(9), UNKNOWN), about(CERTIFICATE.serial)];
    service.responses.set(
      serialOf(CERTIFICATE),
      encodeResponse({ responder: ownResponder(ISSUER), statements }),
    );
    expect(await outcomeOf()).toEqual(['network', 'good']);
  });

  test('of another certificate is refused', async () => {
    const other = respond(ISSUER, { serial: Uint8Array.of(0x41, 9) });
    service.responses.set(serialOf(CERTIFICATE), other);
    expect(await outcomeOf()).toEqual(['wrong-statement']);
  });

  test('of the same serial of another issuer is refused', async () => {
    service.responses.set(serialOf(CERTIFICATE), respond(AUTHORITY.rimCa, CERTIFICATE));
    expect(await outcomeOf()).toEqual(['wrong-statement']);
  });

  test('past its end is stale, and kept all the same', async () => {
    const old = respond(ISSUER, CERTIFICATE, { thisUpdate: NOW - 3 * DAY });
    service.responses.set(serialOf(CERTIFICATE), old);
    expect(await outcomeOf()).toEqual(['network', 'good', 'stale']);
    const { ocspResponses } = await fetchCollateral([NEED], options());
    expect(ocspResponses.map(toHex)).toEqual([toHex(old)]);
  });

  test('without an end is stale from the start', async () => {
    service.responses.set(serialOf(CERTIFICATE), respond(ISSUER, CERTIFICATE, { nextUpdate: 'none' }));
    expect(await outcomeOf()).toEqual(['network', 'good', 'stale']);
  });
});

describe('a responder that gives none', () => {
  /** Answers the errors in turn, and then what it knows. */
  function failing(...errors: readonly number[]): Answer {
    const left = [...errors];
    return (request, response) => {
      const error = left.shift();
      if (error === undefined && typeof service.answer === 'function') service.answer(request, response);
      else response.writeHead(200, { 'content-type': OCSP }).end(encodeError(error ?? 2));
    };
  }
  const [MALFORMED_REQUEST, INTERNAL_ERROR, TRY_LATER, SIG_REQUIRED, UNAUTHORIZED] = [1, 2, 3, 5, 6];

  test('tryLater is tried later', async () => {
    expect(await answered(failing(TRY_LATER, INTERNAL_ERROR))).toEqual(['network', 'good']);
    expect(await answered(failing(TRY_LATER, TRY_LATER, TRY_LATER))).toEqual(['status']);
    expect(vendors.asked).toHaveLength(6);
  });

  test.each([
    ['unauthorized', UNAUTHORIZED, 'unauthorized'],
    ['malformedRequest', MALFORMED_REQUEST, 'status'],
    ['sigRequired', SIG_REQUIRED, 'status'],
    ['with OCSP status 4', 4, 'status'],
  ])('%s is final', async (name, error, code) => {
    vendors.routes.set('/', failing(error, error));
    const [outcome] = await gatherCollateral([NEED], options());
    expect(outcome).toMatchObject({
      error: { code, message: expect.stringContaining(`answers ${name}`) },
    });
    expect(vendors.asked).toHaveLength(1);
  });

  test('for the certificate of a device itself, as NVIDIA’s', async () => {
    const [leaf, bootRom] = chain.map(parseCertificate);
    expect(await outcomeOf({}, ocspNeed(leaf!, bootRom!))).toEqual(['unauthorized']);
  });
});

describe('what is no answer', () => {
  const good = () => respond(ISSUER, CERTIFICATE);

  test.each(['text/html', 'application/octet-stream', 'application/pkix-crl'])('sent as %s', async (type) => {
    expect(await answered(sends(type, good()))).toEqual(['media-type']);
  });

  test('without a type', async () => {
    expect(await answered({ body: good() })).toEqual(['media-type']);
  });

  test('larger than any', async () => {
    expect(await answered(sends(OCSP, new Uint8Array(64 * 1024 + 1)))).toEqual(['oversize']);
    const chunked: Answer = (_request, response) => {
      response.writeHead(200, { 'content-type': OCSP });
      response.write(new Uint8Array(40_000));
      response.end(new Uint8Array(40_000));
    };
    expect(await answered(chunked)).toEqual(['oversize']);
  });

  test.each([
    ['empty', () => new Uint8Array(0)],
    ['a page', () => Buffer.from('<html></html>')],
    ['a certificate', () => CERTIFICATE.der],
    ['cut', () => good().subarray(0, -1)],
    ['with something behind it', () => concat(good(), Uint8Array.of(0))],
    ['successful without a response', () => encodeError(0)],
  ])('malformed: %s', async (_how, body) => {
    expect(await answered(sends(OCSP, body()))).toEqual(['malformed']);
  });

  test(
    'a good one altered anyhow is refused with a code, or still about the certificate',
    () => {
      const body = good();
      const alteration = fc.record({
        at: fc.nat(body.length - 1),
        mask: fc.integer({ min: 1, max: 255 }),
        cut: fc.boolean(),
      });
      fc.assert(
        fc.property(alteration, ({ at, mask, cut }) => {
          const altered = cut ? body.slice(0, at) : body.slice();
          if (!cut) altered[at] = altered[at]! ^ mask;
          try {
            expect(checkReceived(NEED, { body: altered, chain: [] }).need).toBe(NEED);
          } catch (error) {
            expect(error).toBeInstanceOf(CollateralError);
          }
          describeCollateral({ ...NO_COLLATERAL, ocspResponses: [altered] });
          looksLikeOcspResponse(altered);
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

describe('the cache', () => {
  let cacheFolder: string;
  beforeEach(async () => {
    cacheFolder = await mkdtemp(join(tmpdir(), 'vouchsafe-ocsp-'));
  });
  afterEach(() => rm(cacheFolder, { recursive: true }));
  const at = (now: number, changes: CollateralOptions = {}) =>
    outcomeOf({ cacheFolder, now: () => now, ...changes });

  test('answers until nextUpdate', async () => {
    expect(await at(NOW)).toEqual(['network', 'good']);
    expect(await at(NOW + 22 * HOUR)).toEqual(['cache', 'good']);
    expect(service.asked).toHaveLength(1);
    service.responses.set(serialOf(CERTIFICATE), respond(ISSUER, CERTIFICATE, { thisUpdate: NOW + DAY }));
    expect(await at(NOW + DAY)).toEqual(['network', 'good']);
  });

  test('is all there is where the responder is gone, and says that it is stale', async () => {
    await at(NOW);
    const gone: Answer = { status: 503 };
    vendors.routes.set('/', gone);
    expect(await at(NOW + 2 * DAY)).toEqual(['cache', 'good', 'status', 'stale']);
    expect(await at(NOW + 2 * DAY, { offline: true })).toEqual(['cache', 'good', 'stale']);
  });

  test('is asked by the question: another certificate with the name and key of the issuer has the same', () => {
    const { key, name } = ISSUER;
    const template = {
      subject: name,
      serial: Uint8Array.of(5),
      notBefore: new Date(NOW - DAY),
      notAfter: new Date(NOW + DAY),
      publicKey: createPublicKey(key),
      extensions: [SIGNATURES_ONLY],
    };
    const again = issueCertificate(template, { name: simulatedName('elsewhere'), key });
    expect(needKey({ ...NEED, issuer: again })).toBe(needKey(NEED));
    const others: readonly OcspNeed[] = [
      { ...NEED, issuer: AUTHORITY.rimCa.certificate },
      { ...NEED, certificate: AUTHORITY.rimCa.certificate },
      { ...NEED, hash: 'sha1' },
      { ...NEED, responder: 'https://responder.example' },
    ];
    expect(new Set([NEED, ...others].map(needKey)).size).toBe(5);
  });
});

describe('chains', () => {
  test('of a device: all but its own certificate and the root', () => {
    const { needs } = deviceStatusNeeds(chain);
    expect(needs.map(needName)).toEqual(
      chain.slice(1, 4).map((der) => {
        const { subject } = parseCertificate(der);
        return expect.stringContaining(`OCSP status of ${subject}, serial `);
      }),
    );
  });

  test('of a manifest: all but the root', () => {
    for (const xml of rims.values()) {
      const { rimSigner, rimIssuer, rimCa } = AUTHORITY;
      const serials = [rimSigner, rimIssuer, rimCa].map((authority) =>
        toHex(certificateOf(authority).serial),
      );
      expect(manifestStatusNeeds(xml).needs.map((need) => needKey(need).split('/').at(-1))).toEqual(serials);
    }
  });

  test.each([
    ['without certificates', () => [], '0 certificates, not 5'],
    ['without a root', () => chain.slice(0, 4), '4 certificates, not 5'],
    ['with one more', () => [...chain, chain[4]!], '6 certificates, not 5'],
    ['in another order', () => [chain[1]!, chain[0]!, ...chain.slice(2)], 'is not issued by'],
    ['with one that cannot be read', () => [...chain.slice(0, 4), Uint8Array.of(1)], 'certificate'],
  ])('%s ask nobody, and say why', (_how, certificates, why) => {
    expect(deviceStatusNeeds(certificates())).toEqual({
      needs: [],
      gap: expect.stringContaining(why),
    });
  });
});

describe('manifests and the statuses of their signers', () => {
  const RIMS = () => [...rims.keys()].map((id): CollateralNeed => ({ kind: 'rim', id }));

  test('are fetched one after the other, and no status twice', async () => {
    const { needs } = deviceStatusNeeds(chain);
    const outcomes = await gatherCollateral([...RIMS(), ...needs, NEED], options());
    expect(outcomes.map((outcome) => 'obtained' in outcome && outcome.need.kind)).toEqual([
      ...RIMS().map(() => 'rim'),
      ...Array<string>(6).fill('ocsp'),
    ]);
    expect(new Set(service.asked.map(({ certId }) => toHex(certId.serial))).size).toBe(6);
    expect(service.asked).toHaveLength(6);
    const found = await fetchCollateral([...RIMS(), ...needs], options());
    expect([found.rims.size, found.ocspResponses.length]).toEqual([rims.size, 6]);
  });

  test('without OCSP nobody is asked for any status', async () => {
    const found = await fetchCollateral([...RIMS(), NEED], options({ ocsp: false }));
    expect([found.rims.size, found.ocspResponses, service.asked]).toEqual([rims.size, [], []]);
  });

  test('one that is missing is named, and does not hide the others', async () => {
    service.responses.delete(toHex(certificateOf(AUTHORITY.rimSigner).serial));
    const outcomes = await gatherCollateral(RIMS(), options());
    const errors = outcomes.flatMap((outcome) => ('error' in outcome ? [outcome.error.code] : []));
    expect(errors).toEqual(['unauthorized']);
    await expect(fetchCollateral(RIMS(), options())).rejects.toThrow(/OCSP status of .*unauthorized/);
  });

  test('a manifest whose signers do not belong together is malformed', async () => {
    const [id, xml] = [...rims][0]!;
    const text = Buffer.from(xml).toString('utf8');
    const [first, second] = [...text.matchAll(/X509Certificate>([^<]+)</g)].map(([, base64]) => base64!);
    const swapped = text.replace(first!, '#').replace(second!, first!).replace('#', second!);
    vendors.routes.set(`/v1/rim/${id}`, sends('application/json', rimAnswer(id, Buffer.from(swapped))));
    expect(await outcomeOf({}, { kind: 'rim', id })).toEqual(['malformed']);
    expect(service.asked).toEqual([]);
  });
});

describe('what a response says of itself', () => {
  test('responder, statuses and window', () => {
    const hold = revoked(NOW - DAY, 6);
    const responder = mintResponder(ISSUER);
    const [said] = describeCollateral({
      ...NO_COLLATERAL,
      ocspResponses: [respond(ISSUER, CERTIFICATE, { status: hold }, responder)],
    });
    expect(said).toMatchObject({
      kind: 'OCSP response',
      name: parseCertificate(responder.certificates[0]!).subject,
      validity: { from: NOW - HOUR, until: NOW + 23 * HOUR },
      statuses: [
        {
          serial: toHex(CERTIFICATE.serial),
          status: 'revoked since 2026-05-31T12:00:00Z (certificateHold)',
        },
      ],
    });
  });

  test('a responder without a certificate is named by its key, one that names itself by its name', () => {
    const statements = [encodeStatement({ certId: encodeCertId(ISSUER, CERTIFICATE.serial) })];
    const responder = ownResponder(ISSUER);
    const ocspResponses = [
      encodeResponse({ responder, statements }),
      encodeResponse({ responder, statements, responderId: byName(ISSUER.name) }),
    ];
    expect(describeCollateral({ ...NO_COLLATERAL, ocspResponses }).map(({ name }) => name)).toEqual([
      expect.stringMatching(/^of key [0-9a-f]{40}$/),
      certificateOf(ISSUER).subject,
    ]);
  });

  test('an error says which', () => {
    const [said] = describeCollateral({ ...NO_COLLATERAL, ocspResponses: [encodeError(3)] });
    expect(said!.unreadable).toContain('tryLater');
  });
});
