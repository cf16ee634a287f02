import { toHex } from '../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../attestation/bytes/reader.ts';
import { REPORT_INDEX, USER_DATA_INDEX } from '../../enclave/collect/azure/hclReport.ts';
import { AK_HANDLE } from '../../enclave/collect/azure/collector.ts';
import { CC } from '../../enclave/collect/tpm/command.ts';
import { defineNv, NV, readNv, readNvPublic, writeNv } from '../../enclave/collect/tpm/nv.ts';
import { rsaJwk, VM_ID } from './hclReport.ts';
import { codeOf, RSA_AK, type AtTheDoor, type Swtpm } from './swtpm.ts';

/** swtpm holds no larger index; Azure's has 2600 bytes. */
const REPORT_BYTES = 2048;
/** What a policy asks for and no more, so that the report fits. */
const SHORT_CONFIGURATION = {
  'console-enabled': false,
  'secure-boot': true,
  'tpm-enabled': true,
  'filtered-vpci-devices-allowed': false,
  vmUniqueId: VM_ID,
};

/** Makes an HCL report whose claims have these changes. */
export type MintReport = (
  userData: Uint8Array,
  claims: Readonly<Record<string, unknown>>,
) => Promise<Uint8Array>;

export interface Paravisor {
  /** Milliseconds for which a report is not made again: two seconds in OpenHCL. */
  periodMs: number;
  /** Makes no reports, as one whose host does not answer. */
  stuck: boolean;
  /** What stands in the index instead of the report. */
  corrupt: (report: Uint8Array) => Uint8Array;
  /** For commands that are none of the paravisor's business. */
  readonly atTheDoor: AtTheDoor;
}

/**
 * Lets a swtpm look like the virtual TPM of an Azure confidential VM. As in OpenHCL (`tpm/src/lib.rs`), a report is
 * made when its index is read from the start, over the user data that are there then.
 */
export async function installParavisor(swtpm: Swtpm, mint: MintReport): Promise<Paravisor> {
  const { session } = swtpm;
  const modulus = await swtpm.persist(AK_HANDLE, RSA_AK);
  const attributes = NV.ownerRead | NV.ownerWrite;
  const area = { index: REPORT_INDEX, attributes, size: REPORT_BYTES };
  await defineNv(session, area);
  let renewedAt = -Infinity;
  const renew = async () => {
    renewedAt = performance.now();
    const written = await readNvPublic(session, USER_DATA_INDEX);
    const userData = (written && (await readNv(session, USER_DATA_INDEX, 64))) ?? new Uint8Array(64);
    const keys = [rsaJwk('HCLAkPub', modulus)];
    const claims = { keys, 'vm-configuration': SHORT_CONFIGURATION, 'user-data': toHex(userData) };
    const content = new Uint8Array(REPORT_BYTES);
    content.set(paravisor.corrupt(await mint(userData, claims)));
    await writeNv(session, area, content);
  };
  const paravisor: Paravisor = {
    periodMs: 0,
    stuck: false,
    corrupt: (report) => report,
    atTheDoor: async (command, send) => {
      const due = performance.now() - renewedAt >= paravisor.periodMs;
      if (startsReading(command) && due && !paravisor.stuck) await renew();
      return send(command);
    },
  };
  await renew();
  swtpm.atTheDoor = paravisor.atTheDoor;
  return paravisor;
}

/** `TPM2_NV_Read` of the report from offset 0: handles at 10 and 14, then 13 bytes of authorisation, size, offset. */
function startsReading(command: Uint8Array): boolean {
  if (codeOf(command) !== CC.nvRead) return false;
  const reader = new ByteReader(command, 'NV_Read');
  reader.take(14);
  const index = reader.u32be();
  reader.take(13 + 2);
  return index === REPORT_INDEX && reader.u16be() === 0;
}
