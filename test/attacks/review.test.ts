import { beforeAll, describe, expect, test } from '@jest/globals';
import { appraiseBundle, appraiseEvidence } from '../../attestation/appraise.ts';
import {
  devicesDigest,
  encodeDevices,
  encodeStatement,
  gpuNonce,
  reportData,
  statementDigest,
} from '../../attestation/binding.ts';
import { encodeBundle, parseBundle } from '../../attestation/bundle/bundle.ts';
import { concat, fromHex } from '../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';
import { decodeForeign } from '../../attestation/cbor/foreign.ts';
import { encodeSign1, parseSign1, sigStructure } from '../../attestation/cose/sign1.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { encodeDocument, parseDocument, type DocumentParts } from '../../attestation/evidence/document.ts';
import { SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import { policyDigest } from '../../attestation/policy/digest.ts';
import { parsePolicy } from '../../attestation/policy/policy.ts';
import { parseRecord } from '../../attestation/receipt/record.ts';
import { toEar } from '../../attestation/verdict/ear.ts';
import { decodeOid } from '../../attestation/x509/der.ts';
import type { Collector } from '../../enclave/collect/collector.ts';
import { createSimulatedCollector } from '../../enclave/collect/simulated/collector.ts';
import { Vouching } from '../../src/receipts/vouching.ts';
import { rebundle, redocument, resign } from '../support/forgery.ts';
import { MemoryLog } from '../support/memoryLog.ts';
import { refusalOf } from '../support/refusal.ts';
import {
  contextOf,
  failures,
  issueBundle,
  makeDraft,
  makeKeyring,
  makeWorld,
  NOW,
  policyOf,
  type Bundled,
  type World,
} from '../support/world.ts';

// What a second reader found that an attacker could reach, each with the input that reached it.

let world: World;
let genuine: Bundled;

beforeAll(async () => {
  world = await makeWorld();
  genuine = await issueBundle(world);
});

const codeOf = (step: () => unknown) => refusalOf(step)?.code;

describe('hostile CBOR', () => {
  test('a shared value that holds itself does not exhaust the stack', () => {
    // 28([29(0)])
    const cyclic = fromHex('d81c81d81d00');
    expect(codeOf(() => decodeDc(cyclic))).toBe('NOT_CANONICAL');
    expect(codeOf(() => decodeForeign(cyclic))).toBe('UNSUPPORTED');
  });

  test.each([
    ['a generic object (27)', 'd81b82665265674578706161'],
    ['a packed table (51)', 'd8338281018081'],
    ['an inline record definition (0xdfff)', 'd9dfff830081616181'],
  ])('foreign items with %s are refused before the decoder acts on them', (_name, hex) => {
    expect(codeOf(() => decodeForeign(fromHex(hex)))).toBe('UNSUPPORTED');
  });

  test('a bignum of half a megabyte costs no square time', () => {
    const bignum = concat(fromHex('c25a00080000'), new Uint8Array(0x80000).fill(1));
    expect(codeOf(() => decodeForeign(bignum))).toBe('MALFORMED');
  });

  test('millions of items and keys of megabytes are refused, also where an appraisal meets them', async () => {
    const items = concat(fromHex('9a00200000'), new Uint8Array(0x200000));
    const key = concat(fromHex('a17a00200000'), new Uint8Array(0x200000).fill(0x61), fromHex('00'));
    for (const bytes of [items, key]) {
      expect(codeOf(() => decodeDc(bytes))).toBe('MALFORMED');
      const { verdict } = await appraiseEvidence(bytes, undefined, contextOf());
      expect(failures(verdict)[0]).toBe('document: document.format MALFORMED');
    }
    const cyclic = await appraiseBundle(fromHex('d81c81d81d00'), {}, contextOf());
    expect(failures(cyclic.verdict)).toEqual(['bundle: bundle.format NOT_CANONICAL']);
  });
});

test('an object identifier that ends within an arc is refused', () => {
  expect(decodeOid(fromHex('2a8648ce3d040302'))).toBe('1.2.840.10045.4.3.2');
  expect(codeOf(() => decodeOid(fromHex('2a8648ce3d04030280')))).toBe('MALFORMED');
});

test('-0 in a policy is 0, not an exception of the appraisal', () => {
  const text = JSON.stringify(SIMULATED_POLICY);
  const policy = parsePolicy(JSON.parse(text.replace('"vmpls":[0]', '"vmpls":[-0]')));
  expect(policyDigest(policy, nodeCrypto)).toEqual(policyDigest(SIMULATED_POLICY, nodeCrypto));
});

describe('the tier', () => {
  // The minted roots, trusted here as if they were the vendors'.
  const anchors = contextOf().anchors.map((anchor) => ({ ...anchor, simulated: false }));
  const snp = SIMULATED_POLICY.cpu.snp;
  if (snp === 'refused') throw new Error('the simulated policy takes SNP');

  const tierOf = async (from: World, changes: Parameters<typeof policyOf>[0], nonce: boolean) => {
    const answer = await from.vouching.attest(new Uint8Array(32).fill(9));
    const proof = nonce
      ? { nonce: new Uint8Array(32).fill(9), index: answer.index, path: answer.path }
      : undefined;
    const policy = policyOf({ simulated: [], ...changes });
    const context = contextOf({ anchors, policy, collateral: from.collateral });
    return (await appraiseEvidence(answer.head.encoded, proof, context)).verdict;
  };

  test('is affirming where all was checked', async () => {
    expect(await tierOf(world, {}, true)).toMatchObject({ decision: 'accepted', tier: 'affirming' });
  });

  test('is no more than a warning without a nonce, in debug mode or for any software', async () => {
    const optional = await tierOf(world, { nonce: 'optional' }, false);
    expect(optional).toMatchObject({ decision: 'accepted', tier: 'warning' });
    const any = await tierOf(
      world,
      { cpu: { ...SIMULATED_POLICY.cpu, snp: { ...snp, measurements: 'any' } } },
      true,
    );
    expect(any).toMatchObject({ decision: 'accepted', tier: 'warning' });
    const debugged = await makeWorld({ hardware: { debug: true } });
    const debug = await tierOf(
      debugged,
      { cpu: { ...SIMULATED_POLICY.cpu, snp: { ...snp, debug: 'accepted' } } },
      true,
    );
    expect(debug).toMatchObject({ decision: 'accepted', tier: 'warning' });
  });
});

describe('withheld collateral hides nothing', () => {
  const without = () => ({ ...world.collateral, crls: [] });

  test('a forged report is refused, not merely unjudged', async () => {
    const { cpu } = parseDocument(genuineDocument());
    if (cpu.platform !== 'snp') throw new Error('simulated hardware is SNP');
    const report = Uint8Array.from(cpu.report);
    report[0x2a0] = (report[0x2a0] ?? 0) ^ 1;
    const forged = redocument(genuineDocument(), () => ({ cpu: { ...cpu, report } }));
    const policy = policyOf({ nonce: 'optional' });
    const { verdict } = await appraiseEvidence(
      forged,
      undefined,
      contextOf({ policy, collateral: without() }),
    );
    expect(verdict).toMatchObject({ decision: 'refused', tier: 'contraindicated' });
    expect(failures(verdict)).toContain('cpu: cpu.signature SIGNATURE_INVALID');
  });

  test('a debug-enabled guest is refused, and what is simulated is said', async () => {
    const debugged = await makeWorld({ hardware: { debug: true } });
    const policy = policyOf({ nonce: 'optional' });
    const context = contextOf({ policy, collateral: { ...debugged.collateral, crls: [] } });
    const { verdict } = await appraiseEvidence(debugged.vouching.head.encoded, undefined, context);
    expect(verdict).toMatchObject({ decision: 'refused', simulated: ['cpu', 'gpu'] });
    expect(failures(verdict)).toEqual([
      'cpu: cpu.revocation COLLATERAL_MISSING',
      'cpu: cpu.debug DEBUG_ENABLED',
    ]);
  });

  test('genuine evidence is not judged', async () => {
    const policy = policyOf({ nonce: 'optional' });
    const context = contextOf({ policy, collateral: without() });
    const { verdict } = await appraiseEvidence(genuineDocument(), undefined, context);
    expect(verdict).toMatchObject({ decision: 'not-judged', tier: 'none' });
    expect(failures(verdict)).toEqual(['cpu: cpu.revocation COLLATERAL_MISSING']);
  });
});

test('one device that does not verify does not hide that the others are simulated', async () => {
  const two = await makeWorld({ hardware: { gpus: 2 } });
  const spoilt = redocument(two.vouching.head.encoded, ({ devices }) => ({
    devices: [devices[0]!, { ...devices[1]!, report: devices[1]!.report.subarray(1) }],
  }));
  const context = contextOf({ collateral: two.collateral });
  expect((await appraiseEvidence(spoilt, undefined, context)).verdict).toMatchObject({
    decision: 'refused',
    simulated: ['cpu', 'gpu'],
  });
});

test('EAR says what was simulated', async () => {
  const { verdict } = await appraiseBundle(genuine.bundle, {}, contextOf());
  expect(toEar(verdict, '1').submods['vouchsafe']?.vouchsafe_simulated).toEqual(['cpu', 'gpu']);
});

test('a time anchor that the statement does not commit to', async () => {
  const document = await recollect(({ statement }) => ({
    statement: { ...statement, timeAnchor: new Uint8Array(32).fill(1) },
  }));
  const judge = async (anchor: Uint8Array) => {
    const map = new Map(decodeDc(document) as ReadonlyMap<string, Dc>);
    map.set('time-anchor', ['application/vouchsafe-time-anchor', anchor, 4]);
    const policy = policyOf({ nonce: 'optional' });
    const context = contextOf({ policy, collateral: world.collateral });
    return failures((await appraiseEvidence(encodeDc(map), undefined, context)).verdict);
  };
  expect(await judge(new Uint8Array(5))).toEqual(['document: document.format BINDING_MISMATCH']);
});

test('the next document in line must name the cited one', async () => {
  const { cited, covering } = parseBundle(genuine.bundle);
  expect(parseDocument(covering!.document).statement.seq).toBe(parseDocument(cited).statement.seq + 1);
  const document = await recollect(
    ({ statement }) => ({ statement: { ...statement, previous: new Uint8Array(32).fill(1) } }),
    covering!.document,
  );
  const forked = rebundle(genuine.bundle, () => ({ covering: { ...covering!, document } }));
  const { verdict } = await appraiseBundle(forked, {}, contextOf());
  expect(failures(verdict)).toEqual(['log: log.covering CHECKPOINT_MISMATCH']);
});

test.each([
  ['a GPU of another maker', ['ROCMExecutionProvider'], 1],
  ['an unknown one beside the CPU', ['CPUExecutionProvider', 'RpcExecutionProvider'], 1],
  ['CUDA on a machine without GPUs', ['CUDAExecutionProvider'], 0],
])('execution providers that nothing attests: %s', async (_name, providers, gpus) => {
  const machine = await makeWorld({ hardware: { gpus } });
  const { bundle, issued } = await issueBundle(machine);
  const receipt = resign(
    issued.encoded,
    { providers },
    machine.keyring.receipt,
    machine.keyring.keyset.instance,
  );
  const policy = gpus === 0 ? policyOf({ devices: 'none', simulated: ['cpu'] }) : SIMULATED_POLICY;
  const { verdict } = await appraiseBundle(
    rebundle(bundle, () => ({ receipt, covering: undefined })),
    {},
    contextOf({ policy }),
  );
  expect(failures(verdict)).toEqual(['receipt: receipt.devices DEVICES_MISMATCH']);
});

test('a record holds the members of its kind only, and a predecessor all of its own', () => {
  const { protectedBytes, payload } = parseSign1(world.log.entries[0]!);
  const withClaims = (...claims: readonly [number, Dc][]) => {
    const changed = encodeDc(new Map([...(decodeDc(payload) as ReadonlyMap<number, Dc>), ...claims]));
    const signature = world.keyring.receipt.sign(sigStructure(protectedBytes, changed));
    return encodeSign1(protectedBytes, changed, signature);
  };
  expect(parseRecord(withClaims()).record.kind).toBe('open');
  // The members of an epoch, and a predecessor's checkpoint without its origin.
  for (const claim of [-65604, -65602]) {
    const value = claim === -65604 ? 1 : new Uint8Array(3);
    expect(codeOf(() => parseRecord(withClaims([claim, value])))).toBe('MALFORMED');
  }
});

describe('the line of evidence documents', () => {
  /** A log that takes each document once, and whose next publication fails where told. */
  class StrictLog extends MemoryLog {
    failPublication = false;

    override publish(checkpoint: Uint8Array): Promise<void> {
      if (!this.failPublication) return super.publish(checkpoint);
      this.failPublication = false;
      return Promise.reject(new Error('ENOSPC'));
    }

    override writeEvidence(seq: number, document: Uint8Array): Promise<void> {
      if (seq !== this.documents.length) return Promise.reject(new Error(`document ${seq} was written`));
      return super.writeEvidence(seq, document);
    }
  }

  async function start(source: Collector) {
    const log = new StrictLog();
    const vouching = await Vouching.start({
      keys: await makeKeyring(),
      log,
      source,
      configDigest: new Uint8Array(32),
      predecessor: undefined,
      limits: { periodMs: 3_600_000, receipts: 1000, maxEvidenceAgeMs: 60_000 },
      now: () => NOW,
    });
    return { log, vouching };
  }

  const hardware = (gpus: number) => createSimulatedCollector({ gpus, now: () => new Date(NOW) });
  const nonce = new Uint8Array(32).fill(6);

  test('goes on after a publication that failed once', async () => {
    const { log, vouching } = await start(await hardware(0));
    log.failPublication = true;
    await expect(vouching.attest(nonce)).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
    expect((await vouching.attest(nonce)).head.seq).toBe(1);
  });

  test('ends with the final document, however many ask meanwhile and after', async () => {
    const { log, vouching } = await start(await hardware(0));
    const answers = [vouching.attest(nonce).catch(() => undefined)];
    const stopped = vouching.stop();
    for (let turn = 0; turn < 50; turn++) {
      try {
        answers.push(vouching.attest(nonce).catch(() => undefined));
      } catch (error) {
        expect(error).toMatchObject({ code: 'ISSUING_STOPPED' });
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await stopped;
    await Promise.all(answers);
    expect(() => vouching.attest(nonce)).toThrow(expect.objectContaining({ code: 'ISSUING_STOPPED' }));
    await expect(vouching.covered(log.size)).rejects.toMatchObject({ code: 'ISSUING_STOPPED' });
    const statements = log.documents.map((document) => parseDocument(document).statement);
    expect(statements.map(({ seq }) => seq)).toEqual(statements.map((_, i) => i));
    expect(statements.map(({ final }) => final)).toEqual(statements.map((_, i, all) => i === all.length - 1));
  });

  test('a receipt in flight is covered by the final document', async () => {
    const { vouching } = await start(await hardware(0));
    const { index } = await vouching.issue(makeDraft());
    const covered = vouching.covered(index);
    await vouching.stop();
    await covered;
  });

  test('refuses another set of devices than that of the start', async () => {
    const [one, two] = [await hardware(1), await hardware(2)];
    let now = one;
    const { vouching } = await start({
      ...one,
      collectDevices: (bytes) => now.collectDevices(bytes),
    });
    now = two;
    await expect(vouching.attest(nonce)).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
  });

  test('documents for nonces alone change no bundle', async () => {
    const { log, vouching } = await start(await hardware(0));
    for (let i = 0; i < 3; i++) await vouching.attest(nonce);
    const draft = makeDraft();
    const { index } = await vouching.issue(draft);
    await vouching.covered(index);
    for (let i = 0; i < 3; i++) await vouching.attest(nonce);
    const bundle = parseBundle(await vouching.bundle(Buffer.from(draft.id).toString('hex'), undefined));
    const seqs = [bundle.cited, bundle.covering!.document].map((bytes) => parseDocument(bytes).statement.seq);
    expect(seqs).toEqual([3, 4]);
    expect(log.documents).toHaveLength(8);
    const policy = policyOf({ devices: 'none', simulated: ['cpu'] });
    const { verdict } = await appraiseBundle(encodeBundle(bundle), {}, contextOf({ policy }));
    expect(failures(verdict)).toEqual([]);
  });
});

function genuineDocument(): Uint8Array {
  return parseBundle(genuine.bundle).covering!.document;
}

/** Genuine hardware over a statement of the attacker's choice. */
async function recollect(
  change: (parts: DocumentParts) => Partial<DocumentParts>,
  from: Uint8Array = genuineDocument(),
): Promise<Uint8Array> {
  const parts = { ...parseDocument(from), ...change(parseDocument(from)) };
  const b = statementDigest(encodeStatement(parts.statement), nodeCrypto);
  const devices = await world.collector.collectDevices(gpuNonce(b, nodeCrypto));
  const g = devicesDigest(encodeDevices(devices), nodeCrypto);
  const cpu = await world.collector.collectCpu(reportData(b, g, nodeCrypto));
  return encodeDocument({ ...parts, devices, cpu });
}
