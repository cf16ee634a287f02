import { concat, fromHex, toBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { NO_COLLATERAL } from '../../../attestation/collateral.ts';
import { encodeDocument, parseDocument } from '../../../attestation/evidence/document.ts';
import type { CpuEvidence, EncodedTpmQuote, Platform } from '../../../attestation/evidence/evidence.ts';
import { encodeAnchor } from '../../../attestation/log/anchor.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { encodeTimestampRequest } from '../../../attestation/time/timestampExchange.ts';
import { encodeCollateralFile } from '../../../attestation/bundle/collateralFile.ts';
import type { ShownKind } from '../../../attestation/recognition/recognise.ts';
import {
  BOOT,
  ccelLog,
  dstackLog,
  FIRMWARE_RECORD,
  runtimeRecord,
  sha1Log,
  startupLocality,
  tcg2Log,
  TD_BOOT,
} from '../../attestation/evidence/bootlog/mint.ts';
import {
  issueQuote,
  mintDcapAuthority,
  type BodyKind,
  type DcapAuthority,
} from '../../support/dcapAuthority.ts';
import { mintHclReport } from '../../support/hclReport.ts';
import {
  mintSigner,
  qeIdentity,
  signStatement,
  tcbInfoV2,
  tdxTcbInfo,
} from '../../support/intelStatements.ts';
import { mintNitroAuthority, registers, type NitroAuthority } from '../../support/nitroAuthority.ts';
import {
  generateChipKeys,
  genoaReport,
  mintAuthority,
  signReport,
  type SnpAuthority,
} from '../../support/snpAuthority.ts';
import * as tpmMint from '../../support/tpmAuthority.ts';
import { timestampAuthority } from '../../support/timestampAuthority.ts';
import { confirmHead, mintWitness, witnessBundle, type Confirming } from '../../support/witnessedBundle.ts';
import { issueBundle, makeWorld, NOW, type World } from '../../support/world.ts';
import { attestation } from '../client/service.ts';
import { disclosureSamples } from './disclosureSamples.ts';
import { deviceSamples, mintDeviceMaterial } from './inspectDeviceSamples.ts';

/** One file, what it is and a few texts that its output must hold. */
export interface Sample {
  readonly name: string;
  readonly kind: ShownKind;
  readonly bytes: Uint8Array;
  readonly says: readonly string[];
}

export function pem(label: string, ...ders: readonly Uint8Array[]): string {
  return ders.map((der) => `-----BEGIN ${label}-----\n${toBase64(der)}\n-----END ${label}-----\n`).join('');
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24);
}

const GUIDS = {
  ark: 'c0b406a4a803495297433fb6014cd0ae',
  ask: '4ab7b379bbac4fe4a02f05aef327c782',
  vcek: '63da758de6644564adc5f4b93be8accd',
} as const;

/** A certificate table as a host writes it behind a report. */
function certificateTable(entries: readonly (readonly [keyof typeof GUIDS, Uint8Array])[]): Uint8Array {
  let offset = 24 * (entries.length + 1);
  const heads = entries.map(([role, content]) => {
    const head = concat(fromHex(GUIDS[role]), u32(offset), u32(content.length));
    offset += content.length;
    return head;
  });
  return concat(...heads, new Uint8Array(24), ...entries.map(([, content]) => content));
}

/** A report of version 2, which does not say of which product it is. */
export function oldReport(): Uint8Array {
  const report = genoaReport();
  report[0] = 2;
  report.fill(0, 0x188, 0x18b);
  return report;
}

/** Who issues; RSA keys take their time. */
interface Authorities {
  readonly snp: SnpAuthority;
  readonly intel: DcapAuthority;
  readonly nitro: NitroAuthority;
  readonly tpm: tpmMint.TpmAuthority;
  readonly rsa: tpmMint.Keys;
}

/** Everything of AMD. */
async function snpSamples({ snp: authority }: Authorities): Promise<readonly Sample[]> {
  const { ark, ask } = authority;
  const keys = await generateChipKeys();
  const vek = await authority.issueVek(keys);
  const report = await signReport(genoaReport(), keys);
  const split = 'bootloader 10, tee 0, snp 27, microcode 200';
  const response = concat(u32(0), u32(1184), new Uint8Array(24), report, new Uint8Array(2784));
  const host = {
    vcekCert: pem('CERTIFICATE', vek),
    tcbm: 'C81B00000000000a',
    certificateChain: pem('CERTIFICATE', ask, ark),
  };
  const table = certificateTable([['vcek', vek], ['ask', ask], ['ark', ark]]); // prettier-ignore
  const crl = await authority.issueCrl({ revoked: ['010001', '0a0b'] });
  return [
    { name: 'SNP report', kind: 'snp-report', bytes: report, says: ['genoa (family 0x19', split, 'vcek', '0x30000'] },
    { name: 'SNP report of version 2', kind: 'snp-report', bytes: oldReport(), says: [`Genoa ${split}; on Turin fmc 10`] },
    { name: 'extended report', kind: 'snp-extended-report', bytes: concat(report, table, new Uint8Array(64)), says: [split, 'ark certificate', 'vcek of genoa'] },
    { name: 'MSG_REPORT_RSP', kind: 'snp-report-response', bytes: response, says: ['0 (success)', split] },
    { name: 'THIM answer', kind: 'thim-certificates', bytes: utf8(JSON.stringify(host)), says: [split, 'CN=SEV-VCEK'] },
    { name: 'VCEK in DER', kind: 'certificates', bytes: vek, says: ['endorses', split, 'AMD hwid'] },
    { name: 'chain in PEM', kind: 'certificates', bytes: utf8(`VEK chain\n${pem('CERTIFICATE', vek, ask, ark)}`), says: ['certificate 3', 'CN=ARK-Minted'] },
    { name: 'chain in DER', kind: 'certificates', bytes: concat(vek, ask, ark, new Uint8Array(50)), says: ['certificate 3'] },
    { name: 'CRL', kind: 'crl', bytes: crl, says: ['CN=ARK-Minted', '0a0b since 2026-02-01T00:00:00Z'] },
    { name: 'CRL in PEM', kind: 'crl', bytes: utf8(pem('X509 CRL', crl)), says: ['010001 since'] },
  ]; // prettier-ignore
}

/** Everything of Intel. */
async function intelSamples({ intel: authority }: Authorities): Promise<readonly Sample[]> {
  const machine = await authority.mintMachine();
  const signer = await mintSigner(authority.root);
  const kinds: readonly (readonly [3 | 4 | 5, BodyKind])[] = [
    [3, 'sgx'],
    [4, 'td10'],
    [4, 'sgx'],
    [5, 'td10'],
    [5, 'td15'],
    [5, 'sgx'],
  ];
  const quotes = kinds.map(async ([version, kind]): Promise<Sample> => {
    const tee = kind === 'sgx' ? 'sgx' : 'tdx';
    const own = tee === 'tdx' ? ['d0'.repeat(48), 'SEPT_VE_DISABLE', 'RTMR3'] : ['e1'.repeat(32), 'MODE64BIT'];
    const says = [...own, '00906ed50000', '6 6 2 2 4 1 0 5', 'PCK certificate 3', 'ISV SVN'];
    return { name: `${kind} quote v${version}`, kind: `${tee}-quote`, bytes: await issueQuote(machine, { version, kind }), says };
  }); // prettier-ignore
  const ppid = concat(new Uint8Array(16).fill(0x99), new Uint8Array(16), Uint8Array.of(13, 0, 7, 0));
  const bare = await issueQuote(machine, {
    version: 4,
    kind: 'td10',
    certification: { type: 1, data: ppid },
  });
  const info = (await signStatement(signer, 'tcbInfo', tdxTcbInfo())).body;
  const old = (await signStatement(signer, 'tcbInfo', tcbInfoV2())).body;
  const identity = (await signStatement(signer, 'enclaveIdentity', qeIdentity())).body;
  return [
    ...(await Promise.all(quotes)),
    { name: 'quote with a PPID', kind: 'tdx-quote', bytes: bare, says: ['1 (PPID in the clear)', '99'.repeat(16), '0700'] },
    { name: 'TCB info', kind: 'tcb-info', bytes: info, says: ['00906ed50000', 'OutOfDate', 'INTEL-SA-00106', 'TDX module TDX_03'] },
    { name: 'TCB info v2', kind: 'tcb-info', bytes: old, says: ['SGX', 'UpToDate'] },
    { name: 'QE identity', kind: 'qe-identity', bytes: identity, says: ['TD_QE', 'OutOfDate, 2023-08-09'] },
    { name: 'PCK chain', kind: 'certificates', bytes: utf8(pem('CERTIFICATE', ...machine.chain)), says: ['FMSPC', 'Intel SGX'] },
  ]; // prettier-ignore
}

/** Everything of AWS. */
async function nitroSamples({ nitro: authority }: Authorities): Promise<readonly Sample[]> {
  const document = await authority.mint(
    { user_data: utf8('hello'), nonce: Uint8Array.of(1, 2) },
    { indefinite: true },
  );
  const debug = await authority.mint({
    pcrs: new Map([...registers(16)].map(([i]) => [i, new Uint8Array(48)])),
  });
  const tpm = await authority.mint({ pcrs: undefined, nitrotpm_pcrs: registers(24) }, { tagged: true });
  const says = ['i-0123456789abcdef0-enc0fedcba987654321', '68656c6c6f «hello»', '0102', '02'.repeat(48)];
  return [
    { name: 'Nitro document', kind: 'nitro-document', bytes: document, says },
    { name: 'Nitro document in base64', kind: 'nitro-document', bytes: utf8(toBase64(document).replaceAll(/.{64}/g, '$&\n')), says: [...says, 'base64'] },
    { name: 'Nitro document in hex', kind: 'nitro-document', bytes: utf8(`${toHex(document)}\n`), says: [...says, 'hex'] },
    { name: 'Nitro document of a debug enclave', kind: 'nitro-document', bytes: debug, says: ['ON: PCR 0, 1 and 2 are zero'] },
    { name: 'NitroTPM document', kind: 'nitro-document', bytes: tpm, says: ['NitroTPM', 'PCR 23'] },
  ]; // prettier-ignore
}

/** Everything of TPMs and of what booted. */
async function tpmSamples({ tpm: authority, rsa }: Authorities): Promise<readonly Sample[]> {
  const ec = await tpmMint.generateEc();
  const message = tpmMint.encodeAttest({ extraData: utf8('challenge') });
  const area = await tpmMint.encodePublic(rsa);
  const google = await authority.issueLeaf(ec, {
    extensions: [
      ...tpmMint.AK_EXTENSIONS,
      tpmMint.raw(tpmMint.GOOGLE_INSTANCE, tpmMint.googleInstance()),
      tpmMint.raw('2.5.29.17', tpmMint.tpmAltName(), true),
    ],
  });
  const spki = await tpmMint.spkiOf(rsa);
  const runtime = [runtimeRecord({ name: 'app-id', payload: Uint8Array.of(1, 2, 3) })];
  const quoteSays = ['6368616c6c656e6765 «challenge»', 'sha256: 0-23', '0x2020031200120003'];
  const googleSays = [
    'minted-project (number 4711)',
    'TPM attestation key',
    'model vTPM',
    'subjectAltName (critical)',
  ];
  return [
    { name: 'TPM quote', kind: 'tpm-quote', bytes: message, says: quoteSays },
    { name: 'TPM2B_ATTEST', kind: 'tpm-quote', bytes: tpmMint.sized(message), says: quoteSays },
    { name: 'RSA public area', kind: 'tpm-public', bytes: area, says: ['RSA of 2048 bits', 'fixedTpm', 'restricted'] },
    { name: 'EC public area', kind: 'tpm-public', bytes: tpmMint.sized(await tpmMint.encodePublic(ec)), says: ['EC on P-256', 'ECDSA with sha256'] },
    { name: 'TPM signature', kind: 'tpm-signature', bytes: await tpmMint.signTpmt(message, rsa), says: ['RSASSA-PKCS1-v1_5 with sha256'] },
    { name: 'AK certificate', kind: 'certificates', bytes: tpmMint.padded(google), says: googleSays },
    { name: 'AK certificate padded inside PEM', kind: 'certificates', bytes: utf8(pem('CERTIFICATE', tpmMint.padded(google))), says: googleSays },
    { name: 'public key', kind: 'public-key', bytes: spki, says: ['RSA of 2048 bits', 'not a pinned anchor'] },
    { name: 'public key in PEM', kind: 'public-key', bytes: utf8(pem('PUBLIC KEY', spki)), says: ['RSA of 2048 bits'] },
    { name: 'HCL report', kind: 'hcl-report', bytes: mintHclReport({ hardwareReport: genoaReport() }), says: ['0123abcd-89ab-4def-8123-456789abcdef', 'HCLEkPub', 'snp 27'] },
    { name: 'HCL report of a TD', kind: 'hcl-report', bytes: mintHclReport({ platform: 'tdx' }), says: ['TDREPORT', '11'.repeat(48)] },
    { name: 'TCG2 log', kind: 'boot-log', bytes: tcg2Log([startupLocality(3), ...BOOT]), says: ['locality', 'EV_IPL, digest of the data: GRUB command: linux /kernel', 'PCR 9'] },
    { name: 'SHA-1 log', kind: 'boot-log', bytes: sha1Log(BOOT), says: ['TCG SHA-1 log', 'EV_SEPARATOR'] },
    { name: 'CCEL', kind: 'boot-log', bytes: ccelLog(TD_BOOT), says: ['CCEL log of a TD', 'application event: example.com load model 7', 'RTMR 3'] },
    { name: 'dstack log', kind: 'boot-log', bytes: dstackLog([FIRMWARE_RECORD, ...runtime]), says: ['dstack log', 'app-id: 3 bytes 010203'] },
    { name: 'CCEL table', kind: 'ccel-table', bytes: ccelTable(), says: ['65536 bytes', '0x7000'] },
  ]; // prettier-ignore
}

/** An ACPI table whose bytes add up to zero. */
function ccelTable(): Uint8Array {
  const table = concat(
    utf8('CCEL'),
    u32(56),
    new Uint8Array(28),
    Uint8Array.of(2, 0, 0, 0),
    u32(65536),
    u32(0),
    u32(0x7000),
    u32(0),
  );
  table[9] = -table.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return table; // prettier-ignore
}

/** Files of ours, and an evidence document of every platform. */
async function ownSamples(authorities: Authorities): Promise<readonly Sample[]> {
  const world = await makeWorld();
  const { bundle } = await issueBundle(world, { nonce: new Uint8Array(32).fill(3) });
  const { receipt, cited, covering } = parseBundle(bundle);
  const { devices } = parseDocument(cited);
  const answer = (await attestation(world, new Uint8Array(32).fill(5))).body;
  return [
    { name: 'bundle', kind: 'bundle', bytes: bundle, says: ['covering document', 'cited cpu', 'receipt claims'] },
    { name: 'document', kind: 'document', bytes: cited, says: ['ARK-Genoa-SIMULATED (amd-ark, SIMULATED)', 'HPKE key'] },
    { name: 'attestation answer', kind: 'attestation', bytes: answer, says: ['answers nonce'] },
    { name: 'receipt', kind: 'receipt', bytes: receipt, says: ['test-model'] },
    { name: 'record', kind: 'record', bytes: await world.log.entry(0), says: ['predecessor'] },
    { name: 'checkpoint', kind: 'checkpoint', bytes: covering!.checkpoint, says: ['signed by'] },
    { name: 'device report', kind: 'device-report', bytes: devices[0]!.report, says: ['VBIOS'] },
    { name: 'device report in hex', kind: 'device-report', bytes: utf8(toHex(devices[0]!.report)), says: ['hex', 'VBIOS'] },
    { name: 'policy', kind: 'policy', bytes: utf8(JSON.stringify(SIMULATED_POLICY)), says: ['vouchsafe/policy/'] },
    { name: 'collateral', kind: 'collateral', bytes: encodeCollateralFile({ ...NO_COLLATERAL, ...world.collateral }), says: ['SHA-256'] },
    ...(await timeSamples(world, bundle)),
    ...(await documentSamples(authorities, cited)),
  ]; // prettier-ignore
}

/** What outsiders say of a log. */
async function timeSamples(world: World, bundle: Uint8Array): Promise<readonly Sample[]> {
  const authority = timestampAuthority();
  const witness = mintWitness('witness.example');
  const confirming: Confirming = { authorities: [[authority, NOW]], witnesses: [[witness, NOW]] };
  const { note, tokens } = await confirmHead(world, confirming);
  const query = encodeTimestampRequest({
    digest: new Uint8Array(32).fill(5),
    nonce: Uint8Array.of(0xab, 9),
    certReq: true,
  });
  const time = new Date(NOW).toISOString().replace('.000', '');
  return [
    { name: 'anchor', kind: 'anchor', bytes: encodeAnchor({ note, tokens }), says: ['witness.example', time, 'Timestamp signer'] },
    { name: 'timestamp', kind: 'timestamp', bytes: tokens[0]!, says: [time, 'ECDSA', 'not stated'] },
    { name: 'timestamp response', kind: 'timestamp', bytes: authority.answer(query, NOW), says: ['05'.repeat(32), 'ab09'] },
    { name: 'timestamp in base64', kind: 'timestamp', bytes: utf8(toBase64(tokens[0]!)), says: ['base64', time] },
    { name: 'witnessed bundle', kind: 'bundle', bytes: await witnessBundle(world, bundle, confirming), says: ['a confirmed checkpoint with 1 timestamp', 'epoch record', 'witness.example'] },
  ]; // prettier-ignore
}

async function documentSamples(
  { snp, intel, nitro, ...others }: Authorities,
  document: Uint8Array,
): Promise<readonly Sample[]> {
  const parts = parseDocument(document);
  const quote = await issueQuote(await intel.mintMachine(), { version: 5, kind: 'td15' });
  const vek = await snp.issueVek(await generateChipKeys());
  const tpm = await tpmEvidence(others);
  const enclave = await nitro.mint();
  const nitroTpm = await nitro.mint({ pcrs: undefined, nitrotpm_pcrs: registers(24) });
  const cpus: Readonly<Record<Exclude<Platform, 'snp'>, readonly [CpuEvidence, readonly string[]]>> = {
    tdx: [{ platform: 'tdx', report: quote }, ['cpu TD report', 'd0'.repeat(48)]],
    nitro: [{ platform: 'nitro', report: enclave }, ['Nitro enclave', 'PCR 15']],
    nitrotpm: [{ platform: 'nitrotpm', report: nitroTpm }, ['NitroTPM', 'PCR 23']],
    'azure-snp': [
      {
        platform: 'azure-snp',
        report: mintHclReport({ hardwareReport: oldReport() }),
        certificates: [vek],
        tpm,
      },
      ['cpu HCL report', 'the certificate beside it is of genoa', 'cpu TPM quote', 'PCR 23'],
    ],
    'azure-tdx': [
      { platform: 'azure-tdx', report: mintHclReport({ platform: 'tdx' }), quote, tpm },
      ['cpu TDREPORT', 'cpu TD report', 'cpu TPM certificate 1'],
    ],
    'gcp-vtpm': [{ platform: 'gcp-vtpm', tpm }, ['cpu TPM quote']],
    tpm: [{ platform: 'tpm', tpm }, ['cpu TPM signature', '18'.repeat(32)]],
  };
  return Object.entries(cpus).map(([platform, [cpu, says]]) => {
    const bootLog = platform === 'tdx' ? ccelLog(TD_BOOT) : platform === 'nitro' ? undefined : tcg2Log(BOOT);
    const bytes = encodeDocument({ ...parts, cpu, bootLog });
    const all = [...says, ...(bootLog ? ['replayed'] : [])];
    return { name: `document of ${platform}`, kind: 'document', bytes, says: all };
  });
}

async function tpmEvidence({
  tpm: authority,
  rsa: keys,
}: Pick<Authorities, 'tpm' | 'rsa'>): Promise<EncodedTpmQuote> {
  const message = tpmMint.encodeAttest();
  const certificates = [tpmMint.padded(await authority.issueLeaf(keys)), authority.ca, authority.root];
  return {
    message,
    signature: await tpmMint.signTpmt(message, keys),
    pcrs: tpmMint.mintPcrs('sha256'),
    certificates,
  };
}

/** One file of every kind that is known, in each of its forms. */
export async function mintSamples(): Promise<readonly Sample[]> {
  const [snp, intel, nitro, tpm, rsa] = await Promise.all([
    mintAuthority(),
    mintDcapAuthority(),
    mintNitroAuthority(),
    tpmMint.mintTpmAuthority(),
    tpmMint.generateRsa(),
  ]);
  const authorities = { snp, intel, nitro, tpm, rsa };
  const groups = [snpSamples, intelSamples, nitroSamples, tpmSamples, ownSamples];
  const minted = await Promise.all(groups.map((mint) => mint(authorities)));
  return [...minted.flat(), ...(await disclosureSamples()), ...deviceSamples(await mintDeviceMaterial())];
}
