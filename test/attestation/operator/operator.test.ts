import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../../../attestation/cbor/deterministic.ts';
import { encodeSign1, parseSign1 } from '../../../attestation/cose/sign1.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import { Refusal } from '../../../attestation/errors.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { encodeDocument, parseDocument } from '../../../attestation/evidence/document.ts';
import { appraiseOperator } from '../../../attestation/operator/appraise.ts';
import {
  MAX_STATEMENT_BYTES,
  parseOperatorStatement,
  type OperatorClaims,
} from '../../../attestation/operator/statement.ts';
import type { Policy } from '../../../attestation/policy/policy.ts';
import { appraiseEvidence } from '../../../attestation/appraise.ts';
import * as der from '../../../enclave/collect/simulated/der.ts';
import { extension } from '../../../enclave/collect/simulated/certificate.ts';
import { signOperatorStatement } from '../../../src/cli/operatorSigning.ts';
import {
  claimsFor,
  ecKey,
  mintOrganisation,
  nameOf,
  OPERATOR_OIDS,
  stateFor,
  type Organisation,
} from '../../support/operatorAuthority.ts';
import { contextOf, failures, makeWorld, NOW, policyOf, type World } from '../../support/world.ts';

const INSTANCE = Buffer.from('00112233445546778899aabbccddeeff', 'hex');
const DAY = 86_400;

let example: Organisation;
let rival: Organisation;
let statement: Uint8Array;

beforeAll(() => {
  example = mintOrganisation('Example GmbH');
  rival = mintOrganisation('Rival AG');
  statement = stateFor(example, INSTANCE);
});

const operator = (changes: Partial<Exclude<Policy['operator'], 'any'>> = {}): Partial<AppraisalContext> => ({
  policy: policyOf({ operator: { organisations: ['Example GmbH'], images: 'any', ...changes } }),
});

function judge(
  encoded: Uint8Array | undefined,
  changes: Partial<AppraisalContext> = {},
  instance: Uint8Array = INSTANCE,
) {
  const context = contextOf({ anchors: [example.anchors.root], ...changes });
  return appraiseOperator(encoded, instance, 'operator', context);
}

async function result(...args: Parameters<typeof judge>): Promise<string> {
  const check = await judge(...args);
  return `${check.result} ${check.code}`;
}

describe('who is asked for', () => {
  test('nobody by default: there or not, it is a skip', async () => {
    expect(await result(undefined)).toBe('skip NOT_REQUIRED');
    expect(await result(statement, { anchors: [] })).toBe('skip NOT_REQUIRED');
    // A key of another role is no key of an operator.
    const anchors = [{ ...example.anchors.root, role: 'timestamp' as const }];
    expect(await result(statement, { anchors })).toBe('skip NOT_REQUIRED');
  });

  test('a caller who trusts an operator has the statement judged', async () => {
    expect(await result(statement)).toBe('pass OK');
    expect(await result(statement, { anchors: [rival.anchors.root] })).toBe('fail UNTRUSTED_ROOT');
  });

  test('a policy that names organisations refuses absence, strangers and other organisations', async () => {
    expect(await result(undefined, operator())).toBe('fail EVIDENCE_INCOMPLETE');
    expect(await result(statement, { ...operator(), anchors: [] })).toBe('fail UNTRUSTED_ROOT');
    expect(await result(statement, operator())).toBe('pass OK');
    expect(await result(statement, operator({ organisations: ['Rival AG'] }))).toBe(
      'fail OPERATOR_NOT_ALLOWED',
    );
  });

  test('what cannot be read is refused under every policy', async () => {
    expect(await result(utf8('no statement'), { anchors: [] })).toBe('fail MALFORMED');
  });

  test('images are compared where the policy names them', async () => {
    const image = new Uint8Array(32).fill(5);
    const named = stateFor(example, INSTANCE, { image });
    const images = [{ name: 'release 1', value: '05'.repeat(32) }];
    expect(await result(named, operator({ images }))).toBe('pass OK');
    expect(await result(statement, operator({ images }))).toBe('fail OPERATOR_IMAGE_MISMATCH');
    const others = [{ name: 'release 2', value: '06'.repeat(32) }];
    expect(await result(named, operator({ images: others }))).toBe('fail OPERATOR_IMAGE_MISMATCH');
    expect(await result(named, operator({ images: [] }))).toBe('fail REFERENCE_VALUES_MISSING');
  });
});

describe('what is verified', () => {
  test.each(['leaf', 'authority', 'root'] as const)('the chain ends at a pinned %s', async (place) => {
    expect(await result(statement, { anchors: [example.anchors[place]] })).toBe('pass OK');
  });

  test.each([
    ['P-384', () => ecKey('P-384')],
    ['P-521', () => ecKey('P-521')],
    ['Ed25519', () => generateKeyPairSync('ed25519').privateKey],
    ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
  ])('a key of the kind %s, at both doors', async (_name, make) => {
    const organisation = mintOrganisation('Example GmbH', { keys: make() });
    const anchors = [organisation.anchors.root];
    const stated = stateFor(organisation, INSTANCE);
    expect(await result(stated, { anchors })).toBe('pass OK');
    expect(await result(stated, { anchors, crypto: portableCrypto })).toBe('pass OK');
  });

  test('a statement about another instance', async () => {
    const other = Buffer.from(INSTANCE);
    other[0] = 1;
    expect(await result(statement, {}, other)).toBe('fail OPERATOR_INSTANCE_MISMATCH');
  });

  test.each([
    ['before its window', NOW - 2 * DAY * 1000, 'fail OPERATOR_STATEMENT_EXPIRED'],
    ['in its first second', NOW - DAY * 1000, 'pass OK'],
    ['in its last second', NOW + 9 * DAY * 1000 + 999, 'pass OK'],
    ['after its window', NOW + 9 * DAY * 1000 + 1000, 'fail OPERATOR_STATEMENT_EXPIRED'],
  ])('%s', async (_name, now, expected) => {
    expect(await result(statement, { now })).toBe(expected);
  });

  test('certificates out of date at the judged time', async () => {
    const notAfter = new Date(NOW - DAY * 1000);
    const old = mintOrganisation('Example GmbH', { notAfter });
    const anchors = [old.anchors.root];
    expect(await result(stateFor(old, INSTANCE), { anchors })).toBe('fail CERT_EXPIRED');
  });

  test('a name that its certificate does not have', async () => {
    const claims = claimsFor(INSTANCE, { organisation: 'Rival AG' });
    const forged = signOperatorStatement(claims, example.key, example.certificates);
    expect(await result(forged)).toBe('fail UNTRUSTED_KEY');
  });

  test('a signature by another key', async () => {
    const forged = signOperatorStatement(claimsFor(INSTANCE), ecKey('P-256'), example.certificates);
    expect(await result(forged)).toBe('fail SIGNATURE_INVALID');
  });

  test('certificates of another issuer below the pinned root', async () => {
    const [leaf] = rival.certificates;
    const [, authority, root] = example.certificates;
    const claims = claimsFor(INSTANCE, { organisation: 'Rival AG' });
    const forged = signOperatorStatement(claims, rival.key, [leaf, authority, root]);
    expect(await result(forged)).toBe('fail CERT_CHAIN_INVALID');
  });

  test('a root that is left out cannot be pinned', async () => {
    const [leaf, authority] = example.certificates;
    const short = signOperatorStatement(claimsFor(INSTANCE), example.key, [leaf, authority]);
    expect(await result(short)).toBe('fail UNTRUSTED_ROOT');
    expect(await result(short, { anchors: [example.anchors.authority] })).toBe('pass OK');
  });

  test.each<[string, readonly string[], string]>([
    ['for code signing', [OPERATOR_OIDS.codeSigning], 'pass OK'],
    ['for document signing', [OPERATOR_OIDS.documentSigning], 'pass OK'],
    ['for web servers and code signing', [OPERATOR_OIDS.serverAuth, OPERATOR_OIDS.codeSigning], 'pass OK'],
    ['for any purpose', [OPERATOR_OIDS.any], 'pass OK'],
    ['without purposes', [], 'pass OK'],
    ['for web servers', [OPERATOR_OIDS.serverAuth], 'fail CERT_CHAIN_INVALID'],
  ])('a certificate %s', async (_name, purposes, expected) => {
    const organisation = mintOrganisation('Example GmbH', { purposes });
    const anchors = [organisation.anchors.root];
    expect(await result(stateFor(organisation, INSTANCE), { anchors })).toBe(expected);
  });

  test('a certificate that may sign certificates only', async () => {
    const usage = [extension('2.5.29.15', der.bitString(Uint8Array.of(0x04), 2), true)];
    const organisation = mintOrganisation('Example GmbH', { usage });
    const anchors = [organisation.anchors.root];
    expect(await result(stateFor(organisation, INSTANCE), { anchors })).toBe('fail CERT_CHAIN_INVALID');
  });

  test.each<[string, Uint8Array, string]>([
    ['organisation in PrintableString', nameOf(['2.5.4.10', der.printableString('Example GmbH')]), 'pass OK'],
    ['common name alone', nameOf(['2.5.4.3', der.utf8String('Example GmbH')]), 'pass OK'],
    [
      'common name that is not the organisation',
      nameOf(['2.5.4.10', der.utf8String('Rival AG')], ['2.5.4.3', der.utf8String('Example GmbH')]),
      'fail UNTRUSTED_KEY',
    ],
    [
      'two organisations',
      nameOf(['2.5.4.10', der.utf8String('Example GmbH')], ['2.5.4.10', der.utf8String('Rival AG')]),
      'fail CERT_CHAIN_INVALID',
    ],
    ['no name', nameOf(), 'fail CERT_CHAIN_INVALID'],
  ])('a certificate with %s', async (_name, subject, expected) => {
    const organisation = mintOrganisation('Example GmbH', { subject });
    const anchors = [organisation.anchors.root];
    expect(await result(stateFor(organisation, INSTANCE), { anchors })).toBe(expected);
  });
});

describe('the format', () => {
  const X5CHAIN = 33;
  /** The statement with another header or payload, under its old signature. */
  function rewritten(
    header: (map: Map<number, Dc>) => void,
    payload: (tuple: Dc[]) => Dc = (tuple) => tuple,
  ) {
    const sign1 = parseSign1(statement);
    const map = new Map(sign1.protectedHeader as ReadonlyMap<number, Dc>);
    header(map);
    const bytes = encodeDc(map);
    const content = encodeDc(payload([...(decodeDc(sign1.payload) as readonly Dc[])]));
    return encodeSign1(bytes, content, sign1.signature);
  }
  const withPayload = (at: number, value: Dc) =>
    rewritten(
      () => undefined,
      (tuple) => tuple.with(at, value),
    );

  test.each<[string, () => Uint8Array]>([
    ['another typ', () => rewritten((map) => map.set(16, 'application/vouchsafe-receipt+cose'))],
    ['no chain', () => rewritten((map) => map.delete(X5CHAIN))],
    ['one certificate in an array', () => rewritten((map) => map.set(X5CHAIN, [example.certificates[0]]))],
    ['a chain without certificates', () => rewritten((map) => map.set(X5CHAIN, []))],
    [
      'a chain without end',
      () =>
        rewritten((map) =>
          map.set(
            X5CHAIN,
            Array.from({ length: 9 }, () => example.certificates[0]),
          ),
        ),
    ],
    ['an unknown header', () => rewritten((map) => map.set(4, new Uint8Array(1)))],
    [
      'a subject that is another instance',
      () =>
        rewritten((map) =>
          map.set(
            15,
            new Map<number, Dc>([
              [1, 'Example GmbH'],
              [2, 'urn:uuid:00000000-0000-4000-8000-000000000000'],
            ]),
          ),
        ),
    ],
    [
      'no issuer',
      () =>
        rewritten((map) =>
          map.set(
            15,
            new Map<number, Dc>([
              [1, ''],
              [2, 'urn:uuid:00112233-4455-4677-8899-aabbccddeeff'],
            ]),
          ),
        ),
    ],
    ['another label', () => withPayload(0, 'vouchsafe/operator-statement/2')],
    ['an image of 31 bytes', () => withPayload(2, new Uint8Array(31))],
    ['no text', () => withPayload(3, '')],
    ['a text without end', () => withPayload(3, 'x'.repeat(4001))],
    ['an end before its beginning', () => withPayload(5, 1)],
    [
      'a seventh member',
      () =>
        rewritten(
          () => undefined,
          (tuple) => [...tuple, 0],
        ),
    ],
    ['a byte behind the end', () => concat(statement, new Uint8Array(1))],
    ['too many bytes', () => concat(statement, new Uint8Array(MAX_STATEMENT_BYTES))],
  ])('%s is refused', (_name, encoded) => {
    expect(() => parseOperatorStatement(encoded())).toThrow(Refusal);
    try {
      parseOperatorStatement(encoded());
    } catch (error) {
      expect((error as Refusal).code).toBe('MALFORMED');
    }
  });

  test('an algorithm that is not taken', async () => {
    expect(await result(rewritten((map) => map.set(1, -257)))).toBe('fail ALGORITHM_MISMATCH');
    expect(await result(rewritten((map) => map.set(1, -35)))).toBe('fail SIGNATURE_INVALID');
  });

  test('parses to what was signed', () => {
    const claims: OperatorClaims = claimsFor(INSTANCE, { image: new Uint8Array(32).fill(1) });
    const signed = signOperatorStatement(claims, example.key, example.certificates);
    expect(parseOperatorStatement(signed)).toMatchObject(claims);
  });
});

describe('in an evidence document', () => {
  let world: World;
  beforeAll(async () => {
    world = await makeWorld();
  });

  const withOperator = (operatorStatement: Uint8Array): Uint8Array =>
    encodeDocument({ ...parseDocument(world.vouching.head.encoded), operator: operatorStatement });

  async function verdictOf(document: Uint8Array, changes: Partial<AppraisalContext> = {}) {
    const context = contextOf({
      collateral: world.collateral,
      anchors: [...contextOf().anchors, example.anchors.root],
      policy: policyOf({ nonce: 'optional' }),
      ...changes,
    });
    return (await appraiseEvidence(document, undefined, context)).verdict;
  }

  test('is its own check, beside what hardware covers', async () => {
    const { instance } = world.keyring.keyset;
    const good = await verdictOf(withOperator(stateFor(example, instance)));
    expect(failures(good)).toEqual([]);
    expect(good.checks.find(({ id }) => id === 'operator.statement')?.result).toBe('pass');
    const foreign = await verdictOf(withOperator(stateFor(example, INSTANCE)));
    expect(failures(foreign)).toEqual(['operator: operator.statement OPERATOR_INSTANCE_MISMATCH']);
    expect(foreign.decision).toBe('refused');
  });

  test('is marked as an endorsement, not as evidence', async () => {
    const document = decodeDc(withOperator(statement)) as Map<string, Dc>;
    const [type, bytes] = document.get('operator') as readonly Dc[];
    const marked = encodeDc(new Map(document).set('operator', [type!, bytes!, 4]));
    expect(failures(await verdictOf(marked))).toEqual(['document: document.format MALFORMED']);
  });
});
