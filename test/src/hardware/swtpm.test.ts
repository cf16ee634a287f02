import { execFile, execFileSync } from 'node:child_process';
import { createHash, createPublicKey } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { createLogger } from 'winston';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { concat } from '../../../attestation/bytes/bytes.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import type { Policy } from '../../../attestation/policy/policy.ts';
import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import { u16be, u32be } from '../../../enclave/collect/tpm/command.ts';
import { type RunningService, startService } from '../../../src/main.ts';
import { readTpmKey } from '../../../src/main/hardware.ts';
import { childEntry } from '../../support/engine.ts';
import { makeFolder, testConfig } from '../../support/service.ts';
import { describeSwtpm, startSwtpm, type Swtpm } from '../../support/swtpm.ts';
import { certifyKey, mintTpmAuthority, type TpmAuthority } from '../../support/tpmAuthority.ts';
import { contextOf, failures } from '../../support/world.ts';
import { vouchsafe } from '../cli/program.ts';
import { pem } from '../collateral/minted.ts';

// The whole service on a real TPM 2.0: the steps of «A TPM alone» in enclave/README.md, one after the other.

// An engine, the program four times, and RSA keys of an authority; other suites may hold the cores meanwhile.
jest.setTimeout(180_000);

const QUIET = createLogger({ silent: true });
const MODEL = 'glove-sif-100d';

const OPENSSL = hasOpenssl();
const openssl = (args: readonly string[]) => promisify(execFile)('openssl', args);

/** Of version 3, which issues certificates for keys whose private half it does not see. */
function hasOpenssl(): boolean {
  try {
    return execFileSync('openssl', ['version'], { encoding: 'utf8' }).startsWith('OpenSSL 3');
  } catch {
    return false;
  }
}

/** What a client keeps of one answer. */
interface Kept {
  readonly bundle: Uint8Array;
  readonly opening: { readonly k: Uint8Array; readonly request: Uint8Array; readonly response: Uint8Array };
}

describeSwtpm('the service on a TPM alone', () => {
  let folder: string;
  let swtpm: Swtpm;
  let authority: TpmAuthority;
  let kept: Kept;
  const file = (name: string) => join(folder, name);
  const notices: string[] = [];
  // Without devices nothing may run on one.
  const engine = { provider: 'cpu' as const };

  const hardware = () => ({
    collector: 'tpm' as const,
    devices: 'none' as const,
    tpm: `tcp://127.0.0.1:${swtpm.address.port}`,
    tpmCertificates: file('chain.pem'),
  });
  const anchor = () => `tpm:${authority.anchor.spkiSha256}`;

  async function start(selfCheck: { readonly anchors: string[] }): Promise<RunningService> {
    const config = testConfig({
      data: { directory: await makeFolder() },
      engine: { ...engine, threads: 1 },
      selfCheck: { policy: file('policy.json'), ...selfCheck },
      hardware: hardware(),
    });
    const notice = (line: string) => notices.push(line);
    return startService(config, { log: QUIET, notice, childEntry: childEntry() });
  }

  /** As a client that trusts the authority. */
  async function judge(policy: Policy, trusted = [{ ...authority.anchor, simulated: false }]): Promise<Verdict> {
    const anchors = [...DEFAULT_ANCHORS, ...trusted];
    const context = contextOf({ policy, anchors, now: Date.now() });
    return (await appraiseBundle(kept.bundle, { opening: kept.opening }, context)).verdict;
  } // prettier-ignore

  async function policyFromEvidence(): Promise<Policy> {
    return JSON.parse(await readFile(file('policy.json'), 'utf8')) as Policy;
  }

  beforeAll(async () => {
    [folder, swtpm, authority] = await Promise.all([makeFolder(), startSwtpm(), mintTpmAuthority('tpm')]);
    await writeFile(file('vouchsafe.config.json'), JSON.stringify({ engine, hardware: hardware() }));
  });
  afterAll(() => swtpm.stop());

  test('its key goes to an authority, which issues a certificate', async () => {
    const { code } = await vouchsafe(['doctor', '--config', file('vouchsafe.config.json'), '--tpm-key', file('tpm.pem')]);
    // The certificate is named before there is one: a file that is not there keeps no key back.
    expect(code).toBe(0);
    const spki = createPublicKey(await readFile(file('tpm.pem'))).export({ format: 'der', type: 'spki' });
    expect(new Uint8Array(spki)).toEqual(await readTpmKey(testConfig({ engine, hardware: hardware() })));
    const leaf = await certifyKey(authority, new Uint8Array(spki));
    await writeFile(file('chain.pem'), pem(leaf, authority.ca, authority.root));
  }); // prettier-ignore

  test('evidence of it is refused by default, and a policy is made of it', async () => {
    const config = ['--config', file('vouchsafe.config.json')];
    const collected = await vouchsafe(['doctor', ...config, '--collect', '--out', file('evidence.cbor')]);
    expect([collected.code, collected.stdout]).toEqual([2, expect.stringContaining('PLATFORM_NOT_ALLOWED')]);
    const { code, stdout, stderr } = await vouchsafe(['policy', 'from', file('evidence.cbor')]);
    expect([code, stderr]).toEqual([0, expect.stringContaining('does not protect memory')]);
    await writeFile(file('policy.json'), stdout);
    const judged = ['--policy', file('policy.json'), '--anchor', anchor()];
    expect((await vouchsafe(['doctor', ...config, '--collect', ...judged])).code).toBe(0);
  });

  (OPENSSL ? test : test.skip)(OPENSSL ? 'a certificate of OpenSSL does as well' : 'skipped: no openssl', async () => {
    const issued = ['-in', file('ca.pem'), '-pubkey', '-noout'];
    await openssl(['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes', '-days', '3650',
      '-subj', '/CN=TPM authority', '-addext', 'keyUsage=critical,keyCertSign,cRLSign',
      '-keyout', file('ca.key'), '-out', file('ca.pem')]);
    await writeFile(file('tpm.ext'), 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=2.23.133.8.3\n');
    await openssl(['x509', '-new', '-force_pubkey', file('tpm.pem'), '-subj', '/CN=this machine', '-days', '365',
      '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-extfile', file('tpm.ext'), '-out', file('leaf.pem')]);
    const [leaf, ca] = await Promise.all([readFile(file('leaf.pem'), 'utf8'), readFile(file('ca.pem'), 'utf8')]);
    await writeFile(file('openssl.pem'), leaf + ca);
    const { stdout } = await openssl(['x509', ...issued]);
    const spki = createPublicKey(stdout).export({ format: 'der', type: 'spki' });
    const config = file('openssl.json');
    await writeFile(config, JSON.stringify({ engine, hardware: { ...hardware(), tpmCertificates: file('openssl.pem') } }));
    const digest = createHash('sha256').update(spki).digest('hex');
    const judged = ['--policy', file('policy.json'), '--anchor', `tpm:${digest}`];
    expect(await vouchsafe(['doctor', '--config', config, '--collect', ...judged])).toMatchObject({ code: 0 });
  }); // prettier-ignore

  test('does not start where its root is nobody’s', async () => {
    await expect(start({ anchors: [] })).rejects.toMatchObject({ refusal: 'UNTRUSTED_ROOT' });
  });

  test('embeds over a socket, with a receipt that the verifier accepts under that policy', async () => {
    const service = await start({ anchors: [anchor()] });
    try {
      expect(notices.join()).toContain('the host can read the memory');
      kept = await embed(service);
    } finally {
      await service.stop();
    }
    const verdict = await judge(await policyFromEvidence());
    expect([failures(verdict), verdict.decision, verdict.tier]).toEqual([[], 'accepted', 'warning']);
    expect(verdict.simulated).toEqual([]);
    const limits = verdict.checks.filter(({ id }) => id === 'limits.host-tpm');
    expect(limits.map(({ code }) => code)).toContain('NOT_EXCLUDED');
    const other = { ...kept.opening, response: concat(kept.opening.response, Uint8Array.of(0x20)) };
    kept = { ...kept, opening: other };
    expect((await judge(await policyFromEvidence())).decision).toBe('refused');
  });

  test('is refused under the default policy, and without its root', async () => {
    expect(failures(await judge(DEFAULT_POLICY))).toContain('cited cpu: cpu.platform PLATFORM_NOT_ALLOWED');
    expect((await judge(await policyFromEvidence(), [])).decision).toBe('refused');
  });

  test('does not start where something else was booted', async () => {
    await swtpm.run({
      name: 'PCR_Extend',
      code: 0x182,
      handles: [4],
      authorizations: 1,
      parameters: concat(u32be(1), u16be(0x000b), new Uint8Array(32).fill(7)),
      responseHandles: 0,
    });
    await expect(start({ anchors: [anchor()] })).rejects.toMatchObject({
      refusal: 'MEASUREMENT_MISMATCH',
    });
  });
});

async function embed(service: RunningService): Promise<Kept> {
  const request = JSON.stringify({ model: MODEL, input: 'hello' });
  const answer = await fetch(`${service.url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: request,
  });
  const response = new Uint8Array(await answer.arrayBuffer());
  expect(answer.status).toBe(200);
  const id = answer.headers.get('vouchsafe-receipt-id') ?? '';
  const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key') ?? '', 'base64url');
  const headers = { 'vouchsafe-fresh': '?1' };
  const stored = await fetch(`${service.url}/v1/receipts/${id}/bundle`, { headers });
  expect(stored.status).toBe(200);
  const bundle = new Uint8Array(await stored.arrayBuffer());
  return { bundle, opening: { k, request: Buffer.from(request), response } };
}
