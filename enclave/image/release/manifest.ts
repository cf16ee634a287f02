import * as z from 'zod';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import { hex } from '../../../attestation/policy/shapes.ts';
import { readDocument } from './document.ts';

/** Files of an output folder beside those of the image. */
export const FILES = {
  manifest: 'vouchsafe-image.json',
  signedManifest: 'vouchsafe-image.dsse.json',
  fileLists: 'vouchsafe-image.files.json',
  sbom: 'vouchsafe-image.cdx.json',
  provenance: 'vouchsafe-image.provenance.json',
  signedProvenance: 'vouchsafe-image.intoto.jsonl',
} as const;

/** Largest manifest, bytes. One of a thousand inputs has about 300 KB. */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

const text = z.string().min(1).max(1000);
const bytes = z
  .int()
  .min(0)
  .max(2 ** 50);
const digests = z.strictObject({ sha256: hex(32), sha384: hex(48) });

/** It stands in front of each value in a policy, and in verdicts. */
export const releaseName = z.string().regex(/^[a-z0-9][a-z0-9._+-]{0,99}$/, 'expected the name of a release');
/** Of the output folder itself: nothing leads out of it. */
const fileName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/, 'expected a plain file name');

const input = z.strictObject({
  kind: z.enum(['debian', 'npm', 'source', 'configuration', 'model', 'firmware']),
  name: text,
  version: z.string().max(200),
  path: z.string().max(1000),
  bytes,
  sha256: hex(32),
  integrity: z
    .string()
    .regex(/^sha(?:256|384|512)-[A-Za-z0-9+/]{40,90}={0,2}$/)
    .nullable(),
  licence: text.nullable(),
  uses: z.array(z.enum(['root', 'initrd', 'kernel', 'stub', 'models', 'tool'])).max(6),
});

const firmware = z.strictObject({ name: text, sha256: hex(32) });
const direct = { boot: z.literal('direct'), rewrittenForMemory: bytes.nullable() };
const disk = { boot: z.literal('disk') };
const tpm = { platform: z.literal('tpm'), bank: z.enum(['sha256', 'sha384']) };
const tdx = {
  platform: z.literal('tdx'),
  firmware: firmware.nullable(),
  pageOrder: z.enum(['one-pass', 'two-pass']),
  separators: z.union([z.literal(0), z.literal(1)]),
};

/** A launch that was predicted: a profile of the builder, with firmware by its digest. */
const profile = z.union([
  z.strictObject({ ...tpm, ...disk }),
  z.strictObject({ ...tpm, ...direct }),
  z.strictObject({ ...tdx, ...disk }),
  z.strictObject({ ...tdx, ...direct }),
  z.strictObject({
    platform: z.literal('snp'),
    boot: z.literal('direct'),
    firmware,
    vmm: z.enum(['qemu', 'ec2', 'gce']),
    vcpus: z.int().min(1).max(4096),
    cpu: text.nullable(),
    guestFeatures: z.string().regex(/^0x[0-9a-f]{1,16}$/),
  }),
]);

const prediction = z.strictObject({
  profile,
  values: z
    .array(
      z.strictObject({
        member: z
          .string()
          .regex(
            /^(?:snp\.measurements|tdx\.(?:mrTd|rtmr1|rtmr2)|tpm\.pcrs\.sha(?:256|384)\.(?:[0-9]|1[0-9]|2[0-3]))$/,
          ),
        value: z.union([hex(32), hex(48)]),
        from: z.array(text).max(40),
      }),
    )
    .max(64),
  unpredicted: z.array(z.strictObject({ what: text, why: text })).max(64),
});

const guid = z.string().regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
const verity = {
  rootHash: hex(32),
  dataBlocks: z
    .int()
    .min(1)
    .max(2 ** 40),
  salt: z.string().regex(/^(?:[0-9a-f]{2}){0,256}$/),
};

const parts = z.strictObject({
  uki: z.strictObject({
    stub: z.enum(['systemd-252', 'systemd-254', 'systemd-257']),
    uname: text,
    authenticode: digests,
    /** In the order of the section table; as they lie in memory. */
    sections: z.array(z.strictObject({ name: z.string().max(8), bytes, sha256: hex(32) })).max(96),
  }),
  kernel: z.strictObject({ authenticode: digests }),
  cmdline: z.string().max(4096),
  partitions: z
    .array(
      z.strictObject({
        name: z.string().max(36),
        type: guid,
        guid,
        firstSector: bytes,
        lastSector: bytes,
      }),
    )
    .max(128),
  root: z.strictObject(verity),
  models: z
    .strictObject({
      ...verity,
      models: z.array(z.strictObject({ name: text, manifest: hex(32).nullable() })).max(1000),
    })
    .nullable(),
});

export const OUTPUT_ROLES = [
  'disk', 'uki', 'kernel', 'initrd', 'cmdline', 'root', 'rootTree', 'models', 'modelsTree', 'fileLists', 'sbom',
] as const; // prettier-ignore
export type OutputRole = (typeof OUTPUT_ROLES)[number];

const output = z.strictObject({ role: z.enum(OUTPUT_ROLES), file: fileName, bytes, sha256: hex(32) });

export const manifestSchema = z.strictObject({
  version: z.literal('vouchsafe/image/1'),
  release: z.strictObject({ name: releaseName, version: text }),
  source: z.strictObject({ commit: z.union([hex(20), hex(32)]).nullable(), tree: hex(32) }),
  parameters: z.record(z.string().regex(/^[A-Za-z][A-Za-z0-9.-]{0,99}$/), z.string().max(1000)),
  inputs: z.array(input).max(5000),
  parts,
  outputs: z
    .array(output)
    .max(OUTPUT_ROLES.length)
    .refine((outputs) => isUnique(outputs.map(({ role }) => role)), 'expected each role once')
    .refine((outputs) => isUnique(outputs.map(({ file }) => file)), 'expected each file once'),
  predictions: z.array(prediction).max(256),
});

function isUnique(items: readonly string[]): boolean {
  return new Set(items).size === items.length;
}

/** All that an image was made of, what it consists of, and what launches of it will measure. */
export type ImageManifest = z.infer<typeof manifestSchema>;
export type ManifestInput = z.infer<typeof input>;
export type ManifestOutput = z.infer<typeof output>;
export type ManifestPrediction = z.infer<typeof prediction>;
export type ManifestProfile = z.infer<typeof profile>;
export type ManifestParts = z.infer<typeof parts>;

/** The bytes of the file: RFC 8785, so that equal manifests have one digest. */
export function encodeManifest(manifest: ImageManifest): Uint8Array {
  return utf8(canonicalJson(manifest));
}

/** Refuses as `IMAGE_MANIFEST_INVALID` what is not exactly such a document in its canonical form. */
export function parseManifest(file: Uint8Array): ImageManifest {
  return readDocument(manifestSchema, file, MAX_MANIFEST_BYTES, 'the manifest');
}

/** What signed statements name a release by: SHA-256 of the file, 32 bytes. */
export function manifestDigest(manifest: ImageManifest): Uint8Array {
  return nodeCrypto.hash('sha256', encodeManifest(manifest));
}

/** The file of a role; undefined where the image has none. */
export function outputOf(
  { outputs }: Pick<ImageManifest, 'outputs'>,
  role: OutputRole,
): ManifestOutput | undefined {
  return outputs.find((found) => found.role === role);
}
