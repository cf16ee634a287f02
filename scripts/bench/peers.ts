import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { fromUtf8, toHex } from '../../attestation/bytes/bytes.ts';
import type { BenchEvidence } from './evidence.ts';
import { z } from 'zod';

/**
 * The peers go into a scratch folder, never into this project: one of them is AGPL. The override is for a package
 * that the peer's own range no longer finds.
 */
const PACKAGES = {
  name: 'vouchsafe-bench-peers',
  private: true,
  type: 'module',
  dependencies: { '@phala/dcap-qvl': '0.3.9', '@tinfoilsh/verifier': '1.1.0' },
  overrides: { '@freedomofpress/tuf-browser': '0.1.8' },
};

/** Installs the peers once; returns the folder. */
export function installPeers(): string {
  const folder = join(tmpdir(), 'vouchsafe-bench-peers');
  if (existsSync(join(folder, 'node_modules/@tinfoilsh/verifier'))) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify(PACKAGES, null, 2));
  execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: 'ignore',
  });
  return folder;
}

async function load<T>(folder: string, path: string): Promise<T> {
  return (await import(pathToFileURL(join(folder, 'node_modules', path)).href)) as T;
}

interface DcapQvl {
  readonly verify: (quote: Buffer, collateral: object, seconds: number) => { readonly status: string };
}

const body = z.object({ signature: z.string() });

/** One verification by `@phala/dcap-qvl`, of the same quote and collateral. */
export async function phalaVerifier(
  folder: string,
  { files, at }: BenchEvidence,
): Promise<() => Promise<void>> {
  const { verify } = await load<DcapQvl>(folder, '@phala/dcap-qvl/src/index.js');
  const text = (name: string) => fromUtf8(files.need(name));
  const inner = (name: string, member: string) => {
    const json = text(name);
    const { signature } = body.parse(JSON.parse(json));
    const end = json.lastIndexOf(',"signature"');
    return { signed: json.slice(`{"${member}":`.length, end), signature };
  };
  const tcb = inner('tcb_info.json', 'tcbInfo');
  const identity = inner('qe_identity.json', 'enclaveIdentity');
  const collateral = {
    pck_crl_issuer_chain: text('pck_crl_issuer_chain.pem'),
    root_ca_crl: toHex(files.need('root_ca_crl.der')),
    pck_crl: toHex(files.need('pck_crl.der')),
    tcb_info_issuer_chain: text('tcb_info_issuer_chain.pem'),
    tcb_info: tcb.signed,
    tcb_info_signature: tcb.signature,
    qe_identity_issuer_chain: text('qe_identity_issuer_chain.pem'),
    qe_identity: identity.signed,
    qe_identity_signature: identity.signature,
  };
  const quote = Buffer.from(files.need('quote.bin'));
  return async () => {
    const { status } = await Promise.resolve(verify(quote, collateral, at / 1000));
    if (status !== 'UpToDate') throw new Error(`the peer says ${status}`);
  };
}

interface Tinfoil {
  readonly verifyAttestation: (document: { format: string; body: string }, vcek: string) => Promise<unknown>;
}

/** One verification by `@tinfoilsh/verifier`, of the same report under the same VCEK. */
export async function tinfoilVerifier(
  folder: string,
  { files }: BenchEvidence,
  vcek: Uint8Array,
): Promise<() => Promise<void>> {
  const { verifyAttestation } = await load<Tinfoil>(folder, '@tinfoilsh/verifier/dist/attestation.js');
  const document = {
    format: 'https://tinfoil.sh/predicate/sev-snp-guest/v2',
    body: gzipSync(files.need('report.bin')).toString('base64'),
  };
  const certificate = Buffer.from(vcek).toString('base64');
  return async () => {
    await verifyAttestation(document, certificate);
  };
}
