import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { Anchor } from '../../attestation/anchors.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { OperatorClaims } from '../../attestation/operator/statement.ts';
import { TAG } from '../../attestation/x509/der.ts';
import {
  authorityExtensions,
  extension,
  issueCertificate,
  signerExtension,
} from '../../enclave/collect/simulated/certificate.ts';
import * as der from '../../enclave/collect/simulated/der.ts';
import { signOperatorStatement } from '../../src/cli/operatorSigning.ts';
import { NOW } from './world.ts';

// An organisation with keys of its own, minted for the tests: root, authority, signing certificate.

export const OPERATOR_OIDS = {
  codeSigning: '1.3.6.1.5.5.7.3.3',
  documentSigning: '1.3.6.1.5.5.7.3.36',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  any: '2.5.29.37.0',
} as const;

export interface OrganisationOptions {
  readonly keys?: KeyObject;
  /** Of the signing certificate. None leaves the extension out. */
  readonly purposes?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Encoded, in place of keyUsage. */
  readonly usage?: readonly Uint8Array[];
  /** Encoded subject of the signing certificate. */
  readonly subject?: Uint8Array;
}

export interface Organisation {
  readonly name: string;
  readonly key: KeyObject;
  /** Leaf first. */
  readonly certificates: readonly [leaf: Uint8Array, authority: Uint8Array, root: Uint8Array];
  readonly anchors: Readonly<Record<'leaf' | 'authority' | 'root', Anchor>>;
}

export function ecKey(namedCurve: string): KeyObject {
  return generateKeyPairSync('ec', { namedCurve }).privateKey;
}

/** A name with the attributes in order. */
export function nameOf(...attributes: readonly (readonly [type: string, value: Uint8Array])[]): Uint8Array {
  return der.sequence(
    ...attributes.map(([type, value]) => der.element(TAG.set, der.sequence(der.oid(type), value))),
  );
}

const organisationName = (organisation: string, commonName: string): Uint8Array =>
  nameOf(['2.5.4.10', der.utf8String(organisation)], ['2.5.4.3', der.utf8String(commonName)]);

export function mintOrganisation(name: string, options: OrganisationOptions = {}): Organisation {
  const validity = {
    notBefore: options.notBefore ?? new Date('2025-01-01T00:00:00Z'),
    notAfter: options.notAfter ?? new Date('2035-01-01T00:00:00Z'),
  };
  const [rootKey, authorityKey, key] = [ecKey('P-384'), ecKey('P-384'), options.keys ?? ecKey('P-256')];
  const [rootName, authorityName] = [organisationName(name, 'Root'), organisationName(name, 'Authority')];
  const purposes = options.purposes ?? [OPERATOR_OIDS.codeSigning];
  const issue = (
    subject: Uint8Array,
    serial: number,
    subjectKey: KeyObject,
    issuer: { name: Uint8Array; key: KeyObject },
    extensions: readonly Uint8Array[],
  ) =>
    issueCertificate(
      {
        subject,
        serial: Uint8Array.of(serial),
        publicKey: createPublicKey(subjectKey),
        extensions,
        ...validity,
      },
      issuer,
    );
  const rootIssuer = { name: rootName, key: rootKey };
  const usage = options.usage ?? [signerExtension()];
  const allowed = purposes.length > 0 ? [extension('2.5.29.37', der.sequence(...purposes.map(der.oid)))] : [];
  const certificates = [
    issue(
      options.subject ?? organisationName(name, 'Signer'),
      3,
      key,
      { name: authorityName, key: authorityKey },
      [...usage, ...allowed],
    ),
    issue(authorityName, 2, authorityKey, rootIssuer, authorityExtensions(0, 'certificates')),
    issue(rootName, 1, rootKey, rootIssuer, authorityExtensions(1, 'certificates')),
  ] as const;
  return {
    name,
    key,
    certificates,
    anchors: {
      leaf: anchorOf(name, key),
      authority: anchorOf(name, authorityKey),
      root: anchorOf(name, rootKey),
    },
  };
}

function anchorOf(name: string, key: KeyObject): Anchor {
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const spkiSha256 = toHex(nodeCrypto.hash('sha256', spki));
  return { role: 'operator', name: `minted ${name}`, spkiSha256, simulated: false };
}

const DAY_SECONDS = 86_400;

/** What an organisation says of an instance; in date for ten days around the time of the tests. */
export function claimsFor(instance: Uint8Array, changes: Partial<OperatorClaims> = {}): OperatorClaims {
  return {
    organisation: 'Example GmbH',
    instance,
    image: undefined,
    text: 'We operate this service and answer for it.',
    notBefore: NOW / 1000 - DAY_SECONDS,
    notAfter: NOW / 1000 + 9 * DAY_SECONDS,
    ...changes,
  };
}

/** A statement by the organisation about an instance. */
export function stateFor(
  organisation: Organisation,
  instance: Uint8Array,
  changes: Partial<OperatorClaims> = {},
): Uint8Array {
  const claims = claimsFor(instance, { organisation: organisation.name, ...changes });
  return signOperatorStatement(claims, organisation.key, organisation.certificates);
}
