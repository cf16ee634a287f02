import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { AWS_ANCHORS } from '../../../../attestation/evidence/nitro/anchors.ts';
import { appraiseNitro, appraiseNitroTpm } from '../../../../attestation/evidence/nitro/appraise.ts';
import { parseNitroDocument } from '../../../../attestation/evidence/nitro/parse.ts';
import { verifyNitro, type NitroVerifyOptions } from '../../../../attestation/evidence/nitro/verify.ts';
import type { NitroPolicy } from '../../../../attestation/policy/nitro.ts';
import { parseCertificate } from '../../../../attestation/x509/certificate.ts';
import { describeCorpus } from '../../../support/corpus.ts';

interface Judgement {
  readonly at: string;
  readonly verdict: 'accept' | 'refuse';
  readonly reasons: readonly string[];
}

interface Facts {
  readonly moduleId: string;
  readonly timestampMs: number;
  readonly pcrField: string;
  readonly pcrs: Readonly<Record<string, string>>;
  readonly userDataHex: string | null;
  readonly nonceHex: string | null;
  readonly publicKeyHex: string | null;
  readonly debugMode: boolean;
  readonly sigLen: number;
  readonly leaf: { readonly certSha256: string; readonly spkiSha256: string };
  readonly cabundle: readonly string[];
}

interface Case {
  readonly id: string;
  readonly bytes: Uint8Array;
  readonly facts: Facts | undefined;
  readonly judgements: readonly Judgement[];
}

/** The corpus' default policy: debug off, everything else as it comes. */
const POLICY: NitroPolicy = {
  moduleIds: 'any',
  maximumAgeSeconds: 'any',
  debug: 'refused',
  measurements: 'any',
};

function loadCases(root: string): readonly Case[] {
  return readdirSync(root).map((id) => {
    const json = JSON.parse(readFileSync(join(root, id, 'case.json'), 'utf8')) as {
      verifyAt: string;
      expected: Omit<Judgement, 'at'>;
      alsoAt?: readonly Judgement[];
      facts: Partial<Facts>;
    };
    const judgements = [{ ...json.expected, at: json.verifyAt }, ...(json.alsoAt ?? [])];
    const facts = json.facts.moduleId === undefined ? undefined : (json.facts as Facts);
    return { id, bytes: new Uint8Array(readFileSync(join(root, id, 'doc.cbor'))), facts, judgements };
  });
}

/** Codes of the refusal or of the failed checks; none is accepted. */
async function judge({ bytes }: Case, options: NitroVerifyOptions): Promise<readonly string[]> {
  try {
    const verified = await verifyNitro(bytes, options);
    const { debug, ...tpmPolicy } = POLICY;
    const checks =
      verified.document.kind === 'enclave'
        ? appraiseNitro(verified, { debug, ...tpmPolicy })
        : appraiseNitroTpm(verified, tpmPolicy);
    return checks.filter(({ result }) => result === 'fail').map(({ code }) => code);
  } catch (error) {
    if (error instanceof Refusal) return [error.code];
    throw error;
  }
}

describeCorpus('Nitro corpus', 'evidence/cpu/aws', (root) => {
  const cases = loadCases(root);
  const providers = { nodeCrypto, portableCrypto };

  test('has every case', () => {
    expect(cases).toHaveLength(14);
    expect(cases.filter(({ facts }) => facts)).toHaveLength(10);
  });

  for (const [name, crypto] of Object.entries(providers)) {
    for (const item of cases) {
      for (const { at, verdict, reasons } of item.judgements) {
        test(`${item.id} at ${at} with ${name}: ${verdict} ${reasons.join(' or ')}`, async () => {
          const codes = await judge(item, { crypto, now: Date.parse(at), anchors: AWS_ANCHORS });
          if (verdict === 'accept') expect(codes).toEqual([]);
          else expect(reasons).toContain(codes[0]);
        });
      }
    }
  }

  for (const { id, bytes, facts } of cases) {
    if (!facts) continue;
    test(`${id}: members are those that the case states`, () => {
      const document = parseNitroDocument(bytes);
      const hexOrNull = (value: Uint8Array | undefined) => (value ? toHex(value) : null);
      expect(document.kind).toBe(facts.pcrField === 'pcrs' ? 'enclave' : 'tpm');
      expect({
        moduleId: document.moduleId,
        timestampMs: document.timestamp,
        pcrs: Object.fromEntries([...document.pcrs].map(([index, value]) => [index, toHex(value)])),
        userDataHex: hexOrNull(document.userData),
        nonceHex: hexOrNull(document.nonce),
        publicKeyHex: hexOrNull(document.publicKey),
        sigLen: document.signature.length,
      }).toEqual({
        moduleId: facts.moduleId,
        timestampMs: facts.timestampMs,
        pcrs: facts.pcrs,
        userDataHex: facts.userDataHex,
        nonceHex: facts.nonceHex,
        publicKeyHex: facts.publicKeyHex,
        sigLen: facts.sigLen,
      });
      const sha256 = (der: Uint8Array) => toHex(nodeCrypto.hash('sha256', der));
      expect(sha256(document.certificate)).toBe(facts.leaf.certSha256);
      expect(sha256(parseCertificate(document.certificate).spki)).toBe(facts.leaf.spkiSha256);
      expect(document.cabundle).toHaveLength(facts.cabundle.length);
    });

    test(`${id}: its certificate names its module`, async () => {
      const [{ at }] = cases.find((item) => item.id === id)!.judgements as [Judgement];
      const options = { crypto: nodeCrypto, now: Date.parse(at), anchors: AWS_ANCHORS };
      const verified = await verifyNitro(bytes, options);
      const [instance] = /^i-[0-9a-f]+/.exec(facts.moduleId)!;
      for (const moduleIds of [[facts.moduleId], [instance]]) {
        const { debug, ...policy } = { ...POLICY, moduleIds, debug: 'accepted' as const };
        const checks =
          facts.debugMode || facts.pcrField === 'pcrs'
            ? appraiseNitro(verified, { debug, ...policy })
            : appraiseNitroTpm(verified, policy);
        expect(checks.find((check) => check.id === 'cpu.identity')).toMatchObject({ result: 'pass' });
      }
    });
  }

  test('without a pinned root, or with one of another role, every document is refused', async () => {
    const foreign = AWS_ANCHORS.map((anchor) => ({ ...anchor, role: 'tpm' as const }));
    for (const item of cases) {
      for (const anchors of [[], foreign]) {
        const now = Date.parse(item.judgements[0]!.at);
        const [code] = await judge(item, { crypto: nodeCrypto, now, anchors });
        expect(['UNTRUSTED_ROOT', 'MALFORMED']).toContain(code);
      }
    }
  });

  test('with tag 18 before it, a document is the same', async () => {
    const { bytes, judgements } = cases.find(({ id }) => id === 'nitro-2026-opengradient')!;
    const now = Date.parse(judgements[0]!.at);
    const tagged = Uint8Array.of(0xd2, ...bytes);
    const verified = await verifyNitro(tagged, { crypto: nodeCrypto, now, anchors: AWS_ANCHORS });
    expect(verified.document).toEqual(parseNitroDocument(bytes));
  });
});
