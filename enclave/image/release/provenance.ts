import type { KeyObject } from 'node:crypto';
import * as z from 'zod';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import { hex } from '../../../attestation/policy/shapes.ts';
import { readDocument } from './document.ts';
import { openEnvelope, PAYLOAD, signEnvelope } from './dsse.ts';
import { FILES, type ImageManifest, manifestDigest, type ManifestInput } from './manifest.ts';
import { packageUrl } from './packageUrl.ts';

const STATEMENT = 'https://in-toto.io/Statement/v1';
const SLSA = 'https://slsa.dev/provenance/v1';
/** What the parameters mean: README of this room. */
const BUILD_TYPE = 'urn:vouchsafe:image-build:1';
/** Whoever built it, where nothing else is said. */
export const LOCAL_BUILDER = 'urn:vouchsafe:image-builder:local';
const MAX_BYTES = 4 * 1024 * 1024;

const subject = z.strictObject({
  name: z.string().min(1).max(200),
  digest: z.strictObject({ sha256: hex(32) }),
});
const dependency = z.strictObject({
  name: z.string().max(200),
  uri: z.string().max(2000),
  digest: z.strictObject({
    sha256: hex(32),
    sha512: hex(64).optional(),
    gitCommit: z
      .string()
      .regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/)
      .optional(),
  }),
});
const statementSchema = z.strictObject({
  _type: z.literal(STATEMENT),
  subject: z.array(subject).min(1).max(100),
  predicateType: z.literal(SLSA),
  predicate: z.strictObject({
    buildDefinition: z.strictObject({
      buildType: z.literal(BUILD_TYPE),
      externalParameters: z.record(z.string(), z.unknown()),
      resolvedDependencies: z.array(dependency).max(6000),
    }),
    runDetails: z.strictObject({
      builder: z.strictObject({ id: z.string().min(1).max(1000), version: z.record(z.string(), z.string()) }),
    }),
  }),
});

/** An in-toto Statement v1 with SLSA provenance v1. */
export type Provenance = z.infer<typeof statementSchema>;

/**
 * How an image was made. It has no time and no number of a run: who builds the same again can compare it byte by byte,
 * and signs it in their own name.
 */
export function provenanceOf(manifest: ImageManifest, builderId: string): Uint8Array {
  const { release, source, parameters, outputs, inputs, parts } = manifest;
  const statement = {
    _type: STATEMENT,
    subject: [
      { name: FILES.manifest, digest: { sha256: toHex(manifestDigest(manifest)) } },
      ...outputs.map(({ file, sha256 }) => ({ name: file, digest: { sha256 } })),
    ],
    predicateType: SLSA,
    predicate: {
      buildDefinition: {
        buildType: BUILD_TYPE,
        externalParameters: { release: release.name, cmdline: parts.cmdline, ...parameters },
        resolvedDependencies: [sourceOf(source, release.version), ...inputs.map(dependencyOf)],
      },
      runDetails: { builder: { id: builderId, version: { vouchsafe: release.version } } },
    },
  };
  return utf8(canonicalJson(statement));
}

function sourceOf({ commit, tree }: ImageManifest['source'], version: string): unknown {
  const digest = { sha256: tree, ...(commit === null ? {} : { gitCommit: commit }) };
  return { name: 'source', uri: `pkg:npm/vouchsafe@${version}`, digest };
}

function dependencyOf(input: ManifestInput): unknown {
  const { kind, name, path, sha256, integrity } = input;
  const sha512 = integrity?.startsWith('sha512-')
    ? Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex')
    : undefined;
  const uri = packageUrl(input) ?? `urn:vouchsafe:${kind}:${encodeURIComponent(path === '' ? name : path)}`;
  return { name, uri, digest: { sha256, ...(sha512 === undefined ? {} : { sha512 }) } };
}

export function signProvenance(statement: Uint8Array, key: KeyObject): Uint8Array {
  return signEnvelope(PAYLOAD.provenance, statement, key);
}

/** Refuses as `IMAGE_MANIFEST_INVALID`. */
export function parseProvenance(statement: Uint8Array): Provenance {
  return readDocument(statementSchema, statement, MAX_BYTES, 'the provenance statement');
}

/** The same from an envelope; refuses as `IMAGE_SIGNATURE_INVALID` as well. */
export async function openProvenance(
  envelope: Uint8Array,
  pinned: readonly Uint8Array[],
): Promise<Provenance> {
  return parseProvenance(await openEnvelope(envelope, PAYLOAD.provenance, pinned));
}

/** Names of files of an image that a statement does not speak of, or of which it says another digest. */
export function unspokenFiles(statement: Provenance, manifest: ImageManifest): readonly string[] {
  const said = new Map(statement.subject.map(({ name, digest }) => [name, digest.sha256]));
  const files = [{ file: FILES.manifest, sha256: toHex(manifestDigest(manifest)) }, ...manifest.outputs];
  return files.filter(({ file, sha256 }) => said.get(file) !== sha256).map(({ file }) => file);
}
