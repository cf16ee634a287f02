import { createHash } from 'node:crypto';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import type { ManifestInput, ManifestOutput } from './manifest.ts';
import { packageUrl } from './packageUrl.ts';

export interface SbomInput {
  /** Of the release. */
  readonly name: string;
  readonly version: string;
  readonly inputs: readonly ManifestInput[];
  readonly outputs: readonly ManifestOutput[];
}

const IMAGE_REF = 'image';
const HASH_NAMES: Readonly<Record<string, string>> = {
  sha256: 'SHA-256',
  sha384: 'SHA-384',
  sha512: 'SHA-512',
};
/** An SPDX expression in simple form; other words are the name of a licence. */
const EXPRESSION = /^\(?[A-Za-z0-9.+-]+\)?(?: (?:AND|OR|WITH) \(?[A-Za-z0-9.+-]+\)?)*$/;
const TYPES: Readonly<Record<ManifestInput['kind'], string>> = {
  debian: 'library',
  npm: 'library',
  source: 'application',
  configuration: 'file',
  model: 'machine-learning-model',
  firmware: 'firmware',
};

/**
 * CycloneDX 1.6 (ECMA-424) in JSON: all inputs as components, those that only help to build as `excluded`. It has no
 * time, and its serial number follows from its content: equal images have one SBOM.
 */
export function encodeSbom(input: SbomInput): Uint8Array {
  const body = bomOf(input);
  const serialNumber = `urn:uuid:${uuidOf(utf8(canonicalJson(body)))}`;
  return utf8(canonicalJson({ ...body, serialNumber }));
}

function bomOf({ name, version, inputs, outputs }: SbomInput): Readonly<Record<string, unknown>> {
  const components = inputs.map(componentOf);
  const shipped = components
    .filter(({ scope }) => scope === 'required')
    .map((component) => component['bom-ref']);
  const disk = outputs.find(({ role }) => role === 'disk');
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      lifecycles: [{ phase: 'build' }],
      tools: { components: [{ type: 'application', name: 'vouchsafe image build', version }] },
      component: {
        type: 'operating-system',
        'bom-ref': IMAGE_REF,
        name,
        version,
        hashes: disk ? [{ alg: 'SHA-256', content: disk.sha256 }] : [],
        properties: outputs.map(({ role, file, sha256 }) => ({
          name: `vouchsafe:output:${role}`,
          value: `${file} ${sha256}`,
        })),
      },
    },
    components,
    dependencies: [{ ref: IMAGE_REF, dependsOn: shipped }],
  };
}

interface Component {
  readonly 'bom-ref': string;
  readonly scope: 'required' | 'excluded';
}

/** References have a number: one package may stand at several paths. */
function componentOf(input: ManifestInput, index: number): Component {
  const { kind, name, version, path, sha256, integrity, licence, uses } = input;
  const purl = packageUrl(input);
  const scope = uses.every((use) => use === 'tool') ? 'excluded' : 'required';
  return {
    type: TYPES[kind],
    'bom-ref': `input-${index + 1}`,
    ...nameParts(kind, name),
    ...(version === '' ? {} : { version }),
    scope,
    hashes: [{ alg: 'SHA-256', content: sha256 }, ...hashOfIntegrity(integrity)],
    ...(licence === null ? {} : { licenses: [licenceOf(licence)] }),
    ...(purl === undefined ? {} : { purl }),
    properties: [
      ...uses.map((use) => ({ name: 'vouchsafe:use', value: use })),
      ...(path === '' ? [] : [{ name: 'vouchsafe:path', value: path }]),
    ],
  } as Component;
}

/** A scope of npm is a group. */
function nameParts(
  kind: ManifestInput['kind'],
  name: string,
): { readonly name: string; readonly group?: string } {
  const slash = name.indexOf('/');
  if (kind !== 'npm' || slash < 0) return { name };
  return { group: name.slice(0, slash), name: name.slice(slash + 1) };
}

/** Several digests are those of several algorithms (Subresource Integrity); SHA-256 is that of the file already. */
function hashOfIntegrity(
  integrity: string | null,
): readonly { readonly alg: string; readonly content: string }[] {
  const [algorithm = '', base64 = ''] = integrity?.split('-') ?? [];
  const alg = HASH_NAMES[algorithm];
  if (alg === undefined || algorithm === 'sha256') return [];
  return [{ alg, content: Buffer.from(base64, 'base64').toString('hex') }];
}

function licenceOf(licence: string): unknown {
  return EXPRESSION.test(licence) ? { expression: licence } : { license: { name: licence } };
}

/** Version 8 of RFC 9562: 122 bits of the SHA-256. */
function uuidOf(content: Uint8Array): string {
  const bytes = createHash('sha256').update(content).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
