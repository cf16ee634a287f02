import { fromHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { attributeOf, elementsOf, type XmlElement } from './xml.ts';

const SWID = 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd';
const SHA384 = 'http://www.w3.org/2001/04/xmlenc#sha384';
const RIM =
  'https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/';
/** IANA enterprise number of NVIDIA. */
const NVIDIA = '5703';
const MAX_INDEX = 255;
const MAX_ALTERNATIVES = 16;
const VALUE_BYTES = 48;

/** Reference values of one measurement. Those of inactive indices carry no meaning. */
export interface ReferenceMeasurement {
  readonly active: boolean;
  /** SHA-384 values, any of which matches; all-zero is a value like any other. */
  readonly alternatives: readonly Uint8Array[];
}

/** What a manifest says (ISO/IEC 19770-2 with the TCG RIM information model). */
export interface Manifest {
  readonly tagId: string;
  /** Chip, such as `GH100`. */
  readonly product: string;
  /** Version of the driver, VBIOS or BIOS that is described. */
  readonly version: string;
  readonly edition: 'GPU' | 'SWITCH';
  /** By RIM index. */
  readonly measurements: ReadonlyMap<number, ReferenceMeasurement>;
}

/** Reads a manifest without signature. Elements are read at their places, by namespace and not by prefix. */
export function readManifest(root: XmlElement): Manifest {
  expectName(root, 'SoftwareIdentity');
  for (const name of ['corpus', 'patch', 'supplemental']) {
    if (attributeOf(root, name) !== 'false') {
      throw new Refusal(
        'MALFORMED',
        `the manifest does not say ${name} false: it describes no whole product`,
      );
    }
  }
  const [entity, meta, payload, extra] = elementsOf(root);
  if (!entity || !meta || !payload || extra) {
    throw new Refusal('MALFORMED', 'the manifest is not Entity, Meta and Payload');
  }
  expectName(entity, 'Entity');
  return {
    tagId: required(root, 'tagId'),
    ...readMeta(meta),
    measurements: readPayload(payload),
  };
}

function readMeta(meta: XmlElement): Pick<Manifest, 'product' | 'version' | 'edition'> {
  expectName(meta, 'Meta');
  const edition = required(meta, 'edition');
  if (edition !== 'GPU' && edition !== 'SWITCH') {
    throw new Refusal('UNSUPPORTED', `manifest edition ${edition} is not known`);
  }
  if (attributeOf(meta, 'FirmwareManufacturerId', RIM) !== NVIDIA) {
    throw new Refusal('MALFORMED', 'the manifest does not describe firmware of NVIDIA');
  }
  if (required(meta, 'PayloadType') !== 'direct') {
    throw new Refusal('UNSUPPORTED', 'the manifest does not hold its payload');
  }
  return { product: required(meta, 'product'), version: required(meta, 'colloquialVersion'), edition };
}

/** Reads all measurements of a Payload; duplicate indices are refused. */
export function readPayload(payload: XmlElement): ReadonlyMap<number, ReferenceMeasurement> {
  expectName(payload, 'Payload');
  const measurements = new Map<number, ReferenceMeasurement>();
  for (const resource of elementsOf(payload)) {
    const [index, measurement] = readResource(resource);
    if (measurements.has(index)) throw new Refusal('MALFORMED', `the manifest has index ${index} twice`);
    measurements.set(index, measurement);
  }
  return measurements;
}

function readResource(resource: XmlElement): [number, ReferenceMeasurement] {
  expectName(resource, 'Resource');
  if (resource.children.length > 0 || required(resource, 'type') !== 'Measurement') {
    throw new Refusal('MALFORMED', 'a resource of the manifest is no measurement');
  }
  const active = required(resource, 'active');
  if (active !== 'True' && active !== 'False') {
    throw new Refusal('MALFORMED', `a measurement is active ${active}, neither True nor False`);
  }
  const index = readNumber(resource, 'index', MAX_INDEX);
  if (readNumber(resource, 'size', VALUE_BYTES) !== VALUE_BYTES) {
    throw new Refusal('MALFORMED', `values of index ${index} are not of ${VALUE_BYTES} bytes`);
  }
  return [index, { active: active === 'True', alternatives: readAlternatives(resource, index) }];
}

/** `Hash0` to `Hash<n-1>` in the namespace of SHA-384, and no other attributes than the known ones. */
function readAlternatives(resource: XmlElement, index: number): readonly Uint8Array[] {
  const count = readNumber(resource, 'alternatives', MAX_ALTERNATIVES);
  const names = Array.from({ length: count }, (_, i) => `Hash${i}`);
  const plain = resource.attributes.filter(({ namespace }) => namespace === '');
  const known = ['type', 'index', 'active', 'alternatives', 'size', 'name'];
  const hashes = resource.attributes.length - plain.length;
  if (count === 0 || hashes !== count || !plain.every(({ localName }) => known.includes(localName))) {
    throw new Refusal('MALFORMED', `index ${index} has other attributes than ${count} values`);
  }
  return names.map((name) => {
    const value = fromHex(required(resource, name, SHA384));
    if (value.length !== VALUE_BYTES)
      throw new Refusal('MALFORMED', `${name} of index ${index} is no SHA-384`);
    return value;
  });
}

function readNumber(element: XmlElement, name: string, maximum: number): number {
  const text = required(element, name);
  const value = /^(?:0|[1-9]\d{0,2})$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= maximum)) throw new Refusal('MALFORMED', `${name} ${text} is no number up to ${maximum}`);
  return value;
}

function required(element: XmlElement, name: string, namespace = ''): string {
  const value = attributeOf(element, name, namespace);
  if (!value) throw new Refusal('MALFORMED', `${element.localName} has no ${name}`);
  return value;
}

function expectName(element: XmlElement, localName: string): void {
  if (element.namespace !== SWID || element.localName !== localName) {
    throw new Refusal('MALFORMED', `${element.qualifiedName} stands where ${localName} belongs`);
  }
}
