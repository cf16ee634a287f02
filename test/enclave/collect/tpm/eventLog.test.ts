import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../../../attestation/collateral.ts';
import { EV } from '../../../../attestation/evidence/bootlog/eventTypes.ts';
import type { CpuCollector } from '../../../../enclave/collect/collector.ts';
import { readAttestationKey, tpmWay } from '../../../../enclave/collect/tpm/collector.ts';
import { u16be, u32be } from '../../../../enclave/collect/tpm/command.ts';
import { BOOT, tcg2Log } from '../../../attestation/evidence/bootlog/mint.ts';
import { contextFor, judgeDocument, mintDocument, NO_PLATFORM } from '../../../support/evidenceDocument.ts';
import { otherBootLog } from '../../../support/platforms.ts';
import { describeSwtpm, startSwtpm, type Swtpm } from '../../../support/swtpm.ts';
import { certifyKey, mintTpmAuthority, NOW, type TpmAuthority } from '../../../support/tpmAuthority.ts';

const PCR_EXTEND = 0x182;
const LOG = tcg2Log(BOOT, ['sha1', 'sha256']);

/** A boot that really ran through a TPM: every event of a log extended, and the log where Linux shows it. */
describeSwtpm('a measured boot', () => {
  let swtpm: Swtpm;
  let authority: TpmAuthority;
  let folder: string;
  let collector: CpuCollector;

  beforeAll(async () => {
    swtpm = await startSwtpm();
    for (const { register, type, data, measured } of BOOT) {
      if (type !== EV.NO_ACTION) await extend(register, measured ?? data);
    }
    folder = await mkdtemp(join(tmpdir(), 'vouchsafe-boot-'));
    const eventLogPath = join(folder, 'binary_bios_measurements');
    await writeFile(eventLogPath, LOG);
    authority = await mintTpmAuthority('tpm');
    const { address } = swtpm;
    const leaf = await certifyKey(authority, await readAttestationKey({ address }));
    const certificates = [leaf, authority.ca, authority.root];
    collector = await tpmWay({ address, eventLogPath, certificates }).open();
  });
  afterAll(async () => {
    await collector.close();
    await swtpm.stop();
    await rm(folder, { recursive: true });
  });

  async function extend(register: number, measured: Uint8Array): Promise<void> {
    const digest = createHash('sha256').update(measured).digest();
    await swtpm.run({
      name: 'PCR_Extend',
      code: PCR_EXTEND,
      handles: [register],
      authorizations: 1,
      parameters: concat(u32be(1), u16be(0x000b), digest),
      responseHandles: 0,
    });
  }

  async function resultOf(bootLog: Uint8Array | undefined): Promise<string | undefined> {
    const platform = {
      collectCpu: (reportData: Uint8Array) => collector.collect(reportData),
      cpu: {
        ...NO_PLATFORM,
        tpm: {
          attestationKeys: 'any',
          googleProjects: 'any',
          minimumFirmware: 'any',
          clock: 'any',
          pcrs: 'any',
          revocation: 'when-present',
        },
        bootLog: 'required',
      },
      anchors: [{ ...authority.anchor, simulated: false }],
      collateral: NO_COLLATERAL,
      now: NOW,
    } as const;
    const document = await mintDocument(platform.collectCpu, { bootLog });
    const { checks } = await judgeDocument(document, platform, { policy: contextFor(platform).policy });
    return checks.find(({ id }) => id === 'cpu.boot-log')?.result;
  }

  test('gives a log that leads to the quoted registers', async () => {
    expect(await resultOf(await collector.bootLog())).toBe('pass');
  });

  test('gives registers to which the log of another boot does not lead', async () => {
    expect(await resultOf(otherBootLog(LOG))).toBe('fail');
  });
});
