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

  test('of several tenants, none gets more than half of the places', () => {
    const admission = new Admission(2, 3, 2);
    admission.enter('a');
    admission.enter('a');
    expect(() => admission.enter('a')).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
    admission.enter('b');
    expect(admission.inside).toBe(3);
    admission.leave('a');
    admission.enter('a');
    expect(() => admission.enter('a')).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
    for (const tenant of ['a', 'a', 'b']) admission.leave(tenant);
    expect(admission.inside).toBe(0);
  });

  test('of one tenant, or without keys, all places may be taken', () => {
    for (const tenant of ['a', undefined]) {
      const admission = new Admission(1, 1, tenant === undefined ? 0 : 1);
      admission.enter(tenant);
      admission.enter(tenant);
      expect(() => admission.enter(tenant)).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
    }
  });

  test('each of several tenants gets one place at least', () => {
    const admission = new Admission(1, 0, 9);
    admission.enter('a');
    admission.leave('a');
    admission.enter('b');
    expect(admission.inside).toBe(1);
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
