import { createHash } from 'node:crypto';
import { toBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { readAuthority } from './certificate.ts';
import {
  CHIP,
  DRIVER_INDICES,
  DRIVER_RIM_ID,
  DRIVER_VERSION,
  goldenValues,
  MEASUREMENT_COUNT,
  VBIOS_INDICES,
  VBIOS_RIM_ID,
  VBIOS_VERSION,
} from './reference.ts';
import { SIMULATED_ROOTS } from './roots.ts';
import { signP384 } from './signing.ts';

const MANUFACTURER = 'Vouchsafe SIMULATED';
/** NVIDIA's IANA enterprise number, which the manifest format demands. */
const MANUFACTURER_ID = '5703';
const NS = {
  swid: 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd',
  sha384: 'http://www.w3.org/2001/04/xmlenc#sha384',
  rim: 'https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/',
  signature: 'http://www.w3.org/2000/09/xmldsig#',
} as const;
const ALGORITHM = {
  c14n: 'http://www.w3.org/2006/12/xml-c14n11',
  enveloped: 'http://www.w3.org/2000/09/xmldsig#enveloped-signature',
  ecdsaSha384: 'http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384',
  sha384: 'http://www.w3.org/2001/04/xmldsig-more#sha384',
} as const;

/** Namespaces in scope of the root element's children, in canonical order around `ds`. */
const DEFAULT_NAMESPACE = `xmlns="${NS.swid}"`;
const DS_NAMESPACE = `xmlns:ds="${NS.signature}"`;
const PREFIXED_NAMESPACES = `xmlns:ns0="${NS.swid}" xmlns:ns2="${NS.sha384}"`;
const END_OF_ROOT = '</SoftwareIdentity>';

interface Manifest {
  readonly id: string;
  readonly version: string;
  readonly active: ReadonlySet<number>;
}

const DRIVER: Manifest = { id: DRIVER_RIM_ID, version: DRIVER_VERSION, active: DRIVER_INDICES };
const VBIOS: Manifest = { id: VBIOS_RIM_ID, version: VBIOS_VERSION, active: VBIOS_INDICES };

let published: Promise<readonly (readonly [string, Uint8Array])[]> | undefined;

/**
 * The signed reference integrity manifests of the simulated GPU, by RIM id. They are of the kind of GPU, not of one
 * machine, and are signed once for a process.
 */
export async function createSimulatedRims(): Promise<ReadonlyMap<string, Uint8Array>> {
  published ??= Promise.all([DRIVER, VBIOS].map(signManifest));
  return new Map((await published).map(([id, rim]) => [id, rim.slice()]));
}

async function signManifest(manifest: Manifest): Promise<[string, Uint8Array]> {
  const canonical = canonicalManifest(manifest);
  const signature = await signatureElement(canonical);
  const xml = canonical.slice(0, -END_OF_ROOT.length) + signature + END_OF_ROOT;
  return [manifest.id, utf8(xml)];
}

/**
 * SWID tag without signature, written in the form that Canonical XML 1.1 gives: attributes without namespace first
 * and by name, no empty-element tags, no declaration. The enveloped transform leaves exactly these bytes.
 */
function canonicalManifest({ id, version, active }: Manifest): string {
  const tagId = createHash('sha384').update(`vouchsafe simulated ${id}`).digest('hex');
  const resources = Array.from({ length: MEASUREMENT_COUNT }, (_, i) => resource(i, active.has(i)));
  return [
    `<SoftwareIdentity ${DEFAULT_NAMESPACE} ${PREFIXED_NAMESPACES} corpus="false" name="${CHIP}" patch="false" supplemental="false" tagId="${tagId}" tagVersion="0" version="1.0">`,
    `    <ns0:Entity name="${MANUFACTURER}" role="softwareCreator tagCreator"></ns0:Entity>`,
    meta(version),
    '    <ns0:Payload>',
    ...resources,
    '    </ns0:Payload>',
    END_OF_ROOT,
  ].join('\n');
}

function meta(version: string): string {
  return [
    `    <ns0:Meta xmlns:ns1="${NS.rim}" PayloadType="direct" colloquialVersion="${version}" edition="GPU"`,
    `product="${CHIP}" revision="r1" ns1:BindingSpec="RIMIM" ns1:BindingSpecVersion="1.01"`,
    `ns1:FirmwareManufacturer="${MANUFACTURER}" ns1:FirmwareManufacturerId="${MANUFACTURER_ID}"`,
    `ns1:PlatformManufacturerId="${MANUFACTURER_ID}" ns1:PlatformManufacturerStr="${MANUFACTURER}"`,
    `ns1:PlatformModel="${CHIP}"></ns0:Meta>`,
  ].join(' ');
}

/** Inactive indices carry one zero value, as in real manifests. */
function resource(index: number, active: boolean): string {
  const values = active ? goldenValues(index) : [new Uint8Array(48)];
  const hashes = values.map((value, i) => `ns2:Hash${i}="${toHex(value)}"`).join(' ');
  const head = `active="${active ? 'True' : 'False'}" alternatives="${values.length}" index="${index}"`;
  return `        <ns0:Resource ${head} name="Measurement_${index}" size="48" type="Measurement" ${hashes}></ns0:Resource>`;
}

/** Enveloped XML signature (XML-DSig 1.1): ECDSA P-384 with SHA-384, four certificates, signer first. */
async function signatureElement(canonical: string): Promise<string> {
  const signer = readAuthority(SIMULATED_ROOTS.rimSigner);
  const content = signedInfoContent(createHash('sha384').update(canonical).digest());
  // Inclusive canonicalization writes the namespaces in scope on the apex, sorted by prefix.
  const namespaces = `${DEFAULT_NAMESPACE} ${DS_NAMESPACE} ${PREFIXED_NAMESPACES}`;
  const signedInfo = `<ds:SignedInfo ${namespaces}>${content}</ds:SignedInfo>`;
  const value = await signP384(utf8(signedInfo), signer.key);
  return [
    `<ds:Signature ${DS_NAMESPACE}>`,
    `<ds:SignedInfo>${content}</ds:SignedInfo>`,
    `<ds:SignatureValue>${toBase64(value)}</ds:SignatureValue>`,
    `<ds:KeyInfo><ds:X509Data>${keyInfoCertificates()}</ds:X509Data></ds:KeyInfo>`,
    '</ds:Signature>',
  ].join('');
}

function signedInfoContent(digest: Uint8Array): string {
  const algorithm = (name: string, uri: string) => `<ds:${name} Algorithm="${uri}"></ds:${name}>`;
  return [
    algorithm('CanonicalizationMethod', ALGORITHM.c14n),
    algorithm('SignatureMethod', ALGORITHM.ecdsaSha384),
    '<ds:Reference URI=""><ds:Transforms>',
    algorithm('Transform', ALGORITHM.enveloped),
    algorithm('Transform', ALGORITHM.c14n),
    '</ds:Transforms>',
    algorithm('DigestMethod', ALGORITHM.sha384),
    `<ds:DigestValue>${toBase64(digest)}</ds:DigestValue></ds:Reference>`,
  ].join('');
}

function keyInfoCertificates(): string {
  const { rimSigner, rimIssuer, rimCa, rimRoot } = SIMULATED_ROOTS;
  return [rimSigner, rimIssuer, rimCa, rimRoot]
    .map(({ certificate }) => `<ds:X509Certificate>${lines(certificate)}</ds:X509Certificate>`)
    .join('');
}

/** Base64 in lines of 64, each ended, as real manifests have it. */
function lines(base64: string): string {
  return base64.replaceAll(/.{1,64}/g, '$&\n');
}
