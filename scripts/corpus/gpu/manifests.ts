import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import type { Anchor } from '../../../attestation/anchors.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { judgeReferenceRevocation } from '../../../attestation/evidence/nvidia/revocation.ts';
import { verifyRim } from '../../../attestation/evidence/nvidia/rim.ts';
import { readPayload } from '../../../attestation/evidence/nvidia/swid.ts';
import { elementsOf, parseXml } from '../../../attestation/evidence/nvidia/xml.ts';
import { OcspLibrary } from '../../../attestation/x509/ocspLibrary.ts';
import type { CaseFile } from '../case.ts';
import { anchorsOf, wrongAnchorsOf } from './context.ts';
import { filesOf, instantOf, ocspOf, type Demands, type Material } from './material.ts';
import type { Failure } from './outcome.ts';
import { revocationPolicy } from './policy.ts';
import { roleOf, ROLES } from './roles.ts';

/** Fragments have no signature and no time: any instant refuses them. */
const ANY_TIME = 0;

/** What came of one file that is judged without a device. */
export interface FileOutcome {
  readonly path: string;
  /** Of the whole manifest: signature, chain, root. */
  readonly failures: readonly Failure[];
  /** Of the payload alone, which is all that a fragment has. */
  readonly payload: readonly Failure[];
}

/** Judges manifests that stand alone, each for itself. */
export async function judgeManifests(
  material: Material,
  demands: Demands,
  crypto: CryptoProvider,
): Promise<readonly FileOutcome[]> {
  const files = filesOf(material, [...ROLES.REFERENCES, ...ROLES.ALONE]);
  if (files.length === 0) throw new Error('no manifest is left to judge');
  const wrong = wrongAnchorsOf(material, crypto);
  const outcomes: FileOutcome[] = [];
  for (const file of files) {
    const isFragment = roleOf(file.role) === 'rim-fragment';
    const now = isFragment ? ANY_TIME : instantOf(material.times.verifyAt, 'verifyAt');
    const judging = { material, demands, crypto, now };
    if (wrong.length > 0) await expectRefusal(file, wrong, judging);
    outcomes.push({
      path: file.path,
      failures: await failuresOf(file, () => judgeManifest(file, anchorsOf(material, crypto), judging)),
      payload: await failuresOf(file, () => parsePayload(file)),
    });
  }
  return outcomes;
}

interface Judging {
  readonly material: Material;
  readonly demands: Demands;
  readonly crypto: CryptoProvider;
  readonly now: number;
}

async function judgeManifest(
  { path, bytes }: CaseFile,
  anchors: readonly Anchor[],
  { material, demands, crypto, now }: Judging,
): Promise<readonly Failure[]> {
  const rim = await verifyRim(bytes, { crypto, now, anchors });
  const check = await judgeReferenceRevocation(rim, {
    crypto,
    now,
    ocspResponses: new OcspLibrary(ocspOf(material, 'reference')),
    policy: { revocation: revocationPolicy({ ...demands, deviceOcsp: false }) },
    subject: path,
  });
  return check.result === 'fail' ? [{ ...check, check: check.id, code: check.code as Failure['code'] }] : [];
}

/** A key that the case calls wrong must not verify its manifests, even if a caller trusted it. */
async function expectRefusal(file: CaseFile, wrong: readonly Anchor[], judging: Judging): Promise<void> {
  const refused = await failuresOf(file, () => judgeManifest(file, wrong, judging));
  if (refused.length === 0) throw new Error(`${file.path} verifies under the wrong trust anchor of the case`);
}

/** A fragment is a manifest without signature and mostly without more than its payload. */
function parsePayload({ bytes }: CaseFile): readonly Failure[] {
  const payloads = elementsOf(parseXml(bytes)).map(readPayload);
  if (payloads.length !== 1) throw new Refusal('MALFORMED', `the fragment has ${payloads.length} payloads`);
  return [];
}

async function failuresOf(
  { path }: CaseFile,
  judge: () => Promise<readonly Failure[]> | readonly Failure[],
): Promise<readonly Failure[]> {
  try {
    return await judge();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return [{ check: 'manifest', subject: path, code: error.code, reason: error.message }];
  }
}
