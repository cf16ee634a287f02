import { generateKeyPairSync, createPublicKey } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { appraiseBundle } from '../../attestation/appraise.ts';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { verifyTimestamp, type TimestampOptions } from '../../attestation/time/timestamp.ts';
import {
  authorityExtensions,
  issueCertificate,
  simulatedName,
} from '../../enclave/collect/simulated/certificate.ts';
import type { Confirmation, Outsider } from '../../src/receipts/outsider.ts';
import { refusalOfAsync } from '../support/refusal.ts';
import { FIRST, RenewedArchive, sinceOf, YEAR } from '../support/renewedArchive.ts';
import { mintTimestampAuthority, timestampAuthority } from '../support/timestampAuthority.ts';
import { witnessBundle } from '../support/witnessedBundle.ts';
import {
  contextOf,
  failures,
  issueBundle,
  makeWorld,
  NOW,
  policyOf,
  type Bundled,
  type World,
} from '../support/world.ts';

// What a review of time and renewal found. Each was possible before.

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const DATA = utf8('a head of a log');
const authority = timestampAuthority();

const honest: Outsider = {
  name: 'outsider',
  kind: 'authority',
  confirm: ({ text }): Promise<Confirmation> =>
    Promise.resolve({ kind: 'token', token: authority.token(utf8(text), NOW) }),
};

async function waitForAnchor({ vouching }: World, { draft }: Bundled): Promise<void> {
  while (!parseBundle(await vouching.bundle(toHex(draft.id), draft.tenant)).witnessed) await setImmediate();
}

/** Code of the refusal, with how often each primitive was used. */
async function judge(token: Uint8Array, changes: Partial<TimestampOptions> = {}) {
  const work = { hash: 0, verify: 0 };
  const crypto: CryptoProvider = {
    ...nodeCrypto,
    hash: (name, bytes) => {
      work.hash++;
      return nodeCrypto.hash(name, bytes);
    },
    verify: (...parts) => {
      work.verify++;
      return nodeCrypto.verify(...parts);
    },
  };
  const options = { data: DATA, anchors: [authority.anchor], crypto, ...changes };
  const refusal = await refusalOfAsync(() => verifyTimestamp(token, options));
  return { code: refusal?.code, work };
}

describe('backdate with the stolen key of an authority', () => {
  // RFC 3161 section 4: genTime is what the thief writes, so that only some reasons leave earlier tokens valid.
  test.each<[string, number | undefined, string | undefined]>([
    ['for no stated reason', undefined, 'CERT_REVOKED'],
    ['because its key is compromised', 1, 'CERT_REVOKED'],
    ['because its authority is compromised', 2, 'CERT_REVOKED'],
    ['and held', 6, 'CERT_REVOKED'],
    ['because its privilege was withdrawn', 9, 'CERT_REVOKED'],
    ['for a reason that is unspecified in words', 0, undefined],
    ['because its owner changed', 3, undefined],
    ['because another took its place', 4, undefined],
    ['because it ceased to operate', 5, undefined],
  ])('a signing certificate that was revoked after genTime %s', async (_, reason, code) => {
    const crls = [authority.crl(NOW + DAY, NOW + 2 * DAY, reason)];
    expect((await judge(authority.token(DATA, NOW), { crls })).code).toBe(code);
  });

  test('is contradicted by the time anchor of the later evidence', async () => {
    // The host sets the guest's clock back; what an honest authority signed at NOW is in the covering document.
    const world = await makeWorld({
      now: () => NOW - 2 * HOUR,
      outsiders: () => Promise.resolve([honest]),
    });
    const first = await issueBundle(world);
    await waitForAnchor(world, first);
    const { bundle } = await issueBundle(world);
    const { cited, covering } = parseBundle(bundle);
    expect(parseDocument(cited).timeAnchor).toBeUndefined();
    expect(parseDocument(covering!.document).timeAnchor).toBeDefined();
    const thief = mintTimestampAuthority();
    const backdated = await witnessBundle(world, bundle, { authorities: [[thief, NOW - 2 * HOUR]] });
    const authorities = [authority, thief].map(({ anchor }, i) => ({
      name: `${i}`,
      value: anchor.spkiSha256,
    }));
    const context = contextOf({ policy: policyOf({ timestamps: { authorities, required: false } }) });
    const { verdict } = await appraiseBundle(backdated, {}, context);
    expect(failures(verdict)).toContain('covering document: document.lower TIME_CONTRADICTION');
  });

  test('gives no time at which a bundle is judged', async () => {
    const world = await makeWorld();
    const { bundle } = await issueBundle(world);
    const backdated = await witnessBundle(world, bundle, { authorities: [[authority, NOW - HOUR]] });
    const authorities = [{ name: 'minted', value: authority.anchor.spkiSha256 }];
    const context = contextOf({
      policy: policyOf({ timestamps: { authorities, required: false } }),
      collateral: { ...NO_COLLATERAL, crls: [authority.crl(NOW - 1000, NOW, 1)] },
    });
    const { verdict } = await appraiseBundle(backdated, {}, context);
    expect(failures(verdict)).toContain('log: log.timestamp CERT_REVOKED');
    expect(verdict).not.toHaveProperty('upper');
  });
});

describe('work that a token makes', () => {
  const [signer, intermediate, root] = authority.certificates;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = simulatedName('Timestamp authority');
  /** Each is issued by all others, as far as names say. */
  const circle = Array.from({ length: 15 }, (_, i) => {
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    const validity = { notBefore: new Date(NOW - DAY), notAfter: new Date(NOW + DAY) };
    const extensions = authorityExtensions(undefined, 'certificates');
    const template = { subject: name, serial: Uint8Array.of(i + 4), publicKey: key, extensions };
    return issueCertificate({ ...template, ...validity }, { name, key: privateKey });
  });

  test('certificates that form a circle of names', async () => {
    const token = authority.token(DATA, NOW, { certificates: [signer, ...circle] });
    const { code, work } = await judge(token);
    expect(code).toBe('UNTRUSTED_ROOT');
    expect(work.hash).toBeLessThan(1000);
  });

  test('certificates of one serial, each as the signer', async () => {
    const key = createPublicKey(privateKey);
    const validity = { notBefore: new Date(NOW - DAY), notAfter: new Date(NOW + DAY) };
    const twins = Array.from({ length: 60 }, (_, i) => {
      const subject = i % 2 === 0 ? name : simulatedName(`Timestamp ${i}`);
      const extensions = authorityExtensions(i, 'certificates');
      const template = { subject, serial: Uint8Array.of(3), publicKey: key, extensions };
      return issueCertificate({ ...template, ...validity }, { name, key: privateKey });
    });
    const token = authority.token(DATA, NOW, { certificates: [signer] });
    const { code, work } = await judge(token, { certificates: twins });
    expect(code).toBe('UNTRUSTED_ROOT');
    expect(work.hash).toBeLessThan(1000);
  });

  test('one certificate many times', async () => {
    const certificates = [...Array.from({ length: 14 }, () => signer), intermediate, root];
    const { privateKey: stranger } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const token = authority.token(DATA, NOW, { certificates, signedBy: stranger });
    const { code, work } = await judge(token);
    expect(code).toBe('SIGNATURE_INVALID');
    expect(work.verify).toBeLessThan(5);
  });
});

test('a file that a later renewal left out is not shown by a hash that is broken since', async () => {
  const archive = new RenewedArchive();
  await archive.renew(FIRST, { hash: 'sha384' });
  const left = archive.files.get('evidence/0.cbor')!;
  archive.files.delete('evidence/0.cbor');
  await archive.renew(FIRST + YEAR, { hash: 'sha512' });
  archive.files.set('evidence/0.cbor', left);
  // With SHA-384 broken, whoever controls the folder can have put another file of that digest there.
  const audit = await archive.verify(FIRST + 3 * YEAR, { ends: { sha384: FIRST + 2 * YEAR } });
  expect(sinceOf(audit)[0]).toBeUndefined();
});
