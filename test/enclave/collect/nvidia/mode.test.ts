import { describe, expect, test } from '@jest/globals';
import { isProtectedPcie } from '../../../../enclave/collect/nvidia/mode.ts';
import { collectFailure } from '../../../support/collecting.ts';

type Stated = readonly [environment: number, ccFeature: number, devToolsMode: number, multiGpuMode?: number];

function stated(state: Stated, settings?: Stated) {
  const read = ([environment, ccFeature, devToolsMode]: Stated) => ({ environment, ccFeature, devToolsMode });
  return {
    state: read(state),
    settings: settings && { ...read(settings), multiGpuMode: settings[3] ?? 0 },
  };
}

describe('what the driver says of confidential computing', () => {
  test.each<readonly [string, Stated, Stated | undefined, boolean]>([
    ['on', [2, 1, 0], [2, 1, 0, 0], false],
    ['on, of an older driver', [2, 1, 0], undefined, false],
    ['on, with NVLink encryption', [2, 1, 0], [2, 1, 0, 2], false],
    ['off for single GPUs, in Protected PCIe', [2, 0, 0], [2, 0, 0, 1], true],
    ['nothing of the environment, in Protected PCIe', [0, 0, 0], [0, 0, 0, 1], true],
  ])('%s: evidence can be had', (_, state, settings, switches) => {
    expect(isProtectedPcie(stated(state, settings))).toBe(switches);
  });

  test.each<readonly [string, Stated, Stated | undefined, string]>([
    ['off', [2, 0, 0], [2, 0, 0, 0], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['off, of an older driver', [2, 0, 0], undefined, 'CONFIDENTIAL_COMPUTING_OFF'],
    ['on by one function and off by the other', [2, 1, 0], [2, 0, 0, 0], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['off by one function and on by the other', [2, 0, 0], [2, 1, 0, 0], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['a value between', [2, 2, 0], [2, 2, 0, 0], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['no environment', [0, 1, 0], [0, 1, 0, 0], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['a simulated environment', [1, 1, 0], [2, 1, 0, 0], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['a simulated environment, in Protected PCIe', [1, 0, 0], [1, 0, 0, 1], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['an environment that nobody knows', [3, 1, 0], [3, 1, 0, 0], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['DevTools', [2, 1, 1], [2, 1, 1, 0], 'DEVTOOLS_ON'],
    ['DevTools by one function', [2, 1, 0], [2, 1, 7, 0], 'DEVTOOLS_ON'],
    ['DevTools, of an older driver', [2, 1, 1], undefined, 'DEVTOOLS_ON'],
    ['DevTools, in Protected PCIe', [2, 0, 1], [2, 0, 1, 1], 'DEVTOOLS_ON'],
    ['a multi-GPU mode that nobody knows', [2, 1, 0], [2, 1, 0, 3], 'DEVICE_REFUSED'],
  ])('%s: refused', async (_, state, settings, expected) => {
    const failure = await collectFailure(() =>
      Promise.resolve().then(() => isProtectedPcie(stated(state, settings))),
    );
    expect(failure).toBe(expected);
  });
});
