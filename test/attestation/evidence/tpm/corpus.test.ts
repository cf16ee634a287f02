import { expect, test } from '@jest/globals';
import type { AnchorRole } from '../../../../attestation/anchors.ts';
import { fromHex, toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { verifyAk, verifyAkCertificate, type AkOptions } from '../../../../attestation/evidence/tpm/ak.ts';
import { TPM_ANCHORS } from '../../../../attestation/evidence/tpm/anchors.ts';
import { appraiseTpm, checkExtraData } from '../../../../attestation/evidence/tpm/appraise.ts';
import { verifyEkCertificate } from '../../../../attestation/evidence/tpm/ek.ts';
import { parseTpmsAttest } from '../../../../attestation/evidence/tpm/parse.ts';
import { verifyTpmQuote } from '../../../../attestation/evidence/tpm/verify.ts';
import type { TpmPolicy } from '../../../../attestation/policy/tpm.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { refusalOfAsync } from '../../../support/refusal.ts';
import {
  azureCase,
  bareCase,
  CaseFiles,
  gceCases,
  gcpCase,
  nitroCase,
  type QuoteCase,
} from './corpusCases.ts';

const ROLES: readonly AnchorRole[] = ['gcp-vtpm', 'azure-vtpm'];
const NO_KEY = 'UNTRUSTED_KEY';

/** The corpus' default policy: signatures, chains and digests, nothing else. */
const POLICY: TpmPolicy = {
  attestationKeys: 'any',
  googleProjects: 'any',
  minimumFirmware: 'any',
  clock: 'any',
  pcrs: 'any',
  revocation: 'when-present',
};

function optionsOf(item: QuoteCase, crypto: CryptoProvider): AkOptions {
  const { added, at } = item;
  return { crypto, now: at, anchors: TPM_ANCHORS, certificates: added, crls: [], revocation: 'when-present' };
}

/** Code of the refusal or of the first failed check; undefined where the quote is accepted. */
async function judge(item: QuoteCase, crypto: CryptoProvider, policy = POLICY): Promise<string | undefined> {
  try {
    const ak = await verifyAk(item.akSpki, item, ROLES, optionsOf(item, crypto));
    const quote = await verifyTpmQuote(item, item.akSpki, { crypto });
    return appraiseTpm(quote, ak, policy).find(({ result }) => result === 'fail')?.code;
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

describeCorpus('TPM corpus', 'evidence/cpu', (root) => {
  const providers = { nodeCrypto, portableCrypto };
  const azure = [
    'snp-genoa-v3-evidence-v0-crl',
    'snp-milan-v2-hcl',
    'snp-milan-v3-evidence-v1',
    'snp-milan-v3-evidence-v2-user-data',
    'snp-milan-v3-live-imds-chain',
    'snp-pcr-value-tampered',
    'snp-runtime-claims-tampered',
    'tdx-evidence-v1-out-of-date',
    'tdx-up-to-date-ak-chain',
    'tdx-up-to-date-padded-ak-cert',
  ];
  const gce = [
    'gce-cos85-no-nonce',
    'gce-cos85-nonce-9009',
    'gce-cos85-wrong-nonce',
    'gce-cos85-eventlog-tampered',
  ];
  const quotes: readonly QuoteCase[] = [
    ...azure.map((id) => azureCase(root, id)),
    ...gce.flatMap((id) => gceCases(root, id)),
    gcpCase(root),
    nitroCase(root, 'nitrotpm-2026-with-tpm-quote'),
    bareCase(root),
  ];
  /** What this room judges: tampered claims, TCBs, nonces and event logs are other rooms'. */
  const refused = new Map([
    ['azure/snp-pcr-value-tampered', 'PCR_MISMATCH'],
    ['tpm/quote-bare-ak', NO_KEY],
  ]);

  test('has every quote', () => {
    expect(quotes).toHaveLength(21);
  });

  for (const [name, crypto] of Object.entries(providers)) {
    for (const item of quotes) {
      const expected = refused.get(item.id);
      test(`${item.id} with ${name}: ${expected ?? 'accepted'}`, async () => {
        expect(await judge(item, crypto)).toBe(expected);
      });
    }
  }

  test.each(quotes)('$id: the fields are those that the case states', async (item) => {
    const { facts } = item;
    const attest = parseTpmsAttest(item.message);
    const { clockInfo } = attest;
    const seen = {
      extraDataHex: toHex(attest.extraData),
      pcrDigest: toHex(attest.pcrDigest),
      pcrSelection: attest.selection.map(({ hash, pcrs }) => [hash, pcrs]),
      clock: Number(clockInfo.clock),
      resetCount: clockInfo.resetCount,
      restartCount: clockInfo.restartCount,
      safe: Number(clockInfo.safe),
      firmwareVersion: attest.firmwareVersion.toString(16),
    };
    for (const [key, value] of Object.entries(seen)) {
      const stated = facts[key as keyof typeof seen];
      if (stated !== undefined) expect({ [key]: value }).toEqual({ [key]: stated });
    }
    if (facts.pcrs && !refused.has(item.id)) {
      const { pcrs } = await verifyTpmQuote(item, item.akSpki, { crypto: nodeCrypto });
      const values = [...pcrs[0]!.values].map(([index, value]) => [String(index), toHex(value)]);
      expect(Object.fromEntries(values)).toEqual(facts.pcrs);
    }
  });

  test.each(quotes)('$id: a changed byte anywhere in the quote is refused', async (item) => {
    for (let offset = 0; offset < item.message.length; offset += 7) {
      const message = item.message.slice();
      message[offset]! ^= 1;
      const refusal = await refusalOfAsync(() =>
        verifyTpmQuote({ ...item, message }, item.akSpki, { crypto: nodeCrypto }),
      );
      expect(['MALFORMED', 'UNSUPPORTED', 'SIGNATURE_INVALID']).toContain(refusal?.code);
    }
  });

  test.each(quotes)(
    '$id: under another key, or the signature of another quote, it is refused',
    async (item) => {
      for (const other of quotes.filter(({ message }) => toHex(message) !== toHex(item.message))) {
        const { signature } = other;
        const swapped = await refusalOfAsync(() =>
          verifyTpmQuote({ ...item, signature }, item.akSpki, { crypto: nodeCrypto }),
        );
        expect(['SIGNATURE_INVALID', 'ALGORITHM_MISMATCH']).toContain(swapped?.code);
        if (toHex(other.akSpki) === toHex(item.akSpki)) continue;
        const foreign = await refusalOfAsync(() =>
          verifyTpmQuote(item, other.akSpki, { crypto: nodeCrypto }),
        );
        expect(['SIGNATURE_INVALID', 'ALGORITHM_MISMATCH']).toContain(foreign?.code);
      }
    },
  );

  test('a replayed quote is refused by its nonce', async () => {
    const [item] = gceCases(root, 'gce-cos85-wrong-nonce');
    const { expectedNonceHex, quotedExtraDataHex } = new CaseFiles(root, 'tpm/gce-cos85-wrong-nonce').json()
      .facts as Record<string, string>;
    const quote = await verifyTpmQuote(item!, item!.akSpki, { crypto: nodeCrypto });
    const check = (nonce: string) =>
      checkExtraData(quote, fromHex(nonce), { id: 'document.nonce', code: 'NONCE_MISMATCH' });
    expect(check(expectedNonceHex!)).toMatchObject({ result: 'fail', code: 'NONCE_MISMATCH' });
    expect(check(quotedExtraDataHex!)).toMatchObject({ result: 'pass' });
  });

  test('the public area of the GCE key is an endorsement primary and must be of that key', async () => {
    const [first] = gceCases(root, 'gce-cos85-no-nonce');
    const quote = await verifyTpmQuote(first!, first!.akSpki, { crypto: nodeCrypto });
    expect(quote.hierarchy).toBe('endorsement');
    const area = first!.publicArea!.slice();
    area[area.length - 1]! ^= 2;
    const refusal = await refusalOfAsync(() =>
      verifyTpmQuote({ ...first!, publicArea: area }, first!.akSpki, { crypto: nodeCrypto }),
    );
    expect(refusal?.code).toBe(NO_KEY);
  });

  test('a quote out of a bincode container verifies under its own key', async () => {
    const files = new CaseFiles(root, 'azure/hcl-snp-short-2048');
    const pem = Buffer.from(files.read('akpub.pem')).toString();
    const spki = new Uint8Array(Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64'));
    // Signature, message and PCR values, each behind a little-endian u64 of its length or count.
    const values = files.read('quote_bincode.bin').subarray(8 + 256 + 8 + 122 + 8);
    const pcrs = Array.from({ length: 24 }, (_, i) => [i, values.slice(32 * i, 32 * i + 32)] as const);
    const evidence = {
      message: files.read('tpm_quote.msg'),
      signature: { scheme: 'rsassa', hash: 'sha256', signature: files.read('tpm_quote.sig') } as const,
      pcrs: [{ hash: 'sha256', values: new Map(pcrs) }] as const,
    };
    const quote = await verifyTpmQuote(evidence, spki, { crypto: nodeCrypto });
    expect(toHex(quote.attest.extraData)).toBe(files.json().facts.tpmQuote?.extraDataHex);
    const without = await refusalOfAsync(() =>
      verifyTpmQuote({ ...evidence, pcrs: [] }, spki, { crypto: nodeCrypto }),
    );
    expect(without?.code).toBe('EVIDENCE_INCOMPLETE');
  });

  test('a bare key is accepted only where the caller pins it', async () => {
    const item = bareCase(root);
    const anchor = { role: 'tpm', name: 'workstation', simulated: false } as const;
    const spkiSha256 = toHex(nodeCrypto.hash('sha256', item.akSpki));
    const options = { ...optionsOf(item, nodeCrypto), anchors: [...TPM_ANCHORS, { ...anchor, spkiSha256 }] };
    const ak = await verifyAk(item.akSpki, item, ['tpm'], options);
    expect(ak.anchor?.name).toBe('workstation');
    const otherRole = await refusalOfAsync(() => verifyAk(item.akSpki, item, ROLES, options));
    expect(otherRole?.code).toBe(NO_KEY);
  });
});

describeCorpus('TPM certificates of the corpus', 'evidence/cpu', (root) => {
  const chains = [
    azureCase(root, 'tdx-up-to-date-ak-chain'),
    azureCase(root, 'tdx-up-to-date-padded-ak-cert'),
  ];

  test.each(chains)('$id: the chain holds for a year, in the role of Azure, with its root', async (item) => {
    const options = optionsOf(item, nodeCrypto);
    const { certificates } = item;
    const verified = await verifyAkCertificate(certificates, ['azure-vtpm'], options);
    expect(toHex(verified.spki)).toBe(toHex(item.akSpki));
    expect(verified.anchor.name).toBe('Azure Virtual TPM Root Certificate Authority 2023');
    const code = async (roles: readonly AnchorRole[], changes: Partial<AkOptions>) =>
      (await refusalOfAsync(() => verifyAkCertificate(certificates, roles, { ...options, ...changes })))
        ?.code;
    expect(await code(['gcp-vtpm', 'tpm'], {})).toBe('UNTRUSTED_ROOT');
    expect(await code(['azure-vtpm'], { anchors: [] })).toBe('UNTRUSTED_ROOT');
    expect(await code(['azure-vtpm'], { certificates: [] })).toBe('CERT_MISSING');
    expect(await code(['azure-vtpm'], { now: Date.parse('2027-08-01T00:00:00Z') })).toBe('CERT_EXPIRED');
    expect(await code(['azure-vtpm'], { now: Date.parse('2025-01-01T00:00:00Z') })).toBe('CERT_EXPIRED');
    expect(await code(['azure-vtpm'], { revocation: 'required' })).toBe('COLLATERAL_MISSING');
  });

  test('the padded certificate fills 4096 bytes', () => {
    expect(chains[1]!.certificates[0]).toHaveLength(4096);
  });

  const files = new CaseFiles(root, 'tpm/gce-ek-ak-certificates');
  const gcp = new CaseFiles(root, 'gcp/vtpm-quote-amd');
  /** All intermediates of Google at once: two of them have one name. */
  const authorities = [
    ...gcp.pem('ak_chain.pem').slice(1),
    ...[
      'gcp_ek_ak_intermediate_v3.crt',
      'gcp_ek_ak_root.crt',
      'tpm_ek_intermediate_3.crt',
      'tpm_ek_root_1.cer',
    ].map((name) => files.read(name)),
  ];
  const options: AkOptions = {
    crypto: nodeCrypto,
    now: Date.parse('2023-06-01T00:00:00Z'),
    anchors: TPM_ANCHORS,
    certificates: authorities,
    crls: [],
    revocation: 'when-present',
  };
  const leaves = ['pca', 'uca'].flatMap((hierarchy) =>
    ['ecc', 'rsa'].flatMap((kind) =>
      ['sign', 'enc'].map((use) => ({
        hierarchy,
        kind,
        use,
        name: `${hierarchy}_tpm_${kind}_${use}_cert.pem`,
      })),
    ),
  );
  const stated = files.json().facts['certificates'] as readonly {
    readonly file: string;
    readonly spkiSha256: string;
  }[];

  test.each(leaves)('$name is what it is for, and nothing else', async ({ hierarchy, use, name }) => {
    const chain = files.pem(name);
    const [right, wrong] =
      use === 'sign'
        ? [verifyAkCertificate, verifyEkCertificate]
        : [verifyEkCertificate, verifyAkCertificate];
    const verified = await right(chain, ['gcp-vtpm'], options);
    const { spkiSha256 } = stated.find(({ file }) => file === name)!;
    expect(toHex(nodeCrypto.hash('sha256', verified.spki))).toBe(spkiSha256);
    expect(verified.instance).toMatchObject({
      zone: 'us-central1-a',
      projectNumber: '117478743145',
      instanceName: hierarchy === 'pca' ? 'cs-debug-pca' : 'cs-debug',
      security: { version: 0, production: true, tpmDataAlwaysEncrypted: true, alwaysInYarn: false },
    });
    expect(verified.tpm).toEqual(
      hierarchy === 'pca' ? undefined : { manufacturer: 'GOOG', model: 'vTPM', version: 'id:20160511' },
    );
    expect((await refusalOfAsync(() => wrong(chain, ['gcp-vtpm'], options)))?.code).toBe(NO_KEY);
  });

  test('Google authorities of one name are told apart by key', async () => {
    const [leaf] = gcp.pem('ak_chain.pem');
    const now = Date.parse('2026-02-10T00:00:00Z');
    const verified = await verifyAkCertificate([leaf!], ['gcp-vtpm'], { ...options, now });
    expect(verified.instance).toMatchObject({ projectId: 'lockboot', instanceId: '3414240648225485836' });
    const others = authorities.slice(2);
    const refusal = await refusalOfAsync(() =>
      verifyAkCertificate([leaf!], ['gcp-vtpm'], { ...options, now, certificates: others }),
    );
    expect(['CERT_MISSING', 'CERT_CHAIN_INVALID']).toContain(refusal?.code);
  });
});
