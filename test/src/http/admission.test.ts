import { describe, expect, test } from '@jest/globals';
import { Admission } from '../../../src/http/admission.ts';

const never = new AbortController().signal;

describe('admission', () => {
  test('lets in as many as there are places, and none once it is closed', () => {
    const admission = new Admission(1, 1);
    admission.enter();
    admission.enter();
    expect(() => admission.enter()).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
    admission.leave();
    admission.close();
    expect(() => admission.enter()).toThrow(expect.objectContaining({ code: 'STOPPING' }));
  });

  test('gives turns in order', async () => {
    const admission = new Admission(1, 9);
    const order: number[] = [];
    await admission.start(never);
    const turns = [1, 2, 3].map(async (i) => {
      await admission.start(never);
      order.push(i);
      admission.finish();
    });
    admission.finish();
    await Promise.all(turns);
    expect(order).toEqual([1, 2, 3]);
    await admission.start(never);
  });

  test('who gives up loses no turn of others', async () => {
    const admission = new Admission(1, 9);
    await admission.start(never);
    const impatient = new AbortController();
    const left = admission.start(impatient.signal);
    const stays = admission.start(never);
    impatient.abort();
    await expect(left).rejects.toMatchObject({ code: 'OVERLOADED' });
    await expect(admission.start(AbortSignal.abort())).rejects.toMatchObject({ code: 'OVERLOADED' });
    admission.finish();
    await stays;
  });
});
