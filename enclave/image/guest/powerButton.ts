import { open, readdir, readFile } from 'node:fs/promises';

const INPUTS = '/sys/class/input';
/** `struct input_event` on 64-bit systems: two 64-bit times, u16 type, u16 code, s32 value. */
const EVENT_BYTES = 24;
const TYPE_KEY = 1;
const KEY_POWER = 116;

/**
 * Calls back when the host presses the power button (ACPI). It could pull the plug as well; this way the service ends
 * with evidence of its last answers.
 */
export async function watchPowerButtons(onPress: () => void): Promise<void> {
  const names = await readdir(INPUTS).catch(() => []);
  for (const name of names.filter((each) => /^event\d{1,3}$/.test(each))) {
    const called = await readFile(`${INPUTS}/${name}/device/name`, 'latin1').catch(() => '');
    if (called.trim() === 'Power Button') void watch(`/dev/input/${name}`, onPress);
  }
}

/** Ends quietly where the device goes: without it the machine can only be switched off. */
async function watch(path: string, onPress: () => void): Promise<void> {
  try {
    const device = await open(path, 'r');
    const event = new Uint8Array(EVENT_BYTES);
    while ((await device.read(event, 0, EVENT_BYTES)).bytesRead === EVENT_BYTES) {
      if (isPress(event)) onPress();
    }
  } catch {
    return;
  }
}

export function isPress(event: Uint8Array): boolean {
  const view = new DataView(event.buffer, event.byteOffset, event.byteLength);
  return (
    view.getUint16(16, true) === TYPE_KEY &&
    view.getUint16(18, true) === KEY_POWER &&
    view.getInt32(20, true) === 1
  );
}
