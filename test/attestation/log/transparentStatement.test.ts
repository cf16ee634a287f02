import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, toHex } from '../../../attestation/bytes/bytes.ts';
import { encodeDc, type Dc } from '../../../attestation/cbor/deterministic.ts';
import { HEADER, parseSign1 } from '../../../attestation/cose/sign1.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import { parseSignedStatement, verifySignedStatement } from '../../../attestation/log/signedStatement.ts';
import {
  encodeTransparentStatement,
  parseTransparentStatement,
  verifyLoggedStatement,
  verifyTransparentReceipt,
} from '../../../attestation/log/transparentStatement.ts';
import { announces, entryKindOf, registrationSubject } from '../../../attestation/receipt/entryKind.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import { parseRecord, type LogRecord } from '../../../attestation/receipt/record.ts';
import { InclusionIssuer } from '../../../src/receipts/inclusion.ts';
import { MemoryLog } from '../../support/memoryLog.ts';
import { refusalOf, refusalOfAsync } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { makeIssuer } from '../../support/statements.ts';
import { makeDraft, makeKeyring, makeWorld } from '../../support/world.ts';

/** A statement with any unprotected header. */
function withHeader(entry: Uint8Array, header: ReadonlyMap<number, Dc>): Uint8Array {
  const { protectedBytes, payload, signature } = parseSign1(entry);
  const items = [protectedBytes, header, payload, signature].map((item) => encodeDc(item));
  return concat(Uint8Array.of(0xd2, 0x84), ...items);
}

describe('the transparent statement of a receipt', () => {
  const code = async (bytes: Uint8Array, keyset: Parameters<typeof verifyTransparentReceipt>[1]) =>
    (await refusalOfAsync(() => verifyTransparentReceipt(bytes, keyset, nodeCrypto)))?.code;

  test('is accepted, its entry rebuilt without the header', async () => {
    const { vouching, log, keyring } = await makeWorld();
    await vouching.issue(makeDraft());
    const { index, encoded } = await vouching.issue(makeDraft());
    const bytes = await vouching.inclusion.statement(index);
    for (const crypto of [nodeCrypto, portableCrypto]) {
      const { receipt, places } = await verifyTransparentReceipt(bytes, keyring.keyset, crypto);
      expect(receipt.claims.index).toBe(index);
      expect(places).toMatchObject([{ index, size: log.size }]);
      expect(toHex(receipt.encoded)).toBe(toHex(encoded));
    }
  });

  test('says nothing by what else stands in its unprotected header', async () => {
    const { vouching, keyring } = await makeWorld();
    const { index, encoded } = await vouching.issue(makeDraft());
    const receipt = await vouching.inclusion.inclusion(index);
    const header = new Map<number, Dc>([
      [HEADER.receipts, [receipt]],
      [-70000, 'whatever'],
    ]);
    expect(await code(withHeader(encoded, header), keyring.keyset)).toBeUndefined();
  });

  test('passes over receipts of other services, but needs one of the log', async () => {
    const { vouching, keyring } = await makeWorld();
    const { index, encoded } = await vouching.issue(makeDraft());
    const other = new InclusionIssuer(await makeKeyring(), vouching.log);
    const [own, foreign] = [await vouching.inclusion.inclusion(index), await other.inclusion(index)];
    const both = encodeTransparentStatement(encoded, [foreign, own]);
    expect(await code(both, keyring.keyset)).toBeUndefined();
    expect(await code(encodeTransparentStatement(encoded, [foreign]), keyring.keyset)).toBe(
      'KEYSET_MISMATCH',
    );
  });

  test('is refused with a receipt for another entry or index', async () => {
    const { vouching, keyring, log } = await makeWorld();
    const first = await vouching.issue(makeDraft());
    const second = await vouching.issue(makeDraft());
    const foreign = await vouching.inclusion.inclusion(second.index);
    const swapped = encodeTransparentStatement(first.encoded, [foreign]);
    expect(await code(swapped, keyring.keyset)).toBe('SIGNATURE_INVALID');
    // The log holds it twice: its receipt for the second place is genuine, and not at the index of the claims.
    log.enqueue(first.encoded);
    const again = await vouching.inclusion.inclusion(log.size - 1);
    const elsewhere = encodeTransparentStatement(first.encoded, [again]);
    expect(await code(elsewhere, keyring.keyset)).toBe('INCLUSION_INVALID');
    const one = await vouching.inclusion.inclusion(first.index);
    const onePlace = encodeTransparentStatement(first.encoded, [one, again]);
    expect(await code(onePlace, keyring.keyset)).toBe('INCLUSION_INVALID');
  });

  test('is refused under another keyset, and for a record', async () => {
    const { vouching, keyring } = await makeWorld();
    await vouching.issue(makeDraft());
    expect(await code(await vouching.inclusion.statement(1), (await makeKeyring()).keyset)).toBe(
      'KEYSET_MISMATCH',
    );
    expect(await code(await vouching.inclusion.statement(0), keyring.keyset)).toBe('MALFORMED');
  });

  test.each<[string, Dc]>([
    ['no receipts', []],
    ['one that is not in an array', new Uint8Array(4)],
    ['no bytes', [1]],
    ['too many', Array<Dc>(17).fill(new Uint8Array(4))],
    ['no COSE_Sign1', [Uint8Array.of(0xd2, 0x80)]],
  ])('is refused with %s', async (_name, receipts) => {
    const { vouching, keyring } = await makeWorld();
    const { encoded } = await vouching.issue(makeDraft());
    expect(await code(withHeader(encoded, new Map([[HEADER.receipts, receipts]])), keyring.keyset)).toBe(
      'MALFORMED',
    );
  });

  test(
    'is refused with any changed byte of the statement or its receipt, and never fails otherwise',
    async () => {
      const { vouching, keyring } = await makeWorld();
      const { index } = await vouching.issue(makeDraft());
      const good = await vouching.inclusion.statement(index);
      const change = fc.record({
        at: fc.nat({ max: good.length - 1 }),
        flip: fc.integer({ min: 1, max: 255 }),
      });
      await fc.assert(
        fc.asyncProperty(change, async ({ at, flip }) => {
          const bad = Uint8Array.from(good);
          bad[at]! ^= flip;
          expect(await code(bad, keyring.keyset)).toBeDefined();
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

describe('a statement of someone else', () => {
  const issuer = makeIssuer();
  const parse = (bytes: Uint8Array) => refusalOf(() => parseSignedStatement(bytes))?.code;
  const claims = (iss?: Dc, sub?: Dc): Dc =>
    new Map<number, Dc>([
      ...(iss === undefined ? [] : [[1, iss] as const]),
      ...(sub === undefined ? [] : [[2, sub] as const]),
    ]);

  test.each([-7, -19])('is verified under its key, algorithm %d', async (alg) => {
    const signer = makeIssuer('urn:example:b', alg);
    const statement = parseSignedStatement(signer.sign());
    expect(statement).toMatchObject({ issuer: 'urn:example:b', subject: 'a subject', alg });
    await verifySignedStatement(statement, signer.spki, nodeCrypto);
    const refusal = await refusalOfAsync(() => verifySignedStatement(statement, issuer.spki, nodeCrypto));
    expect(refusal?.code).toBe('SIGNATURE_INVALID');
  });

  test('is logged without its unprotected header', () => {
    const bare = issuer.sign();
    const { protectedBytes, payload, signature } = parseSign1(bare);
    const more = withHeader(
      bare,
      new Map<number, Dc>([
        [394, [new Uint8Array(9)]],
        [33, new Uint8Array(3)],
      ]),
    );
    expect(toHex(parseSignedStatement(more).entry)).toBe(toHex(bare));
    expect(payload.length + protectedBytes.length + signature.length).toBeLessThan(bare.length);
    expect(parseTransparentStatement(more).receipts).toHaveLength(1);
  });

  test('is found in a log by its receipt', async () => {
    const keys = await makeKeyring();
    const log = new MemoryLog();
    const { entry } = parseSignedStatement(issuer.sign());
    log.enqueue(entry);
    const bytes = await new InclusionIssuer(keys, log).statement(0);
    const { places, statement } = await verifyLoggedStatement(bytes, keys.keyset, nodeCrypto);
    expect(places).toMatchObject([{ index: 0, size: 1 }]);
    expect(statement.issuer).toBe(issuer.iss);
  });

  test.each<[string, string, Uint8Array]>([
    ['its payload detached', 'EVIDENCE_INCOMPLETE', issuer.sign({ detached: true })],
    ['no tag', 'MALFORMED', issuer.sign().subarray(1)],
    ['no claims', 'MALFORMED', issuer.sign({ header: new Map([[15, undefined]]) })],
    ['no issuer', 'MALFORMED', issuer.sign({ header: new Map([[15, claims(undefined, 's')]]) })],
    ['no subject', 'MALFORMED', issuer.sign({ header: new Map([[15, claims('i')]]) })],
    ['an empty issuer', 'MALFORMED', issuer.sign({ header: new Map([[15, claims('', 's')]]) })],
    ['a long issuer', 'MALFORMED', issuer.sign({ header: new Map([[15, claims('i'.repeat(8193), 's')]]) })],
    [
      'an issuer of bytes',
      'MALFORMED',
      issuer.sign({ header: new Map([[15, claims(new Uint8Array(3), 's')]]) }),
    ],
    ['no key named', 'MALFORMED', issuer.sign({ header: new Map([[4, undefined]]) })],
    ['a key named in text', 'MALFORMED', issuer.sign({ header: new Map([[4, 'kid']]) })],
    ['no algorithm', 'MALFORMED', issuer.sign({ header: new Map([[1, undefined]]) })],
    ['an empty chain', 'MALFORMED', issuer.sign({ header: new Map([[33, []]]) })],
    [
      'a hash envelope with a content type',
      'MALFORMED',
      issuer.sign({
        header: new Map<number, Dc>([
          [258, -16],
          [3, 'text/plain'],
        ]),
      }),
    ],
    ['half a hash envelope', 'MALFORMED', issuer.sign({ header: new Map([[259, 'text/plain']]) })],
    [
      'a hash envelope that is not protected',
      'MALFORMED',
      issuer.sign({ unprotected: new Map([[258, -16]]) }),
    ],
    ['a critical label that is not known', 'UNSUPPORTED', issuer.sign({ header: new Map([[2, [-70000]]]) })],
  ])('is refused with %s', (_name, code, bytes) => {
    expect(parse(bytes)).toBe(code);
  });

  test('is refused by an algorithm that is not taken', async () => {
    const statement = parseSignedStatement(issuer.sign({ header: new Map([[1, -37]]) }));
    const refusal = await refusalOfAsync(() => verifySignedStatement(statement, issuer.spki, nodeCrypto));
    expect(refusal?.code).toBe('ALGORITHM_MISMATCH');
  });

  test('is neither receipt nor record, and is announced by the record that names it', async () => {
    const { vouching } = await makeWorld();
    const entry = issuer.sign();
    const { encoded } = await vouching.issue(makeDraft());
    expect([encoded, await vouching.log.entry(0), entry].map(entryKindOf)).toEqual([
      'receipt',
      'record',
      'foreign',
    ]);
    expect(refusalOf(() => parseReceipt(entry))?.code).toBe('MALFORMED');
    expect(refusalOf(() => parseRecord(entry))?.code).toBe('MALFORMED');
    const record: LogRecord = {
      kind: 'act',
      issuedAt: 1,
      keysetDigest: new Uint8Array(32),
      act: 'statement-registered',
      actor: 'a',
      rule: 'r',
      subject: registrationSubject(entry, nodeCrypto),
      count: 1,
    };
    expect(announces(record, entry, nodeCrypto)).toBe(true);
    expect(announces(record, encoded, nodeCrypto)).toBe(false);
    expect(announces({ ...record, act: 'admin' }, entry, nodeCrypto)).toBe(false);
  });

  test(
    'never makes the parser throw anything but a refusal',
    () => {
      const good = issuer.sign({ unprotected: new Map([[394, [new Uint8Array(9)]]]) });
      const hostile = fc.oneof(
        fc.uint8Array({ maxLength: 120 }),
        fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })).map(([at, value]) => {
          const bytes = Uint8Array.from(good);
          bytes[at] = value;
          return bytes;
        }),
      );
      fc.assert(
        fc.property(hostile, (bytes) => {
          refusalOf(() => parseSignedStatement(bytes));
          refusalOf(() => parseTransparentStatement(bytes));
          refusalOf(() => entryKindOf(bytes));
        }),
        propertyRuns(1000),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
