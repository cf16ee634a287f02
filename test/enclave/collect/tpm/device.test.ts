import { read, write } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import koffi from 'koffi';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { readAttestationKey } from '../../../../enclave/collect/tpm/collector.ts';
import { TpmAccess } from '../../../../enclave/collect/tpm/access.ts';
import { readManufacturer } from '../../../../enclave/collect/tpm/capability.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { describeSwtpm, startSwtpm, response, type Send, type Swtpm } from '../../../support/swtpm.ts';

// A character device that answers commands: the far end of a pseudo terminal in raw mode, which like /dev/tpmrm0 is
// written and read through one descriptor.

const readFrom = promisify(read);
const writeTo = promisify<number, Uint8Array>(write);
const libc = koffi.load('libc.so.6');
const openMaster = libc.func('int posix_openpt(int flags)');
const unlock = libc.func('int unlockpt(int fd)');
const nameOf = libc.func('str ptsname(int fd)');
const openFile = libc.func('int open(str path, int flags)');
const closeFile = libc.func('int close(int fd)');
const getAttributes = libc.func('int tcgetattr(int fd, _Out_ uint8_t *attributes)');
const makeRaw = libc.func('void cfmakeraw(_Inout_ uint8_t *attributes)');
const setAttributes = libc.func('int tcsetattr(int fd, int actions, const uint8_t *attributes)');
/** O_RDWR | O_NOCTTY. */
const FLAGS = 0o402;

interface Device {
  readonly path: string;
  close(): Promise<void>;
}

/** Serves commands until it is closed. */
function openTerminal(answer: Send): Device {
  const master = openMaster(FLAGS) as number;
  unlock(master);
  const path = nameOf(master) as string;
  // Kept open, so that the terminal stays there between two users.
  const keeper = openFile(path, FLAGS) as number;
  const attributes = new Uint8Array(256);
  getAttributes(keeper, attributes);
  makeRaw(attributes);
  setAttributes(keeper, 0, attributes);
  let open = true;
  const serve = async () => {
    for (;;) {
      const buffer = new Uint8Array(4096);
      const { bytesRead } = await readFrom(master, buffer, 0, buffer.length, null);
      if (!open) return;
      await writeTo(master, await answer(buffer.subarray(0, bytesRead)));
    }
  };
  const served = serve().catch(() => undefined);
  return {
    path,
    close: async () => {
      open = false;
      // Closing wakes no reader; a byte does.
      await writeTo(keeper, Uint8Array.of(0));
      await served;
      closeFile(keeper);
      closeFile(master);
    },
  };
}

describeSwtpm('a character device', () => {
  let swtpm: Swtpm;
  let device: Device;
  let gate: Promise<void> = Promise.resolve();

  beforeEach(async () => {
    swtpm = await startSwtpm();
    device = openTerminal(async (command) => {
      await gate;
      return swtpm.send(command);
    });
  });
  afterEach(async () => {
    await device.close();
    await swtpm.stop();
  });

  const access = (timeoutMs: number) =>
    new TpmAccess({ address: { kind: 'device', path: device.path }, timeoutMs });

  test('answers like a socket', async () => {
    expect(await access(5_000).use(readManufacturer)).toBe('IBM');
    const overDevice = await readAttestationKey({ address: { kind: 'device', path: device.path } });
    await swtpm.forgetKeys();
    expect(overDevice).toEqual(await readAttestationKey({ address: swtpm.address }));
  });

  test('stays busy while a call into it outlives its deadline, and is free once it returns', async () => {
    let release: () => void = () => undefined;
    gate = new Promise((resolve) => {
      release = resolve;
    });
    const user = access(200);
    expect(await collectFailure(() => user.use(readManufacturer))).toBe('DEVICE_TIMEOUT');
    expect(await collectFailure(() => user.use(readManufacturer))).toBe('DEVICE_BUSY');
    release();
    await expect(eventually(() => user.use(readManufacturer))).resolves.toBe('IBM');
  });
});

async function eventually<T>(step: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await step();
    } catch (error) {
      if (attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

describe('a file that is no TPM', () => {
  test('is refused', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-no-tpm-'));
    const path = join(folder, 'file');
    await writeFile(path, concat(new Uint8Array(40), response(0)));
    const use = () => new TpmAccess({ address: { kind: 'device', path } }).use(readManufacturer);
    // Written over from its start, and then read from where the command ended: not a response.
    expect(await collectFailure(use)).toBe('EVIDENCE_MALFORMED');
    await rm(folder, { recursive: true });
  });
});
