import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { EXIT } from '../../../src/cli/exit.ts';
import { inspectBytes, inspectionJson } from '../../../src/cli/inspect.ts';
import type { ShownKind } from '../../../attestation/recognition/recognise.ts';
import { describeCorpus } from '../../support/corpus.ts';
import { printed, said, unreadable } from './inspectOutput.ts';

interface CorpusFile {
  readonly id: string;
  readonly path: string;
  readonly role: string;
  readonly facts: Facts;
}

type Facts = Readonly<Record<string, unknown>>;

function filesOf(corpus: string): readonly CorpusFile[] {
  const index = JSON.parse(readFileSync(join(corpus, 'index.json'), 'utf8')) as readonly {
    readonly path: string;
  }[];
  return index.flatMap(({ path }) => {
    const folder = join(corpus, path);
    const { files, facts = {} } = JSON.parse(readFileSync(join(folder, 'case.json'), 'utf8')) as {
      readonly files: readonly { readonly path: string; readonly role: string }[];
      readonly facts?: Facts;
    };
    return files.map((file) => ({
      id: `${path}/${file.path}`,
      path: join(folder, file.path),
      role: file.role,
      facts,
    }));
  });
}

/** What a role is, and the facts of the case that its file must say. The first that fits counts. */
const ROLES: readonly (readonly [role: RegExp, kind: ShownKind, facts?: readonly string[]])[] = [
  [/^report then GHCB/, 'snp-extended-report', ['measurement', 'reportData', 'vek.spkiSha256']],
  [/^MSG_REPORT_RSP/, 'snp-report-response', ['report.measurement', 'report.chipId']],
  [/^THIM/, 'thim-certificates', ['vek.spkiSha256']],
  [/^attestation report/, 'snp-report', ['measurement', 'reportData', 'chipId', 'reportId', 'reportedTcb.raw', 'hostData']],
  [/^(?:TD )?quote \(bincode/, 'unknown'],
  [/^HCL report/, 'hcl-report', ['hcl.variableDataSha256', 'snp.measurement', 'snp.chipId', 'mrTd', 'mrSeam']],
  [/NitroTPM attestation document|COSE_Sign1 attestation/, 'nitro-document', ['moduleId', 'pcrs.0', 'pcrs.4', 'leaf.spkiSha256', 'userDataHex', 'nonceHex', 'publicKeyHex']],
  [/^TPMS_ATTEST/, 'tpm-quote', ['tpmQuote.extraDataHex', 'tpmQuote.pcrDigest']],
  [/^TPMT_SIGNATURE/, 'tpm-signature'],
  [/TPMT_PUBLIC/, 'tpm-public', ['akCertificate.spkiSha256']],
  [/event log/, 'boot-log', ['replayed.rtmr0', 'replayed.rtmr3', 'ccel.replayed.rtmr1', 'eventLogReplayed.rtmr2', 'replayedPcrs.sha256.4', 'replayedPcrs.sha384.7', 'replayedPcrs.sha1.0']],
  [/^CCEL ACPI table/, 'ccel-table'],
  [/^VCEK certificate of another|invalid$/, 'certificates'],
  [/^VCEK|^VLEK/, 'certificates', ['vek.spkiSha256', 'vek.hwid', 'vek.certSha256', 'vek.notAfter']],
  [/^AK certificate/, 'certificates', ['akCertificate.spkiSha256', 'akCertificate.notAfter']],
  [/^trust anchor/, 'certificates', ['trustAnchor.spkiSha256']],
  [/^certificate that carries/, 'certificates'],
  [/CRL \(DER\)|^(?:PCK|Intel SGX Root CA|root) CRL$|^CRL of/, 'crl'],
  [/^TCB info(?: \(PCS body\))?$/, 'tcb-info'],
  [/^QE identity(?: \(PCS body\))?$/, 'qe-identity'],
  [/^AK public key/, 'public-key'],
  [/chain|ASK then ARK|^issuer of|root of|Root CA|root$|root \(|EK certificate|intermediates|Virtual TPM CA/i, 'certificates'],
]; // prettier-ignore

const QUOTE_FACTS = [
  'mrTd', 'mrSeam', 'rtmr0', 'rtmr3', 'mrServiceTd', 'mrEnclave', 'mrSigner', 'reportData', 'userData', 'pck.fmspc', 'pck.ppid',
  'qe.mrEnclave', 'qe.mrSigner',
]; // prettier-ignore

/** Files of these roles are in no form that a verifier is given: raw signatures, containers of the source, texts. */
const OTHERS =
  /^(?:PCR values|RSA signature|ECDSA P-256 signature|evidence as|container|collateral as|peer parser|expected|unsigned|variable data|quote as|same quote)/;
/** Cases whose file is damaged on purpose, and what is said of it. */
const UNREADABLE: Readonly<Record<string, string>> = {
  'amd/snp-report-signature-r-overlong/report.bin': 'looks like this: AMD SEV-SNP report',
  'amd/snp-report-truncated/report.bin': 'looks like this: AMD SEV-SNP report',
  'aws/nitro-trailing-garbage/doc.cbor': 'looks like this: AWS Nitro attestation document',
  'aws/nitro-truncated/doc.cbor': 'looks like this: AWS Nitro attestation document',
  'intel/tdx-v4-truncated/quote.bin': 'looks like this: Intel TDX quote',
};

function expectationOf({ role, facts }: CorpusFile): readonly [ShownKind, readonly string[]] | undefined {
  if (role === 'sample PKI / collateral') return undefined;
  if (/^(?:TD )?quote(?:, tampered| \(synthetic\))?$/.test(role)) {
    // With certification data of type 1 the PCK certificate is a file of its own.
    const wanted = QUOTE_FACTS.filter((path) => facts['certDataType'] === 5 || !path.startsWith('pck.'));
    return [facts['kind'] === 'SGX' ? 'sgx-quote' : 'tdx-quote', wanted];
  }
  const found = ROLES.find(([pattern]) => pattern.test(role));
  return found && [found[1], found[2] ?? []];
}

/** A fact by its path; undefined where the case does not have it or it is zero, which any output holds. */
function factAt(facts: Facts, path: string): string | undefined {
  const value = path
    .split('.')
    .reduce<unknown>((inner, name) => (inner as Facts | undefined)?.[name] ?? undefined, facts);
  return typeof value === 'string' && !/^0*$/.test(value) ? value : undefined;
}

describeCorpus('CPU evidence', 'evidence/cpu/', (corpus) => {
  const files = filesOf(corpus);

  test('every role is known here', () => {
    const strays = files.filter(
      (file) => !OTHERS.test(file.role) && file.role !== 'sample PKI / collateral' && !expectationOf(file),
    );
    expect([...new Set(strays.map(({ role }) => role))]).toEqual([]);
  });

  test('every file is recognised and says the facts of its case', () => {
    let facts = 0;
    for (const file of files) {
      const expected =
        OTHERS.test(file.role) || UNREADABLE[file.id] !== undefined ? undefined : expectationOf(file);
      if (!expected || expected[0] === 'unknown') continue;
      const inspection = inspectBytes(readFileSync(file.path), file.id);
      expect([file.id, inspection.kind]).toEqual([file.id, expected[0]]);
      const text = said(inspection);
      expect([file.id, /.*unreadable.*/.exec(text)?.[0]]).toEqual([file.id, undefined]);
      const wanted = expected[1].flatMap((path) => factAt(file.facts, path) ?? []);
      expect([file.id, wanted.filter((fact) => !text.includes(fact))]).toEqual([file.id, []]);
      facts += wanted.length;
    }
    expect(facts).toBeGreaterThan(500);
  });

  test('a damaged file says what it looks like', () => {
    for (const [id, says] of Object.entries(UNREADABLE)) {
      const refused = unreadable(readFileSync(join(corpus, id)));
      expect([id, refused?.exit]).toEqual([id, EXIT.unreadable]);
      expect(refused?.message).toContain(says);
    }
  });

  test('any other file is shown or refused, in 80 columns and as JSON', () => {
    for (const { path, id } of files) {
      const bytes = readFileSync(path);
      const refused = unreadable(bytes);
      if (refused) {
        expect([id, refused.exit]).toEqual([id, EXIT.unreadable]);
        continue;
      }
      const inspection = inspectBytes(bytes, id);
      const wide = printed(inspection)
        .split('\n')
        .find((line) => line.length > 80);
      expect([id, wide]).toEqual([id, undefined]);
      expect(() => JSON.parse(inspectionJson(inspection)) as unknown).not.toThrow();
    }
  });

  test('every published root is named as the anchor that it is', () => {
    const roots = readdirSync(join(corpus, 'roots')).filter((name) => name.endsWith('.der'));
    const named = roots.filter((name) => {
      const text = said(inspectBytes(readFileSync(join(corpus, 'roots', name)), name));
      return !text.includes('not a pinned anchor');
    });
    expect(named.toSorted()).toEqual([
      'amd_ark_genoa.der',
      'amd_ark_milan.der',
      'amd_ark_turin.der',
      'aws_nitro_enclaves_root_g1.der',
      'azure_vtpm_root_2023.der',
      'gce_tpm_ek_root_1.der',
      'gcp_ek_ak_ca_root.der',
      'intel_sgx_root_ca.der',
      'microsoft_rsa_devices_root_ca_2021.der',
    ]);
  });
});
