import { beforeAll, describe, expect, test } from '@jest/globals';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import { MAX_STATEMENT_BYTES, OPERATOR_STATEMENT_TYPE } from '../../../attestation/operator/statement.ts';
import { actSubject, parseRecord, type LogRecord } from '../../../attestation/receipt/record.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { signOperatorStatement } from '../../../src/cli/operatorSigning.ts';
import {
  claimsFor,
  ecKey,
  mintOrganisation,
  stateFor,
  type Organisation,
} from '../../support/operatorAuthority.ts';
import { apiKey, startTestService, type TestService } from '../../support/service.ts';
import { contextOf, failures, issueBundle, NOW, policyOf } from '../../support/world.ts';

// An organisation signs, an admin hands it in, and who judges the next receipt sees who answers for it.

const ADMIN = apiKey('admin');
const TENANT = apiKey('analytics');
const KEYS = { keys: { adminKeySha256: ADMIN.entry.sha256, apiKeys: [TENANT.entry] } };
const DAY = 86_400;

let example: Organisation;
let rival: Organisation;
beforeAll(() => {
  example = mintOrganisation('Example GmbH');
  rival = mintOrganisation('Rival AG');
});

function put(
  { url }: TestService,
  body: Uint8Array,
  { key = ADMIN.key, type = OPERATOR_STATEMENT_TYPE }: { key?: string; type?: string } = {},
): Promise<Response> {
  const headers = { 'content-type': type, authorization: `Bearer ${key}` };
  return fetch(`${url}/v1/operator-statement`, { method: 'PUT', headers, body: Uint8Array.from(body) });
}

async function codeOf(response: Response): Promise<string> {
  const { error } = (await response.json()) as { error: { code: string; message: string } };
  return `${response.status} ${error.code} ${error.message.split(':')[0] ?? ''}`;
}

async function verdictOf({ world }: TestService, anchors: AppraisalContext['anchors']) {
  const { bundle } = await issueBundle(world);
  const policy = policyOf({ operator: { organisations: ['Example GmbH'], images: 'any' } });
  const context = contextOf({ policy, anchors: [...contextOf().anchors, ...anchors] });
  return (await appraiseBundle(bundle, {}, context)).verdict;
}

test('the next bundle says who answers, to whoever trusts that organisation and nobody else', async () => {
  const service = await startTestService(KEYS);
  const { instance } = service.world.keyring.keyset;
  expect(failures(await verdictOf(service, [example.anchors.root]))).toEqual([
    'cited operator: operator.statement EVIDENCE_INCOMPLETE',
    'covering operator: operator.statement EVIDENCE_INCOMPLETE',
  ]);
  const statement = stateFor(example, instance);
  const response = await put(service, statement);
  expect(response.status).toBe(200);
  const answer = (await response.json()) as { organisation: string; evidence: string };
  expect(answer).toMatchObject({ organisation: 'Example GmbH' });
  const { head } = service.world.vouching;
  expect(answer.evidence).toBe(toHex(head.digest));
  expect(parseDocument(head.encoded).operator).toEqual(statement);
  const trusted = await verdictOf(service, [example.anchors.root]);
  expect(failures(trusted)).toEqual([]);
  const own = trusted.checks.filter(({ id }) => id === 'operator.statement');
  expect(own.map(({ subject, result }) => `${subject} ${result}`)).toEqual([
    'cited operator pass',
    'covering operator pass',
  ]);
  expect(failures(await verdictOf(service, [rival.anchors.root]))).toEqual([
    'cited operator: operator.statement UNTRUSTED_ROOT',
    'covering operator: operator.statement UNTRUSTED_ROOT',
  ]);
});

test('the act is in the log before the evidence carries it', async () => {
  const service = await startTestService(KEYS);
  const { keyring, log } = service.world;
  const before = log.entries.length;
  const statement = stateFor(example, keyring.keyset.instance);
  await put(service, statement);
  const act = recordsOf(log.entries.slice(before))[0];
  expect(act).toMatchObject({ kind: 'act', act: 'admin', actor: 'admin', count: 1 });
  const digest = nodeCrypto.hash('sha256', statement);
  expect(act?.kind === 'act' && act.subject).toEqual(actSubject([digest], nodeCrypto));
});

function recordsOf(entries: readonly Uint8Array[]): readonly LogRecord[] {
  return entries.flatMap((entry) => {
    try {
      return [parseRecord(entry).record];
    } catch {
      return [];
    }
  });
}

describe('what is refused, and changes nothing', () => {
  let service: TestService;
  const instance = () => service.world.keyring.keyset.instance;

  async function refusal(body: Uint8Array, how: Parameters<typeof put>[2] = {}): Promise<string> {
    service = await startTestService(KEYS);
    return codeOf(await put(service, body, how));
  }

  test('any key but that of the admin', async () => {
    expect(await refusal(new Uint8Array(9), { key: TENANT.key })).toMatch(/^401 ADMIN_KEY_REQUIRED/);
    expect(await refusal(new Uint8Array(9), { key: 'nobody' })).toMatch(/^401 ADMIN_KEY_REQUIRED/);
    service = await startTestService();
    expect(await codeOf(await put(service, new Uint8Array(9)))).toMatch(/^401 ADMIN_KEY_REQUIRED/);
  });

  test('another type and too many bytes', async () => {
    expect(await refusal(new Uint8Array(9), { type: 'application/json' })).toMatch(/^415/);
    expect(await refusal(new Uint8Array(MAX_STATEMENT_BYTES + 1))).toMatch(/^413 BODY_TOO_LARGE/);
  });

  test.each<[string, (service: TestService) => Uint8Array, string]>([
    ['no statement', () => new Uint8Array(40), 'MALFORMED'],
    ['nothing', () => new Uint8Array(0), 'MALFORMED'],
    [
      'a statement about another instance',
      () => stateFor(example, new Uint8Array(16)),
      'OPERATOR_INSTANCE_MISMATCH',
    ],
    [
      'a signature by another key',
      () => signOperatorStatement(claimsFor(instance()), ecKey('P-256'), example.certificates),
      'SIGNATURE_INVALID',
    ],
    [
      'a name that the certificate does not have',
      () =>
        signOperatorStatement(
          claimsFor(instance(), { organisation: 'Rival AG' }),
          example.key,
          example.certificates,
        ),
      'UNTRUSTED_KEY',
    ],
    [
      'a statement that has ended',
      () => stateFor(example, instance(), { notAfter: NOW / 1000 - DAY / 2 }),
      'OPERATOR_STATEMENT_EXPIRED',
    ],
    [
      'a chain with a foreign link',
      () =>
        signOperatorStatement(claimsFor(instance()), example.key, [
          example.certificates[0],
          rival.certificates[1],
          rival.certificates[2],
        ]),
      'CERT_CHAIN_INVALID',
    ],
  ])('%s', async (_name, make, code) => {
    service = await startTestService(KEYS);
    const before = service.world.log.entries.length;
    expect(await codeOf(await put(service, make(service)))).toBe(`400 OPERATOR_STATEMENT_REFUSED ${code}`);
    expect(parseDocument(service.world.vouching.head.encoded).operator).toBeUndefined();
    expect(service.world.log.entries).toHaveLength(before);
  });

  test('other methods', async () => {
    service = await startTestService(KEYS);
    const response = await fetch(`${service.url}/v1/operator-statement`);
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'PUT']);
  });
});
