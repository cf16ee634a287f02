import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { NVIDIA_ANCHORS } from '../../attestation/evidence/nvidia/anchors.ts';
import { SIMULATED_ANCHORS } from '../../attestation/evidence/simulatedAnchors.ts';
import { nvmlWay } from '../../enclave/collect/nvidia/way.ts';
import { createSimulatedGpu } from '../../enclave/collect/simulated/nvidia.ts';
import { checkEvidence } from '../../scripts/gpu/check/evidence.ts';
import { describeDriver, NvidiaDriver } from '../support/nvidiaDriver.ts';

describeDriver('the evidence check of a GPU machine', () => {
  let driver: NvidiaDriver;
  let nvml: string;

  beforeAll(async () => {
    driver = await NvidiaDriver.start({ gpus: [await createSimulatedGpu('spt')] });
    nvml = driver.build('nvml');
  });
  afterAll(() => driver.stop());

  test('collects, verifies and admits no work', async () => {
    const { finding, devices, milliseconds } = await checkEvidence(nvmlWay({ nvml }), SIMULATED_ANCHORS, 3);
    expect(finding.state).toBe('usable');
    expect(devices).toHaveLength(1);
    expect(milliseconds).toHaveLength(3);
    expect(driver.ready).toBe(0);
  });

  test('takes nothing that NVIDIA does not vouch for', async () => {
    await expect(checkEvidence(nvmlWay({ nvml }), NVIDIA_ANCHORS, 1)).rejects.toThrow();
  });

  test('says what is in the way where there is no evidence', async () => {
    driver.mode = [2, 0, 0, 0];
    const { finding, milliseconds } = await checkEvidence(nvmlWay({ nvml }), NVIDIA_ANCHORS, 1);
    expect(finding.state).toBe('unusable');
    expect(milliseconds).toEqual([]);
  });
});
