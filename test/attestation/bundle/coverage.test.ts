import { describe, expect, test } from '@jest/globals';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { devicesDigest, reportData, statementDigest } from '../../../attestation/binding.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import {
  encodeDocument,
  parseDocument,
  type EvidenceDocument,
} from '../../../attestation/evidence/document.ts';
import type { Platform } from '../../../attestation/evidence/evidence.ts';
import { encodeKeyset, keysetDigest, type Keyset } from '../../../attestation/keyset.ts';
import { contextFor, type MintedPlatform } from '../../support/evidenceDocument.ts';
import { rebundle } from '../../support/forgery.ts';
import {
  machineOn,
  mintAzureSnp,
  mintAzureTdx,
  mintNitro,
  mintNitroTpm,
  mintSnp,
  mintTdx,
  mintTpm,
} from '../../support/platforms.ts';
import { failures, issueBundle, makeDraft, makeWorld, type World } from '../../support/world.ts';

// A receipt is covered only by later evidence of the machine whose evidence it cites: on every platform two documents
// of one instance that two machines of one vendor made are refused.

const REPORT_ID = 0x140;
const PPID = new Uint8Array(16).fill(0x99);

/** Another machine of the same vendor. */
const OTHERS: Readonly<Record<Platform, () => Promise<MintedPlatform>>> = {
  snp: async () => {
    const machine = await mintSnp();
    const collectCpu = async (reportData: Uint8Array) => {
      const report = await machine.report(reportData, (view) => view.setUint8(REPORT_ID, 1));
      return { ...(await machine.collectCpu(reportData)), report };
    };
    return { ...machine, collectCpu };
  },
  tdx: () => mintTdx(PPID),
  nitro: async () => withModule(await mintNitro(), 'i-0fedcba9876543210-enc0fedcba987654321'),
  'azure-snp': async () => {
    const machine = await mintAzureSnp();
    const edit = (report: DataView) => report.setUint8(REPORT_ID, 1);
    return { ...machine, collectCpu: (reportData) => machine.collect(reportData, { edit }) };
  },
  'azure-tdx': () => mintAzureTdx(PPID),
  'gcp-vtpm': () => mintTpm('gcp-vtpm'),
  nitrotpm: async () => withModule(await mintNitroTpm(), 'i-0fedcba9876543210-tpm0000000000000000'),
  tpm: () => mintTpm('tpm'),
};

function withModule(machine: Awaited<ReturnType<typeof mintNitro>>, module_id: string): MintedPlatform {
  return { ...machine, collectCpu: (user_data) => machine.mint({ user_data, module_id }) };
}

function worldOn(machine: MintedPlatform): Promise<World> {
  return makeWorld({
    collector: {
      name: 'minted',
      collectDevices: () => Promise.resolve([]),
      collectCpu: (reportData) => machine.collectCpu(reportData),
      collateral: () => Promise.resolve(machine.collateral),
    },
  });
}

/**
 * Failures of the coverage of a receipt that cites evidence of one machine and is covered by evidence of another: the
 * other machine reports on the very statement of the covering document, as software without our continuity checks
 * could have it do.
 */
async function coverageFailures(citing: MintedPlatform, covering: MintedPlatform) {
  const world = await worldOn(citing);
  const { bundle } = await issueBundle(world);
  await world.vouching.stop();
  const parts = parseBundle(bundle).covering!;
  const document = await reportedBy(covering, parts.document);
  const forged = rebundle(bundle, () => ({ covering: { ...parts, document } }));
  const { verdict } = await appraiseBundle(forged, {}, contextFor(citing));
  const failed = failures(verdict);
  expect(failed.filter((failure) => /^(?:cited|covering) cpu/.test(failure))).toEqual([]);
  return failed.filter((failure) => failure.startsWith('log:'));
}

/** The document with the same statement and a report of this machine. */
async function reportedBy(machine: MintedPlatform, encoded: Uint8Array): Promise<Uint8Array> {
  const document = parseDocument(encoded);
  const b = statementDigest(document.encodedStatement, nodeCrypto);
  const g = devicesDigest(document.encodedDevices, nodeCrypto);
  const cpu = await machine.collectCpu(reportData(b, g, nodeCrypto));
  return encodeDocument({ ...document, cpu });
}

describe.each(Object.entries(OTHERS))('%s', (platform, mintOther) => {
  test('evidence of the same machine covers', async () => {
    const machine = await machineOn(platform as Platform);
    expect(await coverageFailures(machine, machine)).toEqual([]);
  });

  test('evidence of another machine does not', async () => {
    const machine = await machineOn(platform as Platform);
    expect(await coverageFailures(machine, await mintOther())).toEqual([
      'log: log.covering CHECKPOINT_MISMATCH',
    ]);
  });
});

describe('the keys of the later evidence', () => {
  /** The later evidence with other keys, or later in its line, on which the machine reports. */
  interface Forgery {
    readonly keyset?: Partial<Keyset>;
    readonly seq?: number;
  }

  /** Failures of the log where the keys are changed from one generation to the next between both documents. */
  async function failuresOf(forge: (cited: EvidenceDocument) => Forgery, rotatedBefore = false) {
    const machine = await machineOn('snp');
    const world = await worldOn(machine);
    if (rotatedBefore) await world.vouching.rotateKeys();
    const draft = makeDraft();
    await world.vouching.issue(draft);
    await world.vouching.rotateKeys();
    const bundle = await world.vouching.bundle(toHex(draft.id), undefined);
    await world.vouching.stop();
    const { cited, covering } = parseBundle(bundle);
    const document = parseDocument(covering!.document);
    const { keyset: changes, seq = document.statement.seq } = forge(parseDocument(cited));
    const keyset = { ...document.keyset, ...changes };
    const digest = keysetDigest(encodeKeyset(keyset), nodeCrypto);
    const statement = { ...document.statement, keysetDigest: digest, seq };
    const changed = encodeDocument({ ...document, keyset, statement });
    const parts = { covering: { ...covering!, document: await reportedBy(machine, changed) } };
    const forged = rebundle(bundle, () => parts);
    const failed = failures((await appraiseBundle(forged, {}, contextFor(machine))).verdict);
    expect(failed.filter((failure) => /^(?:cited|covering) /.test(failure))).toEqual([]);
    return failed.filter((failure) => failure.startsWith('log:'));
  }

  const REFUSED = ['log: log.covering KEYSET_MISMATCH'];
  const elsewhere = new Uint8Array(32).fill(5);

  test('may be those of the next generation', async () => {
    expect(await failuresOf(() => ({}))).toEqual([]);
  });

  test('may be of a later one where there are documents between', async () => {
    const later = { keyset: { generation: 2, previous: elsewhere }, seq: 2 };
    expect(await failuresOf(() => later)).toEqual([]);
  });

  test('may not be others of the same generation', async () => {
    const other = ({ keyset: { generation, previous } }: EvidenceDocument) => ({
      keyset: { generation, previous },
    });
    expect(await failuresOf(other)).toEqual(REFUSED);
    expect(await failuresOf(other, true)).toEqual(REFUSED);
  });

  test('may not be of a generation before', async () => {
    const first = { keyset: { generation: 0, previous: undefined } };
    expect(await failuresOf(() => first, true)).toEqual(REFUSED);
  });

  test('may not be of a generation that follows other keys', async () => {
    expect(await failuresOf(() => ({ keyset: { previous: elsewhere } }))).toEqual(REFUSED);
    expect(await failuresOf(() => ({ keyset: { previous: elsewhere }, seq: 2 }))).toEqual(REFUSED);
  });

  test('may not be more generations later than documents', async () => {
    expect(await failuresOf(() => ({ keyset: { generation: 2, previous: elsewhere } }))).toEqual(REFUSED);
  });
});
