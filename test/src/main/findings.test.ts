import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { Ways } from '../../../enclave/collect/machine.ts';
import { findingsAtStart } from '../../../src/main/findings.ts';
import { openHardware } from '../../../src/main/hardware.ts';
import { makeFolder, testConfig } from '../../support/service.ts';

/** Ways of a machine that has nothing; they note how often they are looked at. */
function makeWays(): { readonly ways: Ways; readonly looks: string[] } {
  const looks: string[] = [];
  const way = (name: string) => ({
    name,
    isConfidential: true,
    async find() {
      looks.push(name);
      // What is slow comes last, whatever the order of the ways.
      await new Promise((done) => setTimeout(done, name === 'first' ? 5 : 0));
      return { way: name, state: 'absent' as const, detail: `${name} was looked at` };
    },
    open: () => Promise.reject(new Error('nothing is opened here')),
  });
  return { ways: { cpu: [way('first'), way('second')], devices: way('devices') }, looks };
}

describe('findings at the start', () => {
  test('are those by which the hardware was chosen, in the order of the ways', async () => {
    const { ways, looks } = makeWays();
    const directory = join(await makeFolder(), 'data');
    const config = testConfig({ data: { directory } });
    const hardware = await openHardware(config, { ways, signs: [] });
    const findings = await findingsAtStart(config, hardware.findings);
    expect(findings.map(({ what, state }) => [what, state])).toEqual([
      ['first', 'absent'],
      ['second', 'absent'],
      ['devices', 'absent'],
      ['system', 'usable'],
      ['data', 'usable'],
    ]);
    expect(looks.toSorted()).toEqual(['devices', 'first', 'second']);
    await hardware.close();
  });

  test('say what keeps the folder of data from being written', async () => {
    const config = testConfig({ data: { directory: '/proc/nowhere/data' } });
    const data = (await findingsAtStart(config, [])).at(-1);
    expect(data).toMatchObject({ what: 'data', state: 'unusable', fix: expect.stringMatching(/./) });
  });

  test('are none where hardware is simulated by name', async () => {
    const { ways, looks } = makeWays();
    const config = testConfig({ hardware: { collector: 'simulated' } });
    const { findings, close } = await openHardware(config, { ways });
    expect([findings, looks]).toEqual([[], []]);
    await close();
  });
});
