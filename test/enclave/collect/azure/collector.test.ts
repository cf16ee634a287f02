import { randomBytes } from 'node:crypto';
import { afterEach, beforeAll, afterAll, describe, expect, test } from '@jest/globals';
import { toBase64, toBase64Url, toHex } from '../../../../attestation/bytes/bytes.ts';
import type { AzureSnpEvidence, AzureTdxEvidence } from '../../../../attestation/evidence/evidence.ts';
import { parseHclReport } from '../../../../attestation/evidence/azure/parse.ts';
import type { AzureSnpPolicy, AzureTdxPolicy } from '../../../../attestation/policy/cpu.ts';
import { azureWay } from '../../../../enclave/collect/azure/collector.ts';
import { USER_DATA_INDEX } from '../../../../enclave/collect/azure/hclReport.ts';
import type { CpuCollector } from '../../../../enclave/collect/collector.ts';
import { CC } from '../../../../enclave/collect/tpm/command.ts';
import { ECC_AK_TEMPLATE } from '../../../../enclave/collect/tpm/keys.ts';
import { defineNv, NV, readNvPublic, undefineNv } from '../../../../enclave/collect/tpm/nv.ts';
import { installParavisor, type Paravisor } from '../../../support/azureParavisor.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { cpuFailures, judgeDocument, mintDocument } from '../../../support/evidenceDocument.ts';
import { startMetadata, type FakeMetadata } from '../../../support/metadataService.ts';
import { mintAzureSnp, mintAzureTdx, type AzureMachine } from '../../../support/platforms.ts';
import { codeOf, describeSwtpm, startSwtpm, type Swtpm } from '../../../support/swtpm.ts';

type Name = 'azure-snp' | 'azure-tdx';
type Machine = AzureMachine<AzureSnpEvidence | AzureTdxEvidence>;

const REPORT_DATA = new Uint8Array(randomBytes(64));

describeSwtpm('an Azure confidential VM', () => {
  describe.each<Name>(['azure-snp', 'azure-tdx'])('%s', (name) => {
    let swtpm: Swtpm;
    let machine: Machine;
    let paravisor: Paravisor;
    let metadata: FakeMetadata;
    let collector: CpuCollector;
    /** The TD quote that the host makes of each TDREPORT. */
    const quotes = new Map<string, Uint8Array>();
    let snpCertificates: readonly Uint8Array[] = [];

    const options = (timeoutMs = 5_000) => ({
      address: swtpm.address,
      timeoutMs,
      metadata: { origin: metadata.origin, timeoutMs: 300 },
    });
    const failure = async (from: CpuCollector = collector) => collectFailure(() => from.collect(REPORT_DATA));

    const answerWell: FakeMetadata['answer'] = ({ method, url, body }, response) => {
      if (method === 'GET' && url === '/metadata/THIM/amd/certification') {
        const [vcek, ...chain] = snpCertificates.map(pemOf);
        response.end(
          JSON.stringify({ vcekCert: vcek, certificateChain: chain.join(''), tcbm: 'DB19000000000004' }),
        );
      } else if (method === 'POST' && url === '/acc/tdquote') {
        const { report } = JSON.parse(body) as { report: string };
        response.end(JSON.stringify({ quote: toBase64Url(quotes.get(report) ?? new Uint8Array()) }));
      } else response.writeHead(404).end();
    };

    beforeAll(async () => {
      machine = name === 'azure-snp' ? await mintAzureSnp() : await mintAzureTdx();
      swtpm = await startSwtpm();
      metadata = await startMetadata(answerWell);
      paravisor = await installParavisor(swtpm, async (userData, claims) => {
        const evidence = await machine.collect(userData, { claims });
        const { hardwareReport } = parseHclReport(evidence.report);
        if (evidence.platform === 'azure-tdx') quotes.set(toBase64Url(hardwareReport), evidence.quote);
        else snpCertificates = evidence.certificates;
        return evidence.report;
      });
      collector = await azureWay(options()).open();
    });
    afterEach(() => {
      Object.assign(paravisor, { periodMs: 0, stuck: false, corrupt: (report: Uint8Array) => report });
      swtpm.atTheDoor = paravisor.atTheDoor;
      metadata.answer = answerWell;
      metadata.calls.length = 0;
    });
    afterAll(async () => {
      await collector.close();
      await metadata.stop();
      await swtpm.stop();
    });

    /** Failures of the production verifier; swtpm measured nothing, and its clock may not be safe. */
    async function failed(from: CpuCollector = collector) {
      const policy = machine.cpu[name] as AzureSnpPolicy & AzureTdxPolicy;
      const lax = { ...policy, tpm: { ...policy.tpm, pcrs: 'any', clock: 'any' } } as const;
      const platform = { ...machine, cpu: { ...machine.cpu, [name]: lax } };
      const document = await mintDocument((reportData) => from.collect(reportData));
      return cpuFailures(await judgeDocument(document, platform));
    }

    test('gives evidence that the production verifier accepts', async () => {
      expect(collector.platform).toBe(name);
      expect(await failed()).toEqual([]);
    });

    test('says what it found', async () => {
      expect(await azureWay(options()).find()).toMatchObject({ way: 'azure', state: 'usable' });
    });

    test('asks with the header that the service demands', async () => {
      const fresh = await azureWay(options()).open();
      await fresh.collect(REPORT_DATA);
      const [call] = metadata.calls;
      expect(call?.headers).toMatchObject({ metadata: 'true' });
    });

    test('waits for a report with its user-data where the paravisor makes one only now and then', async () => {
      paravisor.periodMs = 700;
      expect(await failed()).toEqual([]);
      expect(await failed()).toEqual([]);
    });

    test('fails on a paravisor that makes no new report', async () => {
      paravisor.stuck = true;
      const impatient = await azureWay(options(600)).open();
      expect(await failure(impatient)).toBe('DEVICE_TIMEOUT');
    });

    test('fails where another program writes its own user-data', async () => {
      swtpm.atTheDoor = (command, send) => {
        // The last of the 64 bytes, in front of the offset.
        const foreign = () => edited(command, command.length - 3, (command.at(-3) ?? 0) ^ 1);
        return paravisor.atTheDoor(codeOf(command) === CC.nvWrite ? foreign() : command, send);
      };
      expect(await failure()).toBe('EVIDENCE_MISMATCH');
    });

    test.each([
      ['empty', () => new Uint8Array(1)],
      ['cut off', (report: Uint8Array) => report.subarray(0, 1000)],
      ['of another signature', (report: Uint8Array) => edited(report, 0, 0x48 ^ 1)],
      ['with claims that the hardware does not commit to', replacedUserData],
    ])('fails on a report that is %s', async (_, corrupt: (report: Uint8Array) => Uint8Array) => {
      const impatient = await azureWay(options(600)).open();
      paravisor.corrupt = corrupt;
      expect(await failure(impatient)).toBe('EVIDENCE_MALFORMED');
      expect((await azureWay(options()).find()).state).toBe('unusable');
    });

    test('takes the next report where one is replaced while it is read', async () => {
      let torn = 1;
      paravisor.corrupt = (report) => (torn-- > 0 ? replacedUserData(report) : report);
      expect(await failed()).toEqual([]);
    });

    test('defines the index for user-data where it is absent or of another size', async () => {
      await undefineNv(swtpm.session, USER_DATA_INDEX);
      expect(await failed()).toEqual([]);
      await undefineNv(swtpm.session, USER_DATA_INDEX);
      const attributes = NV.ownerRead | NV.ownerWrite;
      await defineNv(swtpm.session, { index: USER_DATA_INDEX, attributes, size: 32 });
      expect(await failed()).toEqual([]);
      expect(await readNvPublic(swtpm.session, USER_DATA_INDEX)).toMatchObject({ size: 64 });
    });

    test('refuses a quote for other extraData', async () => {
      swtpm.atTheDoor = (command, send) => {
        if (codeOf(command) !== CC.quote) return paravisor.atTheDoor(command, send);
        return send(edited(command, 33, (command[33] ?? 0) ^ 1));
      };
      expect(await failure()).toBe('EVIDENCE_MISMATCH');
    });

    const faults: readonly [string, FakeMetadata['answer']][] = [
      ['does not answer', () => undefined],
      ['answers 500', (_, response) => void response.writeHead(500).end()],
      ['answers 404', (_, response) => void response.writeHead(404).end()],
      ['redirects', (_, response) => void response.writeHead(302, { Location: metadata.origin }).end()],
      ['answers without end', (_, response) => void response.write('x'.repeat(200_000))],
      ['trickles', (_, response) => void response.write('{')],
      ['answers with no JSON', (_, response) => void response.end('<html>')],
      ['answers with other JSON', (_, response) => void response.end('{"quote":5,"vcekCert":[]}')],
      ['answers with no base64url', (_, response) => void response.end('{"quote":"+/=="}')],
      ['answers with nothing', (_, response) => void response.end()],
      ['hangs up', (_, response) => void response.destroy()],
    ];
    test.each(faults)('fails where the metadata service %s', async (_, answer) => {
      metadata.answer = answer;
      const fresh = await azureWay(options()).open();
      expect(await failure(fresh)).toBe('SERVICE_UNREACHABLE');
      expect(metadata.calls.filter(({ url }) => !CALLS.includes(url))).toEqual([]);
      metadata.answer = answerWell;
      expect(await failure(fresh)).toBeUndefined();
    });

    test('asks again where the metadata service is throttled', async () => {
      let left = 1;
      metadata.answer = (call, response) => {
        if (left-- > 0) response.writeHead(429).end();
        else return answerWell(call, response);
      };
      expect(await failed(await azureWay(options()).open())).toEqual([]);
    });

    if (name === 'azure-snp') {
      test('asks for certificates once for a key', async () => {
        const fresh = await azureWay(options()).open();
        await fresh.collect(REPORT_DATA);
        await fresh.collect(REPORT_DATA);
        expect(metadata.calls).toHaveLength(1);
      });
      test('refuses certificates of another chip', async () => {
        const { certificates } = await (await mintAzureSnp()).collect(REPORT_DATA);
        const own = snpCertificates;
        snpCertificates = certificates;
        const fresh = await azureWay(options()).open();
        // The paravisor of this machine goes on signing with its own key.
        swtpm.atTheDoor = async (command, send) => {
          const answer = await paravisor.atTheDoor(command, send);
          snpCertificates = certificates;
          return answer;
        };
        expect(await failure(fresh)).toBe('EVIDENCE_MISMATCH');
        snpCertificates = own;
      });
    } else {
      test('refuses the TD quote of an earlier TDREPORT', async () => {
        const old = [...quotes.values()].at(0)!;
        metadata.answer = (_, response) => void response.end(JSON.stringify({ quote: toBase64Url(old) }));
        expect(await failure()).toBe('EVIDENCE_MISMATCH');
      });
      test('refuses a TD quote that is cut off', async () => {
        metadata.answer = (_, response) => {
          const quote = [...quotes.values()].at(-1)!.subarray(0, 300);
          response.end(JSON.stringify({ quote: toBase64Url(quote) }));
        };
        expect(await failure()).toBe('EVIDENCE_MALFORMED');
      });
    }

    test('refuses a key of the TPM that the claims do not name', async () => {
      const evict = { name: 'EvictControl', code: 0x120, authorizations: 1, responseHandles: 0 } as const;
      const handles = [0x40000001, 0x81000003];
      const parameters = Uint8Array.of(0x81, 0, 0, 3);
      await swtpm.run({ ...evict, handles, parameters });
      expect(await failure()).toBe('DEVICE_MISSING');
      await swtpm.persist(0x81000003, ECC_AK_TEMPLATE);
      expect(await failure()).toBe('EVIDENCE_MISMATCH');
    });
  });

  test('is absent where the TPM has no HCL report', async () => {
    const bare = await startSwtpm();
    const way = azureWay({ address: bare.address });
    expect(await way.find()).toMatchObject({ state: 'absent' });
    expect(await collectFailure(() => way.open())).toBe('DEVICE_MISSING');
    await bare.stop();
  });
});

const CALLS = ['/metadata/THIM/amd/certification', '/acc/tdquote'];

function pemOf(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${toBase64(der)}\n-----END CERTIFICATE-----\n`;
}

function edited(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
}

/** The claims with one digit of `user-data` changed: their hash is another then. */
function replacedUserData(report: Uint8Array): Uint8Array {
  const { claims } = parseHclReport(report);
  const text = Buffer.from(report).toString('latin1');
  const digits = toHex(claims.userData!);
  const other = `${digits.startsWith('0') ? '1' : '0'}${digits.slice(1)}`;
  return new Uint8Array(Buffer.from(text.replace(digits, other), 'latin1'));
}
