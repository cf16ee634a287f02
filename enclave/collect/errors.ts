import { CodedError } from '../../attestation/codedError.ts';

/** What a person can do about each failure of collection. The codes are stable. */
const ADVICE = {
  DEVICE_MISSING:
    'The machine does not offer this device. Run `vouchsafe doctor`: it says what was looked for and how to get it.',
  PERMISSION_DENIED:
    'The device may not be opened. Run the service as root, or give its user access to the device.',
  DEVICE_BUSY:
    'The device answers somebody else. A service that runs asks again by itself; one that was starting has to be started again.',
  DEVICE_TIMEOUT:
    'The device did not answer in time. If it lasts, look at the kernel log and at the quoting service of the host.',
  DEVICE_REFUSED:
    'The device or its host refused the request. Look at the kernel log, and ask the operator of the host.',
  DEVICE_LOST: 'A device that was there is gone. Restart the virtual machine: its set of devices is fixed.',
  EVIDENCE_MALFORMED: 'What came is not evidence: empty, cut off or of another form. Update host and kernel.',
  EVIDENCE_MISMATCH:
    'The evidence is not over what was asked for, and nothing is signed under it. If it lasts, another program uses the device, or the host lies: do not trust this machine.',
  LIBRARY_MISSING: 'A library of the driver cannot be loaded. Install the driver that carries it.',
  LIBRARY_TOO_OLD: 'The driver lacks a function of attestation. Install a newer driver.',
  DRIVER_NOT_LOADED:
    'The kernel module of the driver is not loaded, or of another version than its library. Load it, or install one driver for both.',
  CONFIDENTIAL_COMPUTING_OFF:
    'The GPU does not run in confidential-computing mode. Switch it on from the host and start the machine again.',
  DEVTOOLS_ON: 'The GPU runs in DevTools mode: its host can read it. Switch the mode to `on`.',
  SERVICE_UNREACHABLE:
    'A service of the cloud or of the host did not answer as documented. Look whether it is reachable from this machine.',
  STOPPED: 'The collector is closed. Restart the service.',
} as const;

export type CollectErrorCode = keyof typeof ADVICE;

/** Evidence that could not be had, and why. */
export class CollectError extends CodedError<CollectErrorCode> {
  constructor(code: CollectErrorCode, message: string, options?: ErrorOptions) {
    super(ADVICE, code, message, options);
  }
}
