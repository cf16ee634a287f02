import { createPublicKey, randomBytes } from 'node:crypto';
import { concat, toHex } from '../../../attestation/bytes/bytes.ts';
import { parseCertificate, type Certificate } from '../../../attestation/x509/certificate.ts';
import { DerReader, TAG } from '../../../attestation/x509/der.ts';
import { readCertId, type OcspCertId } from '../../../attestation/x509/ocspCertId.ts';
import {
  authorityExtensions,
  issueCertificate,
  signerExtension,
  simulatedName,
  type Authority,
} from '../../../enclave/collect/simulated/certificate.ts';
import {
  AUTHORITY,
  DAY,
  encodeError,
  generateKey,
  mintResponder,
  NOW,
  respond,
  type StatementParts,
} from '../../support/ocspAuthority.ts';
import type { Answer } from './server.ts';

/** What a responder was asked. */
export interface Asked {
  readonly method: string | undefined;
  readonly type: string | undefined;
  readonly certId: OcspCertId;
  /** Whether the request has extensions, such as a nonce. */
  readonly extended: boolean;
}

export interface OcspService {
  /** For the path `/` of a server. */
  readonly answer: Answer;
  readonly asked: Asked[];
  /** Encoded responses by the serial asked for, in hex; for others it is `unauthorized`. */
  readonly responses: Map<string, Uint8Array>;
}

const UNAUTHORIZED = 6;

/** A responder that reads what it is asked, over a real socket. */
export function ocspService(responses: Iterable<readonly [string, Uint8Array]> = []): OcspService {
  const table = new Map(responses);
  const asked: Asked[] = [];
  return {
    asked,
    responses: table,
    answer: (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { certId, extended } = readRequest(new Uint8Array(Buffer.concat(chunks)));
        asked.push({ method: request.method, type: request.headers['content-type'], certId, extended });
        const body = table.get(toHex(certId.serial)) ?? encodeError(UNAUTHORIZED);
        response.writeHead(200, { 'content-type': 'application/ocsp-response' }).end(body);
      });
    },
  };
}

/** OCSPRequest (RFC 6960 section 4.1.1) with one question. */
function readRequest(der: Uint8Array): Pick<Asked, 'certId' | 'extended'> {
  const whole = new DerReader(der, 'OCSPRequest');
  const request = whole.enter(TAG.sequence);
  whole.end();
  const tbs = request.enter(TAG.sequence);
  request.end();
  const list = tbs.enter(TAG.sequence);
  const single = list.enter(TAG.sequence);
  list.end();
  const certId = readCertId(single);
  single.end();
  return { certId, extended: !tbs.done };
}

const { deviceRoot, deviceIdentity, deviceProvisioner, rimRoot, rimCa, rimIssuer, rimSigner } = AUTHORITY;

/** A chain shaped as that of a device, under a root that nobody knows. */
export interface MintedChain {
  /** Leaf first, root last. */
  readonly certificates: readonly Uint8Array[];
  /** What responders say of boot ROM, provisioner and identity, by serial. */
  statuses(statement?: Omit<StatementParts, 'certId'>): readonly (readonly [string, Uint8Array])[];
}

export function mintChain(): MintedChain {
  const names = ['root', 'identity', 'provisioner', 'boot ROM', 'leaf'];
  const chain: Authority[] = [];
  for (const [i, commonName] of names.entries()) {
    const key = generateKey();
    const name = simulatedName(`stranger ${commonName}`);
    const template = {
      subject: name,
      serial: concat(Uint8Array.of(0x41, i), randomBytes(6)),
      notBefore: new Date('2020-01-01T00:00:00Z'),
      notAfter: new Date('9999-12-31T23:59:59Z'),
      publicKey: createPublicKey(key),
      extensions: i < 4 ? authorityExtensions(undefined, 'certificates') : [signerExtension()],
    };
    chain.unshift({ key, name, certificate: issueCertificate(template, chain[0] ?? { name, key }) });
  }
  return {
    certificates: chain.map(({ certificate }) => certificate),
    statuses: (statement) =>
      chain.slice(1, 4).map(({ certificate }, i) => statusOf(chain[i + 2]!, certificate, statement)),
  };
}

/** Certificates of the simulated authorities and who issued them. */
const ISSUED: readonly (readonly [issuer: Authority, subject: Authority])[] = [
  [deviceRoot, deviceIdentity],
  [deviceIdentity, deviceProvisioner],
  [rimRoot, rimCa],
  [rimCa, rimIssuer],
  [rimIssuer, rimSigner],
];

export function serialOf({ serial }: Pick<Certificate, 'serial'>): string {
  return toHex(serial);
}

/** What responders of the simulated authorities say of them, and of the boot ROM of a device below them. */
export function statusesOf(
  bootRom: Uint8Array | undefined,
  statement: Omit<StatementParts, 'certId'> = {},
): readonly (readonly [string, Uint8Array])[] {
  const authorities = ISSUED.map(([issuer, { certificate }]) => [issuer, certificate] as const);
  const all = bootRom ? [...authorities, [deviceProvisioner, bootRom] as const] : authorities;
  return all.map(([issuer, der]) => statusOf(issuer, der, statement));
}

/** A response of a responder that is in date when it answers, by the serial. */
function statusOf(
  issuer: Authority,
  der: Uint8Array,
  statement: Omit<StatementParts, 'certId'> = {},
): readonly [string, Uint8Array] {
  const { thisUpdate = NOW } = statement;
  const month = 30 * DAY;
  const responder = mintResponder(issuer, { notBefore: thisUpdate - month, notAfter: thisUpdate + month });
  const certificate = parseCertificate(der);
  return [serialOf(certificate), respond(issuer, certificate, statement, responder)];
}
