import type { Anchor } from '../../../attestation/anchors.ts';
import { appraiseBundle, appraiseEvidence, appraiseReceipt } from '../../../attestation/appraise.ts';
import { appraiseDisclosure } from '../../../attestation/appraiseDisclosure.ts';
import { parseBundle, type Bundle } from '../../../attestation/bundle/bundle.ts';
import { fromUtf8, utf8 } from '../../../attestation/bytes/bytes.ts';
import { mergeCollateral, NO_COLLATERAL, type Collateral } from '../../../attestation/collateral.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import { Refusal } from '../../../attestation/errors.ts';
import type { NonceProof } from '../../../attestation/evidence/appraise.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import { parseJson } from '../../../attestation/json/strict.ts';
import { readNamedAnchor } from '../../../attestation/namedAnchor.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { parsePolicy, type Policy } from '../../../attestation/policy/policy.ts';
import { appraiseRaw } from '../../../attestation/raw/appraise.ts';
import { collateralBeside } from '../../../attestation/raw/files.ts';
import type { ReceiptClaims } from '../../../attestation/receipt/claims.ts';
import { parseDisclosure } from '../../../attestation/receipt/disclosure.ts';
import type { ShownContent } from '../../../attestation/receipt/openingsAppraisal.ts';
import type { ShownKind } from '../../../attestation/recognition/recognise.ts';
import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import { parseAttestation, type Attestation } from '../../client/attestation.ts';
import { NO_DEVICES, type DeviceSource } from './deviceFacts.ts';
import { PageFailure } from './failure.ts';
import { hexField, sortFiles, type KnownFile, type Material } from './material.ts';
import type { PolicyChoice, Request, ShownVerdict } from './protocol.ts';

/** What was judged and what is needed to show it. */
export interface Judged {
  /** Kind of the input, such as `bundle`. */
  readonly what: string;
  readonly names: readonly string[];
  readonly policy: Policy;
  readonly policyName: string;
  readonly verdict: ShownVerdict;
  readonly claims: ReceiptClaims | undefined;
  readonly cited: Uint8Array | undefined;
  readonly covering: Uint8Array | undefined;
  readonly devices: DeviceSource;
  readonly shown: readonly ShownContent[];
  readonly hints: readonly string[];
}

type Found = Pick<Judged, 'what'> & Partial<Omit<Judged, 'verdict' | 'what'>> & { readonly verdict: Verdict };

/** Judges files as `vouchsafe verify` does, by the same code. Bad evidence gives a refusing verdict. */
export async function judgeFiles(request: Request, crypto: CryptoProvider): Promise<Judged> {
  const { subject } = request;
  if ('service' in subject) throw new TypeError('a service is asked before it is judged');
  const material = sortFiles(subject.files, request);
  const context = contextOf(request, crypto);
  const names = subject.files.map(({ name }) => name);
  return conclude(await judgeMaterial(material, request, context), names, request, context);
}

/** Judges what a service answered to this nonce. */
export async function judgeAnswer(
  service: string,
  attestation: Attestation,
  nonce: Uint8Array,
  request: Request,
  crypto: CryptoProvider,
): Promise<Judged> {
  const context = contextOf(request, crypto);
  const proof = { nonce, ...attestation.place };
  const found = await judgeDocument('live service', attestation, proof, context);
  return conclude(found, [service], request, context);
}

function conclude(
  found: Found,
  names: readonly string[],
  request: Request,
  { policy }: AppraisalContext,
): Judged {
  return {
    names,
    policy,
    policyName: nameOf(request.policy),
    claims: undefined,
    cited: undefined,
    covering: undefined,
    devices: NO_DEVICES,
    shown: [],
    hints: [],
    ...found,
    verdict: sayAnchors(found.verdict, request.anchors),
  };
}

function nameOf(policy: PolicyChoice): string {
  if (typeof policy === 'object') return 'a policy of your own';
  return policy === 'default' ? 'the published default policy' : 'the policy for simulated hardware';
}

/** An added anchor is said on the verdict, and keeps it from affirming: the policy does not name it. */
function sayAnchors(verdict: Verdict, given: readonly string[]): ShownVerdict {
  if (given.length === 0) return verdict;
  const tier = verdict.tier === 'affirming' ? 'warning' : verdict.tier;
  return { ...verdict, tier, extraAnchors: [...new Set(given.map((each) => each.toLowerCase()))] };
}

function contextOf({ policy, now, anchors }: Request, crypto: CryptoProvider): AppraisalContext {
  return {
    policy: policyOf(policy),
    anchors: [...DEFAULT_ANCHORS, ...anchors.map(anchorOf)],
    collateral: NO_COLLATERAL,
    now,
    crypto,
  };
}

function policyOf(choice: PolicyChoice): Policy {
  if (choice === 'default') return DEFAULT_POLICY;
  if (choice === 'simulated') return SIMULATED_POLICY;
  return parsePolicy(parseJson(utf8(choice.json), 'policy'));
}

function anchorOf(given: string): Anchor {
  const read = readNamedAnchor(given);
  if (!('problem' in read)) return read;
  throw new PageFailure('INPUT_INVALID', `the anchor ${given}: ${read.problem}`);
}

type Judge = (main: KnownFile, material: Material, context: AppraisalContext) => Promise<Found>;

function judgeMaterial(material: Material, request: Request, context: AppraisalContext): Promise<Found> {
  const { main } = material;
  const judge = main && JUDGES[main.kind];
  return judge ? judge(main, material, context) : judgeRaw(material, request, context);
}

/** The caller's collateral goes before what the input brings; `document` says which manifests its devices need. */
function withBeside(
  context: AppraisalContext,
  { beside }: Material,
  brought: Collateral,
  document: Uint8Array | undefined,
): AppraisalContext {
  if (beside.length === 0) return { ...context, collateral: brought };
  const devices = (document && readOr(() => parseDocument(document)))?.devices;
  const own = collateralBeside(
    beside.map(({ file, given }) => ({ name: file, bytes: given })),
    devices,
  );
  return { ...context, collateral: mergeCollateral(own, brought) };
}

async function judgeBundle(
  { bytes }: KnownFile,
  material: Material,
  given: AppraisalContext,
): Promise<Found> {
  const parts = readOr(() => parseBundle(bytes));
  const context = withBeside(given, material, NO_COLLATERAL, parts?.cited);
  const { verdict, receipt } = await appraiseBundle(bytes, material.exchange, context);
  return {
    what: 'bundle',
    verdict,
    claims: receipt?.claims,
    ...(parts && partsOf(parts, context)),
    hints: contentHints(material),
  };
}

const CONTENT_HINT =
  'No content was compared. With request, response and commitment key the page also checks that the receipt is of this content.';

function contentHints({ exchange }: Material): readonly string[] {
  return exchange.opening ? [] : [CONTENT_HINT];
}

async function judgeDisclosed(
  { bytes }: KnownFile,
  material: Material,
  given: AppraisalContext,
): Promise<Found> {
  const read = material.evidence && readEvidence(material.evidence);
  const context = withBeside(given, material, read?.collateral ?? NO_COLLATERAL, read?.document);
  const result = await appraiseDisclosure(bytes, { cited: read?.document }, context);
  const found = {
    what: 'disclosure',
    verdict: result.verdict,
    claims: result.receipt?.claims,
    shown: result.verdict.decision === 'accepted' ? result.shown : [],
  };
  const parts = bundleIn(bytes);
  if (parts) return { ...found, ...partsOf(parts, context) };
  return read ? { ...found, cited: read.document, devices: { document: read.document, context } } : found;
}

/** The bundle of a disclosure; undefined where it brings a receipt alone. */
function bundleIn(disclosure: Uint8Array): Bundle | undefined {
  const source = readOr(() => parseDisclosure(disclosure))?.source;
  return source?.kind === 'bundle' ? readOr(() => parseBundle(source.bytes)) : undefined;
}

function partsOf(bundle: Bundle, context: AppraisalContext): Pick<Judged, 'cited' | 'covering' | 'devices'> {
  const collateral = mergeCollateral(context.collateral, bundle.collateral);
  return {
    cited: bundle.cited,
    covering: bundle.covering?.document,
    devices: { document: bundle.cited, context: { ...context, collateral } },
  };
}

async function judgeReceipt(
  { bytes, file }: KnownFile,
  material: Material,
  given: AppraisalContext,
): Promise<Found> {
  if (!material.evidence) {
    const reason = `${file} is a receipt alone: its key is vouched for by the evidence document that it cites, or by its bundle`;
    throw new PageFailure('FILE_NOT_ALONE', reason);
  }
  const read = readEvidence(material.evidence);
  const context = withBeside(given, material, read.collateral, read.document);
  const result = await appraiseReceipt(bytes, read.document, material.exchange, context);
  const covered = 'A bundle also shows the later hardware report that covers the receipt.';
  return {
    what: 'receipt with its evidence',
    verdict: result.verdict,
    claims: result.receipt?.claims,
    cited: read.document,
    devices: { document: read.document, context },
    hints: [...contentHints(material), covered],
  };
}

async function judgeEvidence(main: KnownFile, material: Material, given: AppraisalContext): Promise<Found> {
  const read = readEvidence(main);
  const context = withBeside(given, material, read.collateral, read.document);
  const { nonce } = material.exchange;
  const found = await judgeDocument(main.name, read, nonce && { nonce, ...read.place }, context);
  const answers = read.answers === undefined ? '' : ` It says that it answers ${read.answers}.`;
  const hint = `Without the nonce that you chose the evidence may be old.${answers}`;
  return { ...found, hints: nonce ? [] : [hint] };
}

async function judgeDocument(
  what: string,
  { document, collateral }: Pick<Attestation, 'document' | 'collateral'>,
  proof: NonceProof | undefined,
  given: AppraisalContext,
): Promise<Found> {
  const context = { ...given, collateral: mergeCollateral(given.collateral, collateral) };
  const { verdict } = await appraiseEvidence(document, proof, context);
  return { what, verdict, cited: document, devices: { document, context } };
}

/** A bare document does not say where it holds a nonce: an asker who was alone is number 0 of 1. */
function readEvidence({ kind, bytes }: KnownFile) {
  if (kind === 'attestation') return parseAttestation(bytes);
  return { document: bytes, place: { index: 0, path: [] }, answers: undefined, collateral: NO_COLLATERAL };
}

async function judgeRaw(material: Material, request: Request, context: AppraisalContext): Promise<Found> {
  const { raw, beside, exchange } = material;
  const files = [...raw, ...beside].map(({ file, given }) => ({ name: file, bytes: given }));
  const reportData = hexField(request.reportData, 'the report data');
  const result = await appraiseRaw(files, { nonce: exchange.nonce, reportData }, context);
  return {
    what: [...new Set(raw.map(({ name }) => name))].join(', '),
    verdict: result.verdict,
    devices: {
      verified: result.devices,
      context: { ...context, collateral: result.material?.collateral ?? NO_COLLATERAL },
      cpu: result.material?.cpu,
    },
    hints: [
      'Raw evidence does not say for which keys and for whose question it was made. An evidence document or a bundle binds it to them.',
    ],
  };
}

const JUDGES: Partial<Record<ShownKind, Judge>> = {
  bundle: judgeBundle,
  disclosure: judgeDisclosed,
  receipt: judgeReceipt,
  attestation: judgeEvidence,
  document: judgeEvidence,
};

/** The verdict says why a part cannot be read; nothing of it is shown then. */
function readOr<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/** UTF-8 text, or its length where it is none. */
export function contentText(bytes: Uint8Array): string {
  return readOr(() => fromUtf8(bytes)) ?? `${bytes.length} bytes that are no text`;
}
