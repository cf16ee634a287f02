import { readFile } from 'node:fs/promises';
import { azureWay } from './azure/collector.ts';
import { nitroTpmWay } from './aws/collector.ts';
import { gcpVtpmWay } from './gcp/collector.ts';
import { sevGuestWay } from './guestDevice/sevGuestWay.ts';
import { tdxGuestWay } from './guestDevice/tdxGuestWay.ts';
import type { CpuWay, Ways } from './machine.ts';
import { nsmWay } from './nsm/way.ts';
import { nvmlWay } from './nvidia/way.ts';
import { readAttestationKey, type TpmOptions, tpmWay } from './tpm/collector.ts';
import type { NvCertificates } from './tpm/nvCertificates.ts';
import type { TpmAddress } from './tpm/transport.ts';
import { tsmWay } from './tsm/way.ts';

export interface WaysOptions {
  /** A device file, or `tcp://host:port` of an emulator; where undefined, the device that each way is for. */
  readonly tpm: string | undefined;
  /** Certificates of the attestation key of a TPM that names none itself, in DER, leaf first, or where it keeps them. */
  readonly tpmCertificates: readonly Uint8Array[] | NvCertificates;
  /** Where the kernel shows what the firmware says of the machine (SMBIOS). */
  readonly dmi?: string;
}

/** All ways to evidence on this machine, best first: what names the CPU before what leans on a TPM. */
export function waysOfThisMachine({ tpm, tpmCertificates, dmi = '/sys/class/dmi/id' }: WaysOptions): Ways {
  const at = tpmAt(tpm);
  // Google's TPM holds the first alone.
  const intermediates = 'nvIndex' in tpmCertificates ? [] : tpmCertificates;
  return {
    cpu: [
      confidential(tsmWay()),
      onAzure(confidential(azureWay(at)), dmi),
      confidential(nsmWay()),
      confidential(sevGuestWay()),
      confidential(tdxGuestWay()),
      hosted(gcpVtpmWay({ ...at, intermediates })),
      hosted(nitroTpmWay(at)),
      hosted(tpmWay({ ...at, certificates: tpmCertificates })),
    ],
    devices: nvmlWay(),
  };
}

/** The attestation key of the TPM that the way `tpm` signs with, as SubjectPublicKeyInfo in DER. */
export function tpmKeyOfThisMachine(tpm: WaysOptions['tpm']): Promise<Uint8Array> {
  return readAttestationKey(tpmAt(tpm));
}

function tpmAt(tpm: WaysOptions['tpm']): Pick<TpmOptions, 'address' | 'eventLogPath'> {
  if (tpm === undefined) return {};
  const address = addressOf(tpm);
  // The log of this machine's boot is not that of an emulator on a socket, which has none.
  return address.kind === 'socket' ? { address, eventLogPath: '/dev/null' } : { address };
}

function confidential(way: Omit<CpuWay, 'isConfidential'>): CpuWay {
  return { ...way, isConfidential: true };
}

/** A TPM of the host: it says what booted and protects no memory. */
function hosted(way: Omit<CpuWay, 'isConfidential'>): CpuWay {
  return { ...way, isConfidential: false };
}

/** Chassis asset tag of every Azure VM (SMBIOS type 3). */
const AZURE_TAG = '7783-7084-3265-9085-8269-3286-77';

/**
 * Looks into the TPM on Azure alone: elsewhere one that this user may not open would look like hardware in trouble. A
 * host that hides the tag gets no evidence made, and nobody accepts a service without.
 */
function onAzure(way: CpuWay, dmi: string): CpuWay {
  return {
    ...way,
    async find() {
      const tag = await readFile(`${dmi}/chassis_asset_tag`, 'latin1').catch(() => '');
      if (tag.trim() === AZURE_TAG) return way.find();
      return { way: way.name, state: 'absent', detail: 'the firmware does not say that this is an Azure VM' };
    },
  };
}

function addressOf(tpm: string): TpmAddress {
  if (!tpm.startsWith('tcp://')) return { kind: 'device', path: tpm };
  const { hostname, port } = new URL(tpm);
  return { kind: 'socket', host: hostname, port: Number(port) };
}
