import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { spkiSha256 } from '../../attestation/x509/chain.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { describeCorpus } from '../support/corpus.ts';

const GENUINE = DEFAULT_ANCHORS.filter(({ simulated }) => !simulated);

test('no key is pinned twice in a role, and none in two roles', () => {
  const pins = DEFAULT_ANCHORS.map(({ role, spkiSha256: key }) => `${role} ${key}`);
  expect(new Set(pins).size).toBe(pins.length);
  const keys = DEFAULT_ANCHORS.map(({ spkiSha256: key }) => key);
  expect(new Set(keys).size).toBe(keys.length);
});

test('every key is a SHA-256 in lower-case hex, under a name of its own', () => {
  for (const { spkiSha256: key } of DEFAULT_ANCHORS) expect(key).toMatch(/^[0-9a-f]{64}$/);
  const names = DEFAULT_ANCHORS.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});

test.each(GENUINE.map((anchor) => [anchor.name, anchor] as const))(
  '%s says when it is valid and where its key was found',
  (_name, { published }) => {
    expect(published?.source).toMatch(/\S/);
    const [from, until] = [published?.notBefore, published?.notAfter].map((text) => Date.parse(text ?? ''));
    expect(from).toBeLessThan(until!);
  },
);

test('a simulated key claims no publication and says so in its name', () => {
  for (const { name, published } of DEFAULT_ANCHORS.filter(({ simulated }) => simulated)) {
    expect(published).toBeUndefined();
    expect(name).toContain('SIMULATED');
  }
});

describeCorpus('the roots of the corpus', 'evidence/cpu/roots', (folder) => {
  interface Root {
    readonly file: string;
    readonly kind: string;
    readonly spkiSha256: string;
    readonly notBefore: string;
    readonly notAfter: string;
  }
  const { certificates } = JSON.parse(readFileSync(join(folder, 'roots.json'), 'utf8')) as {
    readonly certificates: readonly Root[];
  };
  const roots = certificates.filter(({ kind }) => kind === 'root');
  const cpu = GENUINE.filter(({ role }) => !role.startsWith('nvidia-'));

  test('are the keys pinned for CPUs and TPMs, no more and no fewer', () => {
    const pinned = cpu.map(({ spkiSha256: key }) => key).sort();
    expect(pinned).toEqual(roots.map(({ spkiSha256: key }) => key).sort());
  });

  test.each(roots.map((root) => [root.file, root] as const))('%s is as the anchor states', (file, root) => {
    const certificate = parseCertificate(new Uint8Array(readFileSync(join(folder, file))));
    expect(spkiSha256(certificate, nodeCrypto)).toBe(root.spkiSha256);
    const anchor = cpu.find(({ spkiSha256: key }) => key === root.spkiSha256);
    const [from, until] = [anchor?.published?.notBefore, anchor?.published?.notAfter];
    expect({ from: Date.parse(from!), until: Date.parse(until!) }).toEqual({
      from: certificate.notBefore,
      until: certificate.notAfter,
    });
    expect({ from, until }).toEqual({ from: root.notBefore, until: root.notAfter });
  });
});
