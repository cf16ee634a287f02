import type { KeyObject } from 'node:crypto';
import * as z from 'zod';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import { hex } from '../../../attestation/policy/shapes.ts';
import { ImageError } from '../errors.ts';
import { readDocument } from './document.ts';
import { openEnvelope, PAYLOAD, signEnvelope } from './dsse.ts';
import { type ImageManifest, manifestDigest, releaseName } from './manifest.ts';

const MAX_BYTES = 1024 * 1024;

/** An instant in UTC to the second. */
const instant = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'expected a time such as 2026-01-31T00:00:00Z')
  .refine((text) => !Number.isNaN(Date.parse(text)), 'expected a time that there is');

const release = z
  .strictObject({
    name: releaseName,
    /** SHA-256 of the manifest. */
    manifest: hex(32),
    validFrom: instant,
    /** First instant at which the release is no longer accepted. */
    validUntil: instant,
    withdrawn: z.strictObject({ since: instant, reason: z.string().min(1).max(500) }).nullable(),
  })
  .refine(({ validFrom, validUntil }) => validFrom < validUntil, 'validUntil is not after validFrom');

export const releasesSchema = z
  .strictObject({
    version: z.literal('vouchsafe/image-releases/1'),
    /** Rises with each statement: whoever has seen a later one takes no earlier one. */
    sequence: z.int().min(1),
    issued: instant,
    /** First instant at which this statement is no longer good: who withholds a newer one gains no more than this. */
    nextUpdate: instant,
    releases: z.array(release).max(1000),
  })
  .refine(({ issued, nextUpdate }) => issued < nextUpdate, 'nextUpdate is not after issued')
  .refine(
    ({ releases }) => new Set(releases.map(({ manifest }) => manifest)).size === releases.length,
    'expected each manifest once',
  );

/** Which releases are good, from when until when, and which were withdrawn: a statement of their publisher. */
export type Releases = z.infer<typeof releasesSchema>;
export type Release = z.infer<typeof release>;

export function signReleases(releases: Releases, key: KeyObject): Uint8Array {
  const payload = utf8(canonicalJson(releases));
  readDocument(releasesSchema, payload, MAX_BYTES, 'the statement on releases');
  return signEnvelope(PAYLOAD.releases, payload, key);
}

export interface Reading {
  /** SubjectPublicKeyInfo of keys that may sign. */
  readonly pinned: readonly Uint8Array[];
  /** Milliseconds since 1970; undefined for the publisher, who makes a statement again that is out of its time. */
  readonly now: number | undefined;
  /** The highest sequence that was seen before; 0 where none was. */
  readonly seen: number;
}

/** Refuses as `IMAGE_SIGNATURE_INVALID`, `IMAGE_MANIFEST_INVALID`, and `IMAGE_REFERENCE_REFUSED` out of its time. */
export async function readReleases(envelope: Uint8Array, { pinned, now, seen }: Reading): Promise<Releases> {
  const payload = await openEnvelope(envelope, PAYLOAD.releases, pinned);
  const releases = readDocument(releasesSchema, payload, MAX_BYTES, 'the statement on releases');
  const { sequence, issued, nextUpdate } = releases;
  if (sequence < seen) throw refused(`statement ${sequence} is older than ${seen}, which was seen`);
  if (now === undefined) return releases;
  if (now < Date.parse(issued)) throw refused(`the statement on releases is of ${issued}, which is to come`);
  if (now >= Date.parse(nextUpdate)) {
    throw refused(`the statement on releases was good until ${nextUpdate}: a newer one is needed`);
  }
  return releases;
}

/** Whether a release may be accepted, and else why not. */
export type Standing =
  | { readonly accepted: true; readonly until: string }
  | { readonly accepted: false; readonly isWithdrawn: boolean; readonly why: string };

/** What a statement says of an image at an instant. A release that it does not name is not accepted. */
export function standingOf(releases: Releases, manifest: ImageManifest, now: number): Standing {
  const digest = toHex(manifestDigest(manifest));
  const found = releases.releases.find((entry) => entry.manifest === digest);
  const refusal = (why: string, isWithdrawn = false): Standing => ({ accepted: false, isWithdrawn, why });
  if (!found) return refusal('the statement on releases does not name it');
  const { withdrawn, validFrom, validUntil } = found;
  if (found.name !== manifest.release.name) return refusal(`the statement calls it ${found.name}`);
  if (withdrawn) return refusal(`withdrawn since ${withdrawn.since}: ${withdrawn.reason}`, true);
  if (now < Date.parse(validFrom)) return refusal(`it is accepted from ${validFrom} on`);
  if (now >= Date.parse(validUntil)) return refusal(`it was accepted until ${validUntil}`);
  return { accepted: true, until: validUntil };
}

function refused(message: string): ImageError {
  return new ImageError('IMAGE_REFERENCE_REFUSED', message);
}
