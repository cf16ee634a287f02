import { utf8 } from '../../../attestation/bytes/bytes.ts';

/** What an enclave image says of its build. No register has it in it. */
export interface EnclaveMetadata {
  readonly name: string;
  readonly version: string;
  /** Output of `uname -r` of the kernel inside, or what is known of it. */
  readonly kernelVersion: string;
}

/**
 * JSON of the metadata section («EifSectionMetadata»): its members are mandatory. The time is that of the epoch, and
 * nothing is said of the build machine, so that the file is the same wherever it is built.
 */
export function encodeMetadata({ name, version, kernelVersion }: EnclaveMetadata): Uint8Array {
  const members = {
    ImageName: name,
    ImageVersion: version,
    BuildMetadata: {
      BuildTime: '1970-01-01T00:00:00+00:00',
      BuildTool: 'vouchsafe',
      BuildToolVersion: version,
      OperatingSystem: 'Linux',
      KernelVersion: kernelVersion,
    },
    DockerInfo: {},
    CustomMetadata: {},
  };
  return utf8(JSON.stringify(members));
}
