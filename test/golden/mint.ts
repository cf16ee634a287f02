import { mkdtempSync, rmSync, createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SegmentTree, encodeRenewal } from '../../attestation/archive/renewal.ts';
import { formatFileLine } from '../../attestation/archive/fileList.ts';
import type { Anchor } from '../../attestation/anchors.ts';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { concat, fromUtf8, toBase64, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { encodeBundle as encodeEntries } from '../../attestation/log/tiles.ts';
import { parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import { encodeDisclosure } from '../../attestation/receipt/disclosure.ts';
import { openItems } from '../../attestation/receipt/openItems.ts';
import { parseRecord, actSubject } from '../../attestation/receipt/record.ts';
import { encodeTimestampRequest } from '../../attestation/time/timestampExchange.ts';
import { asJson } from '../../scripts/golden/formats.ts';
import { judgeCase, type GoldenCase } from '../../scripts/golden/cases.ts';
import { RENEWED_FILES } from '../../scripts/golden/renewalCase.ts';
import { exportArchive } from '../../src/archive/export/exportArchive.ts';
import { createTarSink } from '../../src/archive/export/sinks.ts';
import { encodeContent } from '../../src/archive/contentRecord.ts';
import { ArchiveKey } from '../../src/archive/envelope.ts';
import { parseRevocations } from '../../src/audit/revocations.ts';
import { openDataFolder } from '../../src/export/dataFolder.ts';
import { openExportAt } from '../../src/export/open.ts';
import { MANIFEST } from '../../src/export/paths.ts';
import { diskStorage } from '../../src/log/diskStorage.ts';
import { openLog } from '../../src/log/openLog.ts';
import type { Outsider } from '../../src/receipts/outsider.ts';
import { issueKept, makeChunks, type KeptExchange } from '../support/keptExchange.ts';
import { mintOrganisation, stateFor } from '../support/operatorAuthority.ts';
import { mintTimestampAuthority } from '../support/timestampAuthority.ts';
import { mintWitness } from '../support/witnessedBundle.ts';
import { issueBundle, makeDraft, makeWorld, NOW, type World } from '../support/world.ts';

// Mints the golden files of this version into a folder: `node --import tsx test/golden/mint.ts FOLDER`. Keys, nonces
// and times of day differ from run to run: what is minted is kept as it is.

const [, , FOLDER = ''] = process.argv;
const OUTSIDE = NOW + 60_000;
const LATER = new Date(NOW + 86_400_000).toISOString();
const AUTHORITY = mintTimestampAuthority();
const WITNESSES = [mintWitness('example.org/w1'), mintWitness('example.org/w2')];
const ORGANISATION = mintOrganisation('Example GmbH');

const OUTSIDERS: readonly Outsider[] = [
  {
    name: 'authority',
    kind: 'authority',
    confirm: ({ text }) => Promise.resolve({ kind: 'token', token: AUTHORITY.token(utf8(text), OUTSIDE) }),
  },
  ...WITNESSES.map((witness): Outsider => {
    const confirm: Outsider['confirm'] = ({ text }) =>
      Promise.resolve({ kind: 'cosignature', signature: witness.cosign(text, OUTSIDE) });
    return { name: witness.vkey.name, kind: 'witness', confirm };
  }),
];

const POLICY: Policy = {
  ...SIMULATED_POLICY,
  description: 'Of the golden files: simulated hardware, two witnesses, one timestamp authority.',
  coverage: 'required',
  witnesses: { quorum: 2, keys: WITNESSES.map(({ text }) => text) },
  timestamps: {
    authorities: [{ name: 'minted with these files', value: AUTHORITY.anchor.spkiSha256 }],
    required: true,
  },
};

/** Those that the cases need: of simulated hardware, of the timestamp authority and of the organisation. */
const ANCHORS: readonly Anchor[] = [
  ...DEFAULT_ANCHORS.filter(({ simulated }) => simulated),
  AUTHORITY.anchor,
  ORGANISATION.anchors.root,
];

const files = new Map<string, Uint8Array>();

/** The bundle once outsiders confirmed it. */
async function witnessed({ vouching }: World, { draft }: KeptExchange): Promise<Uint8Array> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const bundle = await vouching.bundle(toHex(draft.id), draft.tenant);
    if (parseBundle(bundle).witnessed) return bundle;
    await delay(10);
  }
  throw new Error('the outsiders did not confirm');
}

async function mintService(): Promise<{ readonly world: World; readonly kept: KeptExchange }> {
  const world = await makeWorld({ outsiders: () => Promise.resolve(OUTSIDERS) });
  const { vouching, log } = world;
  const kept = await issueKept(world);
  files.set('bundle.covered.cbor', kept.bundle);
  files.set('bundle.witnessed.cbor', await witnessed(world, kept));
  const stream = await issueKept(world, { chunks: makeChunks(9) });
  const bundle = await witnessed(world, stream);
  files.set('bundle.stream.cbor', bundle);
  const shown = openItems(
    stream.claims,
    stream.kept,
    { chunks: { start: 2, end: 5 }, tenant: true },
    nodeCrypto,
  );
  files.set('disclosure.cbor', encodeDisclosure({ source: { kind: 'bundle', bytes: bundle }, ...shown }));
  const subject = actSubject([kept.draft.id], nodeCrypto);
  await vouching.recordAct({ act: 'hold-placed', actor: 'auditor', rule: 'case 17', subject, count: 1 });
  const uncovered = makeDraft();
  const { encoded, index } = await vouching.issue(uncovered);
  const signedOnly = await vouching.bundle(toHex(uncovered.id), undefined);
  files.set('bundle.uncovered.cbor', signedOnly);
  files.set('evidence.uncovered.cbor', parseBundle(signedOnly).cited);
  files.set('receipt.cose', encoded);
  files.set('log-receipt.cose', await vouching.inclusion.inclusion(index));
  files.set('operator.cose', stateFor(ORGANISATION, world.keyring.keyset.instance));
  await vouching.stop();
  files.set('checkpoint.txt', log.checkpoints.at(-1)!);
  files.set('anchor.cbor', [...log.anchors.values()].at(-1)!);
  files.set('entries.bin', encodeEntries(log.entries));
  files.set('collateral.cbor', log.collateral[0]!);
  files.set('evidence.final.cbor', log.documents.at(-1)!);
  for (const entry of log.entries) {
    const kind = recordKind(entry);
    if (kind !== undefined) files.set(`record.${kind}.cose`, entry);
  }
  return { world, kept };
}

function recordKind(entry: Uint8Array): string | undefined {
  try {
    return parseRecord(entry).record.kind;
  } catch {
    return undefined;
  }
}

async function mintEd25519(): Promise<void> {
  const world = await makeWorld({ algorithm: 'Ed25519' });
  files.set('bundle.ed25519.cbor', (await issueBundle(world)).bundle);
  await world.vouching.stop();
}

function mintDocuments(): void {
  const { cited, covering } = parseBundle(files.get('bundle.witnessed.cbor')!);
  const document = parseDocument(cited);
  files.set('evidence.cited.cbor', cited);
  files.set('evidence.covering.cbor', covering!.document);
  files.set('keyset.cbor', document.encodedKeyset);
  files.set('statement.cbor', document.encodedStatement);
}

/** The same log on disk, exported. */
async function mintExport({ log, keyring }: World): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), 'vouchsafe-golden-'));
  try {
    const { keyset } = keyring;
    const storage = diskStorage(join(data, 'instances'));
    const stored = await openLog({
      storage,
      instance: toHex(keyset.instance),
      origin: keyset.origin,
      created: 1,
    });
    for (const entry of log.entries) await stored.enqueue(entry).durable;
    for (const [seq, collateral] of log.collateral.entries()) await stored.writeCollateral(seq, collateral);
    for (const [seq, document] of log.documents.entries()) await stored.writeEvidence(seq, document);
    for (const [size, anchor] of log.anchors) await stored.writeAnchor(size, anchor);
    const note = log.checkpoints.at(-1)!;
    await stored.publish(note, parseCheckpoint(parseNote(note).text).size);
    await stored.close();
    const path = join(data, 'export.tar');
    await exportArchive(
      openDataFolder(data),
      { from: undefined, to: undefined },
      createTarSink(createWriteStream(path)),
    );
    const reader = await openExportAt(path);
    await reader.close();
    files.set('export.tar', readFileSync(path));
    files.set('manifest.json', memberOf(readFileSync(path), MANIFEST));
  } finally {
    rmSync(data, { recursive: true });
  }
}

/** One member of a tar file of plain headers. */
function memberOf(tar: Uint8Array, name: string): Uint8Array {
  for (let at = 0; at + 512 <= tar.length;) {
    const header = Buffer.from(tar.subarray(at, at + 512));
    const found = header.toString('latin1', 0, 100).replace(/\0.*$/s, '');
    const size = Number.parseInt(header.toString('latin1', 124, 136), 8);
    if (found === name) return tar.slice(at + 512, at + 512 + size);
    at += 512 + Math.ceil((Number.isNaN(size) ? 0 : size) / 512) * 512;
  }
  throw new Error(`${name} is not in the export`);
}

/** A renewal of the golden files themselves. */
function mintRenewal(instance: Uint8Array): void {
  const tree = new SegmentTree('sha512', nodeCrypto);
  const lines: Uint8Array[] = [];
  for (const path of RENEWED_FILES) {
    const bytes = files.get(path)!;
    const entry = { path, size: bytes.length, digest: nodeCrypto.hash('sha512', bytes) };
    tree.add(entry);
    lines.push(utf8(formatFileLine(entry)));
  }
  const segments = [tree.segment(toHex(instance))];
  const record = encodeRenewal({ hash: 'sha512', seq: 0, previous: undefined, segments, madeAt: NOW / 1000 });
  const digest = nodeCrypto.hash('sha512', record);
  const query = encodeTimestampRequest({ hash: 'sha512', digest, nonce: undefined, certReq: true });
  files.set('list.txt', concat(...lines));
  files.set('renewal.cbor', record);
  files.set('timestamp.tsr', AUTHORITY.answer(query, NOW));
}

/** What the archive keeps of the exchange, in the clear and encrypted under a key that is published here. */
function mintContent({ kept, draft }: KeptExchange): void {
  const { k, request, response } = kept;
  const body = { kind: 'body', body: response! } as const;
  const content = encodeContent({ receipt: draft.id, k, request, response: body });
  const key = nodeCrypto.hash('sha256', utf8('key of the golden archive'));
  const { sealed, wrapped } = new ArchiveKey(key).seal(draft.id, content);
  const parts = { key, receipt: draft.id, sealed, wrapped, content };
  const hex = Object.entries(parts).map(([name, bytes]) => [name, toHex(bytes)]);
  files.set('content.cbor', content);
  files.set('envelope.json', asJson(Object.fromEntries(hex)));
}

/** One entry of each kind that names something by itself. */
function mintRevocations(): void {
  const common = { since: '2027-01-01T00:00:00.000Z', reason: 'of the golden files' };
  const entries = [
    { kind: 'cpu', id: 'ab'.repeat(64), ...common },
    { kind: 'device', serial: '0102', ...common },
    { kind: 'vbios', version: '96.00.74.00.1C', ...common },
    { kind: 'driver', version: '550.90.07', ...common },
    { kind: 'receipt-key', thumbprint: 'cd'.repeat(32), ...common },
    { kind: 'log-key', thumbprint: 'ef'.repeat(32), ...common },
    { kind: 'model', manifest: '01'.repeat(32), ...common },
    { kind: 'tcb', policy: SIMULATED_POLICY, ...common },
  ];
  const text = asJson({ format: 'vouchsafe/revocations/1', entries });
  files.set('revocations.json', asJson(parseRevocations(text)));
}

function casesOf({ kept }: KeptExchange): readonly Omit<GoldenCase, 'expected'>[] {
  const own = { policy: 'policy.witnessed.json', now: LATER } as const;
  const simulated = { policy: 'policy.simulated.json', now: LATER } as const;
  const beside = { ...simulated, collateral: 'collateral.cbor' } as const;
  const exchange = { k: toHex(kept.k), request: toBase64(kept.request), response: toBase64(kept.response!) };
  return [
    {
      name: 'a witnessed bundle with its content',
      question: 'bundle',
      file: 'bundle.witnessed.cbor',
      ...own,
      exchange,
    },
    { name: 'a bundle of a stream', question: 'bundle', file: 'bundle.stream.cbor', ...own },
    {
      name: 'years later',
      question: 'bundle',
      file: 'bundle.witnessed.cbor',
      ...own,
      now: '2039-01-01T00:00:00.000Z',
    },
    { name: 'a covered bundle', question: 'bundle', file: 'bundle.covered.cbor', ...simulated },
    { name: 'a covered bundle without witnesses', question: 'bundle', file: 'bundle.covered.cbor', ...own },
    { name: 'an uncovered bundle', question: 'bundle', file: 'bundle.uncovered.cbor', ...simulated },
    {
      name: 'an uncovered bundle where coverage is required',
      question: 'bundle',
      file: 'bundle.uncovered.cbor',
      ...own,
    },
    { name: 'a bundle signed with Ed25519', question: 'bundle', file: 'bundle.ed25519.cbor', ...simulated },
    {
      name: 'a bundle under the published policy',
      question: 'bundle',
      file: 'bundle.witnessed.cbor',
      policy: 'policy.default.json',
      now: LATER,
    },
    {
      name: 'a receipt with its evidence',
      question: 'receipt',
      file: 'receipt.cose',
      cited: 'evidence.uncovered.cbor',
      ...beside,
    },
    {
      name: 'a receipt with evidence that it does not cite',
      question: 'receipt',
      file: 'receipt.cose',
      cited: 'evidence.cited.cbor',
      ...beside,
    },
    { name: 'an export', question: 'export', file: 'export.tar', ...own },
    {
      name: 'an export under the published policy',
      question: 'export',
      file: 'export.tar',
      policy: 'policy.default.json',
      now: LATER,
    },
    { name: 'a renewal', question: 'renewal', file: 'renewal.cbor', ...own },
    {
      name: 'a renewal after its certificates ended',
      question: 'renewal',
      file: 'renewal.cbor',
      ...own,
      now: '2039-01-01T00:00:00.000Z',
    },
    { name: 'a disclosure', question: 'disclosure', file: 'disclosure.cbor', ...own },
    { name: 'an evidence document', question: 'evidence', file: 'evidence.covering.cbor', ...beside },
    {
      name: 'evidence without collateral',
      question: 'evidence',
      file: 'evidence.covering.cbor',
      ...simulated,
    },
  ];
}

/** What must hold of the answers, so that no fault of minting is frozen. */
const ACCEPTED = [
  'a witnessed bundle with its content',
  'a bundle of a stream',
  'years later',
  'a covered bundle',
  'a bundle signed with Ed25519',
  'a receipt with its evidence',
  'an export',
  'a renewal',
  'a disclosure',
];
const REFUSED = [
  'a covered bundle without witnesses',
  'an uncovered bundle where coverage is required',
  'a bundle under the published policy',
  'a receipt with evidence that it does not cite',
  'an export under the published policy',
  'a renewal after its certificates ended',
];

const { world, kept } = await mintService();
await mintEd25519();
mintDocuments();
mintContent(kept);
mintRevocations();
mintRenewal(world.keyring.keyset.instance);
await mintExport(world);
files.set('anchors.json', asJson(ANCHORS));
files.set('policy.witnessed.json', asJson(POLICY));
files.set('policy.simulated.json', asJson(SIMULATED_POLICY));
files.set('policy.default.json', asJson(DEFAULT_POLICY));
for (const [name, bytes] of files) writeFileSync(join(FOLDER, name), bytes);
const cases: GoldenCase[] = [];
for (const question of casesOf(kept)) {
  const expected = await judgeCase(FOLDER, question);
  const wanted = ACCEPTED.includes(question.name)
    ? 'accepted'
    : REFUSED.includes(question.name)
      ? 'refused'
      : undefined;
  if (wanted !== undefined && expected.decision !== wanted) {
    const failed = expected.checks.filter((check) => check.includes(' fail '));
    throw new Error(`${question.name}: ${expected.decision}\n${failed.join('\n')}`);
  }
  cases.push({ ...question, expected });
}
writeFileSync(join(FOLDER, 'cases.json'), fromUtf8(asJson({ cases })));
